"""Words as one-hot letters: Debian's word list, or any file of one word a line. Imports arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan_jax.config import ALPHABET, DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.errors import InputError

DEBIAN = Path("/usr/share/dict/american-english")  # where Debian's wamerican puts its list
_TEST = 10  # every so many words one is held out
_LEAST = 3  # letters


def load_words(path: Path | None, split: str, config: DataConfig) -> ArraySource:
    """Words of 3 to `config.length` letters a to z, float32 one-hot [length, 27]; blanks fill them up. Unlabelled.

    Words with other characters (names, genitives) are left out. A tenth of the words, drawn the same in every run, is
    the test set.

    Args:
        path: a text file of one word a line; None = Debian's list.
        split: "train" or "test".
        config: length.

    Raises:
        InputError: there is no list, or it holds too few words.
    """
    try:
        text = (path or DEBIAN).read_text(errors="replace")
    except OSError:
        how = "apt-get install wamerican, or name a file of one word a line by --config.data.path=FILE"
        raise InputError(f"{path or DEBIAN} cannot be read: {how}") from None
    words = usable_words(text.splitlines(), config.length)
    if len(words) < 2 * _TEST:
        raise InputError(
            f"{path or DEBIAN} holds {len(words)} words of {_LEAST} to {config.length} letters a-z: give at least 20"
        )
    order = np.random.default_rng(0).permutation(len(words))
    held_out = np.zeros(len(words), bool)
    held_out[order[: len(words) // _TEST]] = True
    chosen = [word for word, held in zip(words, held_out, strict=True) if held == (split == "test")]
    return ArraySource({"image": encode(chosen, config.length)})


def usable_words(lines: Sequence[str], length: int) -> list[str]:
    """Different words of 3 to `length` letters a to z, in the order of the alphabet."""
    letters = set(ALPHABET[1:])
    return sorted({word for word in map(str.strip, lines) if _LEAST <= len(word) <= length and letters >= set(word)})


def encode(words: Sequence[str], length: int) -> np.ndarray:
    """One-hot letters float32 [N, length, 27] of words of at most `length` letters."""
    numbers = {letter: number for number, letter in enumerate(ALPHABET)}
    rows = np.array([[numbers[letter] for letter in word.ljust(length)] for word in words])  # [N, length]
    return np.eye(len(ALPHABET), dtype=np.float32)[rows]
