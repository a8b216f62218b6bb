"""Suite `domains`: the same training on speech, short signals and words; do samples teach, and how near are letters?"""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import checkout_config, commit
from gan_jax.benchmark.suite import Arm, Outcome, Suite, Tolerance, config_recipe
from gan_jax.config import Config, to_dict
from gan_jax.evaluation.judges import WordJudge
from gan_jax.evaluation.making import judge_for
from gan_jax.gan import Gan
from gan_jax.metrics.classifier import Classifier, signal_epochs, train_classifier
from gan_jax.metrics.features import extract
from gan_jax.metrics.frechet import Moments, frechet_distance, moments_of
from gan_jax.metrics.memorisation import memorisation
from gan_jax.metrics.reference import cache_folder
from gan_jax.metrics.scores import class_shares, classifier_score
from gan_jax.metrics.text import NgramModel, word_scores
from gan_jax.recognition.controls import untrained
from gan_jax.recognition.features import trunk
from gan_jax.recognition.probe import Described, Labelled, accuracy, balanced, load_labelled
from gan_jax.runtime.history import read_history
from gan_jax.runtime.pictures import as_data
from gan_jax.training import train

FEW = 200  # labels of the few-label comparisons
Samples = tuple[np.ndarray, np.ndarray]  # signals float32 [N, L, C] and their classes int [N]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules of one data set.

    Attributes:
        config: name of the config, which is arm NAME_ours.
        changes: to it; tests make it tiny.
        count: samples scored; as many as there are training signals, or words.
    """

    config: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    count: int = 10_000

    def of(self, seed: int) -> Config:
        """The run of a seed."""
        return checkout_config(self.config).replace({**self.changes, "seed": seed})

    @functools.cached_property
    def data(self) -> Labelled:
        """Both splits of labelled signals."""
        return load_labelled(self.of(0))

    @functools.cached_property
    def judge(self) -> Classifier:
        """The classifier of the real training signals: its features score samples, CAS is held against its accuracy."""
        data = self.data
        return train_classifier(data.train, data.labels, data.test, data.test_labels, epochs=signal_epochs(data.train))

    @functools.cached_property
    def moments(self) -> Moments:
        """Of the test signals' features."""
        return moments_of(extract(self.judge.network, self.data.test).features)

    @functools.cached_property
    def words(self) -> WordJudge:
        """The real words."""
        judge = judge_for(self.of(0))
        assert isinstance(judge, WordJudge)
        return judge

    def score(self, samples: Samples, seed: int) -> dict[str, float]:
        """Scores of labelled samples, percentages 0 to 100.

        Returns:
            "cas": accuracy on real test signals of the same classifier, trained on the samples alone (Ravuri & Vinyals
            2019). "recognised": samples that the real signals' classifier calls what they should be. "fid" in its
            features, "classifier_score", "class_share_*" of its answers. "nn_ratio": of the memorisation check.
        """
        signals, labels = as_data(samples[0]).astype(np.float32), samples[1]
        data, found = self.data, extract(self.judge.network, signals)
        assert found.logits is not None
        shares = 100 * class_shares(found.logits)
        return {
            "cas": self._taught(signals, labels, seed),
            "recognised": float(100 * np.mean(found.logits.argmax(1) == labels)),
            "fid": frechet_distance(moments_of(found.features), self.moments),
            "classifier_score": classifier_score(found.logits).mean,
            "class_share_min": float(shares.min()),
            "class_share_max": float(shares.max()),
            "nn_ratio": memorisation(signals, data.test, data.train).nn_ratio,
            "real_accuracy": 100 * self.judge.accuracy,
        }

    def gain(self, samples: Samples, seed: int) -> dict[str, float]:
        """Accuracy with `FEW` real labels, "few_real", and with the samples beside them, "few_both"."""
        data, rows = self.data, balanced(self.data.labels, FEW, seed)
        few = data.train[rows], data.labels[rows]
        signals = as_data(samples[0]).astype(np.float32)
        both = np.concatenate([few[0], signals]), np.concatenate([few[1], samples[1]])
        return {"few_real": self._taught(*few, seed), "few_both": self._taught(*both, seed)}

    def _taught(self, signals: np.ndarray, labels: np.ndarray, seed: int) -> float:
        """Test accuracy in percent of a classifier trained on given signals, as many steps whatever their number."""
        data = self.data
        epochs = signal_epochs(signals)
        return 100 * train_classifier(signals, labels, data.test, data.test_labels, seed=seed, epochs=epochs).accuracy

    def probe(self, gan: Gan, seed: int) -> dict[str, float]:
        """Accuracy of a linear machine with `FEW` labels on the features of a discriminator, trained and untrained."""
        found = {}
        for name, pair in (("ours", gan), ("random", untrained(gan.program, gan.config.seed))):
            described = Described.of(self.data, trunk(pair), balanced(self.data.labels, FEW, seed))
            found[f"probe_{name}"] = accuracy(self.data, described, FEW, [seed], ["linear"])["linear"]
        return found


