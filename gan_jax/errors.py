"""The one error that a user can mend. Imports nothing."""


class InputError(Exception):
    """Bad input: a flag, a config field, a file or a folder.

    The message is one line that names the field or file and the fix. Doorways print it
    to stderr and leave with exit code 2; nothing has been trained or written by then.
    """
