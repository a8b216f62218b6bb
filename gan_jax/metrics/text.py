"""Scores of generated words: real, new and different ones, and how near their letters' statistics are. Imports errors.

The n-gram divergence is that of Gulrajani et al. 2017 (section 5.4): Jensen-Shannon, here in bits, between the
frequencies of n letters in a row of samples and of held-out words.
"""

import collections
import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from gan_jax.errors import InputError

BLANK = " "
LONGEST = 4  # letters of an n-gram


def word_scores(
    words: Sequence[str], train: Collection[str], held_out: Collection[str], length: int
) -> dict[str, float]:
    """Scores of words.

    Args:
        words: samples, without blanks at their ends.
        train: real words that the generator saw.
        held_out: real words that it did not see.
        length: letters to which words are filled up with blanks, which count as letters.

    Returns:
        "word_share": percent of the samples that are real words. "unseen_share": percent of those real words that are
        held-out ones. "distinct_share": different samples, percent of all. "ngram1_divergence" to
        "ngram4_divergence": to the held-out words, bits.

    Raises:
        InputError: no words, or no real ones.
    """
    if not words or not train or not held_out:
        raise InputError("word_scores: give at least one sample, one training word and one held-out word")
    known, new = set(train), set(held_out)
    real = [word for word in words if word in known or word in new]
    scores = {
        "word_share": 100 * len(real) / len(words),
        "unseen_share": 100 * sum(word in new for word in real) / max(len(real), 1),
        "distinct_share": 100 * len(set(words)) / len(words),
    }
    for n in range(1, LONGEST + 1):
        scores[f"ngram{n}_divergence"] = divergence(ngrams(words, n, length), ngrams(held_out, n, length))
    return scores


def ngrams(words: Collection[str], n: int, length: int) -> collections.Counter[str]:
    """Counts of n letters in a row of words filled up with blanks to `length`."""
    return collections.Counter(gram for word in words for gram in _grams(word.ljust(length, BLANK), n))


def _grams(text: str, n: int) -> Iterator[str]:
    return (text[start : start + n] for start in range(len(text) - n + 1))


def divergence(first: collections.Counter[str], second: collections.Counter[str]) -> float:
    """Jensen-Shannon divergence of two tables of counts, in bits: 0 = the same frequencies, 1 = nothing in common."""
    totals = first.total(), second.total()
    found = 0.0
    for gram in first.keys() | second.keys():
        p, q = first[gram] / totals[0], second[gram] / totals[1]
        middle = (p + q) / 2
        found += sum(0.5 * share * math.log2(share / middle) for share in (p, q) if share)
    return max(found, 0.0)


class NgramModel:
    """Letters from the n - 1 before them, by the counts of real words (maximum likelihood): a control."""

    def __init__(self, words: Collection[str], n: int, length: int) -> None:
        """Counts.

        Args:
            words: real ones.
            n: letters that hang together, 2 or more.
            length: letters of a word with its blanks.
        """
        self._n, self._length = n, length
        self._counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for word in words:
            # Blanks go on behind the word, so that its last letters have a successor wherever else they come up.
            text = "^" * (n - 1) + word.ljust(length, BLANK) + n * BLANK
            for end in range(n - 1, len(text)):
                self._counts[text[end - n + 1 : end]][text[end]] += 1

    def sample(self, rng: np.random.Generator, count: int) -> list[str]:
        """Draws words."""
        return [self._one(rng) for _ in range(count)]

    def _one(self, rng: np.random.Generator) -> str:
        text = "^" * (self._n - 1)
        for _ in range(self._length):
            seen = self._counts[text[len(text) - self._n + 1 :]]
            letters, counts = list(seen), np.fromiter(seen.values(), np.float64)
            text += letters[rng.choice(len(letters), p=counts / counts.sum())]
        return text[self._n - 1 :].rstrip()