def trained(protocol: Protocol, seed: int) -> tuple[Gan, float]:
    """The pair of a seed and the seconds its training took; in the cache folder, where it goes on after a kill."""
    config = protocol.of(seed)
    # A checkpoint of other code is another run, even where it still loads.
    facts = json.dumps([to_dict(config), commit()], sort_keys=True)
    name = hashlib.sha256(facts.encode()).hexdigest()[:12]
    workdir = cache_folder() / "domains" / f"{protocol.config}_{seed}_{name}"
    gan = train(config, workdir)
    return gan, read_history(workdir).seconds


def _ours(protocol: Protocol, seed: int) -> Outcome:
    gan, seconds = trained(protocol, seed)
    count = len(protocol.data.train)
    samples = np.asarray(gan.sample(jax.random.key(seed), count)), gan.check_labels(None, count)
    found = protocol.score(samples, seed) | protocol.gain(samples, seed) | protocol.probe(gan, seed)
    return Outcome(found, seconds, gan.step * gan.config.images_per_step)


def _control(protocol: Protocol, draw: Callable[[Labelled, np.random.Generator], Samples], seed: int) -> Outcome:
    start = time.perf_counter()
    found = protocol.score(draw(protocol.data, np.random.default_rng(seed)), seed)
    return Outcome(found, time.perf_counter() - start, 0)


def gaussian(data: Labelled, rng: np.random.Generator) -> Samples:
    """As many draws from each class's Gaussian, with the mean and the covariance of its training signals, clipped."""
    drawn = np.empty_like(data.train)
    for label in range(data.num_classes):
        rows = np.flatnonzero(data.labels == label)
        flat = data.train[rows].reshape(len(rows), -1)  # [n, L, C] -> [n, L * C]
        mean = flat.mean(0)
        # Normal weights of the centred signals have just their covariance, which need not be formed.
        weights = rng.standard_normal((len(rows), len(rows))).astype(np.float32) / np.sqrt(len(rows) - 1)
        drawn[rows] = (mean + weights @ (flat - mean)).reshape(-1, *data.train.shape[1:])
    return np.clip(drawn, -1, 1), data.labels


def repeat(data: Labelled, rng: np.random.Generator) -> Samples:
    """Training signals drawn with replacement."""
    rows = rng.integers(0, len(data.train), len(data.train))
    return data.train[rows], data.labels[rows]


def _words_ours(protocol: Protocol, seed: int) -> Outcome:
    gan, seconds = trained(protocol, seed)
    samples = np.asarray(gan.sample(jax.random.key(seed), protocol.count))
    found = protocol.words.scores(samples)
    found.pop("count")
    return Outcome(found, seconds, gan.step * gan.config.images_per_step)


def _words_control(
    protocol: Protocol, draw: Callable[[WordJudge, np.random.Generator, int], list[str]], seed: int
) -> Outcome:
    start, judge = time.perf_counter(), protocol.words
    words = draw(judge, np.random.default_rng(seed), protocol.count)
    found = word_scores(words, judge.train, judge.held_out, judge.length)
    return Outcome(found, time.perf_counter() - start, 0)


def _ngrams(n: int, judge: WordJudge, rng: np.random.Generator, count: int) -> list[str]:
    return NgramModel(judge.train, n, judge.length).sample(rng, count)


def _memorised(judge: WordJudge, rng: np.random.Generator, count: int) -> list[str]:
    return list(rng.choice(judge.train, count))


def _different(judge: WordJudge, rng: np.random.Generator, count: int) -> list[str]:
    return list(rng.choice(judge.train, min(count, len(judge.train)), replace=False))


