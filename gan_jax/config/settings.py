"""A run's settings as a whole: all groups, what must hold between them, plain values and back."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from gan_jax.config.fields import STRICT, Positive, Schedule, Scheduled
from gan_jax.config.groups import (
    AugmentConfig,
    DataConfig,
    EvaluationConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PenaltyConfig,
    StepConfig,
    WatchdogConfig,
)
from gan_jax.config.overrides import assign
from gan_jax.errors import InputError


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """A run."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # of parameters, noise and data order
    total_images: Positive = 1_000_000  # length of the run
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    step: StepConfig = StepConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    watchdog: WatchdogConfig = WatchdogConfig()
    log: LogConfig = LogConfig()
    ema_half_life: Scheduled = Schedule(start=10_000)  # images after which an old generator weighs one half; 0 = no EMA
    d_ema_half_life: Annotated[float, Field(ge=0)] = 0.0  # the same for the discriminator, as gan.features uses it

    @model_validator(mode="after")
    def _cross_checks(self) -> "Config":
        batch, parts = self.data.batch_size, self.step.accumulate
        if batch % parts:
            raise ValueError(f"data.batch_size={batch} must be divisible by step.accumulate={parts}")
        pack, group = self.model.pack, max(1, self.model.minibatch_std)
        if batch % (parts * pack * group):
            raise ValueError(
                f"data.batch_size={batch} must be divisible by step.accumulate={parts} x model.pack={pack}"
                f" x model.minibatch_std={group}"
            )
        if self.model.pack > 1 and self.model.conditional:
            raise ValueError(f"model.pack={pack} mixes classes in a pack: set model.pack=1 or model.conditional=false")
        if self.total_images < batch * self.step.critic_steps:
            raise ValueError(
                f"total_images={self.total_images} is less than one step: raise it or lower data.batch_size"
            )
        if self.evaluation.features == "inception" and not self.evaluation.path:
            raise ValueError("evaluation.features=inception needs evaluation.path: see gan_jax.features --help")
        if self.model.architecture == "article" and self.data.image_size != (28, 28):
            raise ValueError("model.architecture=article is made for data.image_size=28,28: choose dcgan")
        self._check_regularisation()
        self._check_head()
        self._check_words()
        return self

    def _check_words(self) -> None:
        words = self.data.source == "words"
        if words == ((self.model.g_architecture or self.model.architecture) == "sequence"):
            return
        if words:
            raise ValueError("data.source=words needs model.architecture=sequence, whose generator draws letters")
        raise ValueError(f"model.architecture=sequence draws words: set data.source=words, not {self.data.source}")

    def _check_head(self) -> None:
        head, pack = self.model.head, self.model.pack
        height, width = self.data.image_size
        if head != "none" and pack > 1:
            raise ValueError(f"model.head={head} learns of single images: set model.pack=1, not {pack}")
        if head == "rotation" and height != width:
            raise ValueError(f"model.head=rotation turns images, which needs square ones, not {height},{width}")
        if head == "classes" and self.model.conditional:
            raise ValueError("model.head=classes has a logit a class already: set model.conditional=false")
        if head == "auxiliary" and not self.model.conditional:
            raise ValueError("model.head=auxiliary teaches a class-conditional pair: set model.conditional=true")
        if head == "auxiliary" and self.loss.name == "feature_matching":
            raise ValueError("model.head=auxiliary does not reach G by loss.name=feature_matching: choose another")
        if head == "classes" and self.loss.name != "feature_matching":
            raise ValueError("model.head=classes is trained by loss.name=feature_matching: set it")
        if self.model.architecture == "improved_gan" and head != "classes":
            raise ValueError("model.architecture=improved_gan has a logit a class: set model.head=classes")

    def _check_regularisation(self) -> None:
        height, width = self.data.image_size
        if {"rotate", "rotate90"} & set(self.augment.transforms) and height != width:
            raise ValueError(f"augment.transforms turns images, which needs square ones, not {height},{width}")
        if self.augment.adaptive and self.loss.name == "article_squared_error":
            raise ValueError("augment.adaptive needs a D that tells real from fake: choose another loss.name")
        if self.penalty.bcr and self.augment.method != "none":
            raise ValueError(
                "penalty.bcr compares plain images with moved ones: set augment.method=none or penalty.bcr=0"
            )
        if self.penalty.path_length and self.model.architecture != "stylegan2":
            raise ValueError("penalty.path_length needs styles: set model.architecture=stylegan2 or leave it at 0")
        likelihood = self.penalty.likelihood
        if max(likelihood.start, likelihood.end or 0.0) and self.data.source != "words":
            raise ValueError("penalty.likelihood is that of letters: set data.source=words or leave it at 0")

    @property
    def images_per_step(self) -> int:
        """Real images that the discriminator sees in one step."""
        return self.data.batch_size * self.step.critic_steps

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; the last one reaches `total_images`."""
        return math.ceil(self.total_images / self.images_per_step)

    def replace(self, changes: Mapping[str, Any]) -> "Config":
        """A copy with dotted fields changed, e.g. {"data.batch_size": 32}, validated as a whole.

        Raises:
            InputError: a name is unknown, or a value has the wrong type or range.
        """
        tree = to_dict(self)
        for name, value in changes.items():
            assign(tree, name, value)
        return from_dict(tree)


_ADAPTER = TypeAdapter(Config)


def to_dict(config: Config) -> dict[str, Any]:
    """The config as nested dicts of plain values, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """The config that `to_dict` wrote.

    Raises:
        InputError: a name is unknown, or a value has the wrong type or range.
    """
    try:
        return _ADAPTER.validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["config", *(str(part) for part in first["loc"])])
        value = (
            ""
            if isinstance(first["input"], dict) or dataclasses.is_dataclass(first["input"])
            else f", not {first['input']!r}"
        )
        raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}{value}") from None
