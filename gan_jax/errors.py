"""The errors that end a command with one line. Imports nothing."""


class InputError(Exception):
    """Bad input: a flag, a config field, a file or a folder.

    The message is one line that names the field or file and the fix. Doorways print it
    to stderr and leave with its exit code, 2; nothing has been trained or written by then.
    """

    exit_code = 2


class UnstableRun(Exception):
    """The watchdog gave a run up.

    The message is one line that names the quantity, the step and what to try. Doorways print it to stderr and leave
    with exit code 3; the last healthy checkpoint is kept.
    """

    exit_code = 3


class MeetingError(InputError):
    """The processes of a run could not meet, though each was told well: one is late, or not there.

    Its exit code is 4, since the same command may do later: the launchers start it again.
    """

    exit_code = 4