_SIGNAL_TEXTS = {
    "ours": "`configs/{}.py` as it is.",
    "gaussian": "a Gaussian a class, with the mean and the full covariance of its training signals.",
    "memoriser": "training signals drawn with replacement: what CAS and the distance take for a perfect sampler, and"
    " nn_ratio does not.",
}
_WORD_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "words_ours": ("`configs/{}.py` as it is: the game, and the likelihood of real letters.", {}),
    "words_game": ("the same without the likelihood: the adversarial pair alone.", {"penalty.likelihood": 0.0}),
    "words_likelihood": (
        "the same generator with a likelihood that outweighs the game by far.",
        {"penalty.likelihood": 1_000.0},
    ),
}
_WORD_CONTROLS: dict[str, tuple[str, Callable[[WordJudge, np.random.Generator, int], list[str]]]] = {
    "words_2gram": (
        "each letter from the one before it, by counts of the training words.",
        functools.partial(_ngrams, 2),
    ),
    "words_3gram": ("each letter from the two before it.", functools.partial(_ngrams, 3)),
    "words_4gram": ("each letter from the three before it.", functools.partial(_ngrams, 4)),
    "words_memoriser": ("training words drawn with replacement.", _memorised),
    "words_real": ("different training words: the floor of the divergences.", _different),
}


def make_suite(protocols: Mapping[str, Protocol]) -> Suite:
    """The suite under protocols by the arms' first names; tests take tiny ones."""
    arms: dict[str, Arm] = {}
    for name, protocol in protocols.items():
        recipe = functools.partial(_recipe, protocol)
        if name == "words":
            for arm, (text, changes) in _WORD_RUNS.items():
                changed = dataclasses.replace(protocol, changes={**protocol.changes, **changes})
                recipe = functools.partial(_recipe, changed)
                arms[arm] = Arm(text.format(protocol.config), functools.partial(_words_ours, changed), recipe)
            for arm, (text, draw) in _WORD_CONTROLS.items():
                arms[arm] = Arm(text, functools.partial(_words_control, protocol, draw))
            continue
        for part, text in _SIGNAL_TEXTS.items():
            run = {
                "ours": functools.partial(_ours, protocol),
                "gaussian": functools.partial(_control, protocol, gaussian),
                "memoriser": functools.partial(_control, protocol, repeat),
            }[part]
            arms[f"{name}_{part}"] = Arm(text.format(protocol.config), run, recipe if part == "ours" else dict)
    divergence = {"ngram4_divergence": Tolerance(relative=0.02), "distinct_share": Tolerance(absolute=0.5)}
    return Suite(
        name="domains",
        description=_TEXT,
        arms=arms,
        protocol=lambda: {"few_labels": FEW, "words": protocols["words"].count if "words" in protocols else 0},
        checks={arm: divergence for arm in _WORD_CONTROLS if arm in arms},
        headline=("cas", "recognised", "class_share_min", "fid", "ngram4_divergence", "word_share", "distinct_share"),
    )


def _recipe(protocol: Protocol) -> dict[str, Any]:
    return config_recipe(protocol.of(0))


_TEXT = (
    "Beyond images: spoken digits (espeak-ng; voices of the test set unheard), MNIST-1D and English words, by the same"
    " training as images. Signals: a small classifier is trained from a seed on the real training signals"
    " (real_accuracy on the test signals, percent). recognised: samples that it calls the class they were asked for."
    " fid, classifier_score, class_share_*: in its features and by its answers. cas: test accuracy of the same"
    " classifier trained on as many samples in place of the training signals (classification accuracy score)."
    f" few_real, few_both: trained on {FEW} real labels, alone and with the samples, whose generator saw all labels."
    f" probe_ours, probe_random: a linear classifier of {FEW} labels on the discriminator's features, trained and"
    " untrained. nn_ratio: median distance to the nearest training signal over that of test signals; 0 = copies."
    " Words: word_share: samples that are real words, percent; unseen_share: of those, words held out of training."
    " ngramN_divergence: Jensen-Shannon divergence of frequencies of N letters in a row from the held-out words', bits."
    " distinct_share: different samples, percent. seconds: of training, with compilation, pictures and checkpoints."
)
SUITE = make_suite({"mnist1d": Protocol("mnist1d"), "words": Protocol("words"), "spoken": Protocol("spoken_digits")})
