"""What a run is: typed settings, loading, overrides, validation. Imports no JAX.

Every number that a run depends on is a field here. Lengths, intervals and schedules
count *images seen* (real images shown to the discriminator), so that the batch size and
the number of devices do not change their meaning.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from gan_jax.errors import InputError

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)  # type errors name the field

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Architecture = Literal["mlp", "dcgan", "resnet", "r3gan", "stylegan2", "article", "improved_gan"]
Head = Literal["none", "rotation", "views", "classes"]
LossName = Literal[
    "minimax",
    "nonsaturating",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "feature_matching",
    "article_squared_error",
]


def _split_commas(value: Any) -> Any:
    """Reads "28" and "48,64" from the command line as sizes."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, (int, list)) and not isinstance(value, bool):
        parts = [value] if isinstance(value, int) else value
        return tuple(parts * 2) if len(parts) == 1 else tuple(parts)
    return value


Size = Annotated[tuple[Positive, Positive], BeforeValidator(_split_commas)]


def _number(value: Any) -> Any:
    """Reads "3" from the command line as one of a choice of numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Channels = Annotated[Literal[1, 3], BeforeValidator(_number)]


def _split_names(value: Any) -> Any:
    """Reads "color,cutout" from the command line as names."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
BOARDS = ("tensorboard", "wandb", "mlflow")
DIFFAUGMENT = ("color", "translation", "cutout")
ADA = (
    *("flip", "rotate90", "rotate", "translate", "scale", "stretch", "shift"),
    *("brightness", "contrast", "luma_flip", "hue", "saturation", "cutout"),
)
# Flips, turns and negatives make another thing of a digit, a letter or a shoe: only on demand.
ADA_DEFAULT = ("translate", "scale", "stretch", "shift", "brightness", "contrast", "hue", "saturation")


def _check_names(field: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{field}: unknown transform {name!r}; choose from {', '.join(known)}")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Schedule:
    """A number that may change with the share of the run that is done."""

    start: Annotated[float, Field(ge=0)]  # value at the first image
    end: Annotated[float, Field(ge=0)] | None = None  # value at the last image; None = start
    shape: Literal["cosine", "linear", "geometric"] = "cosine"  # path; geometric: the logarithm goes like a cosine

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> "Schedule":
        if self.shape == "geometric" and not (self.start > 0 and (self.end is None or self.end > 0)):
            raise ValueError("shape=geometric multiplies its way from start to end: both must be above 0")
        return self


def _schedule(value: Any) -> Any:
    """A bare number is a constant schedule."""
    return {"start": value} if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value


Scheduled = Annotated[Schedule, BeforeValidator(_schedule)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """Where the real examples come from."""

    source: str = "digits"  # digits | idx | folder | npz | ring | grid | stacked | tfds:NAME
    path: str = ""  # folder or file of idx, folder, npz and stacked; data_dir of tfds
    image_size: Size = (28, 28)  # (height, width); images are resized and centre-cropped to it
    channels: Channels = 1  # 1 = grey, 3 = RGB; images are converted
    batch_size: Positive = 64  # real images a discriminator update, over all devices
    residency: Literal["auto", "device", "stream"] = "auto"  # whole set on the device, or streamed
    resident_mb: Positive = 1024  # "auto" streams sets larger than this
    threads: Positive = 4  # threads that read and decode while streaming
    validation: Share = 0.0  # part of the training images held out of it, and scored against in place of the test split

    @model_validator(mode="after")
    def _known_source(self) -> "DataConfig":
        known = ("digits", "idx", "folder", "npz", "ring", "grid", "stacked")
        if self.source not in known and not (self.source.startswith("tfds:") and len(self.source) > 5):
            raise ValueError(f"source must be one of {', '.join(known)} or tfds:NAME, not {self.source!r}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelConfig:
    """The two networks."""

    architecture: Architecture = "dcgan"  # one file of gan_jax/models
    g_architecture: Architecture | None = None  # of the generator alone; None = architecture
    latent_size: Positive = 64  # length of z ~ N(0, I)
    latent_signs: Count = 0  # of its numbers, how many G takes as +1 or -1 (mlp): for data that lie in pieces
    g_width: Positive = 64  # channels of the generator's widest-resolution stage
    d_width: Positive = 64  # the same for the discriminator
    blocks: Positive = 2  # residual blocks a stage (r3gan), hidden layers (mlp), of the mapping (stylegan2)
    d_norm: Literal["none", "batch", "spectral"] = "none"  # normalisation in the discriminator
    d_octaves: Count = 0  # sines and cosines of its input that D sees (mlp), from 1/4 cycle a unit; 0 = none
    dropout: Share = 0.0  # dropout rate in the discriminator
    conditional: bool = False  # class-conditional: embedding in G, projection in D; needs labels
    pack: Positive = 1  # examples that D judges as one (PacGAN)
    minibatch_std: Count = 0  # examples a group whose spread D is shown; 0 = not shown
    head: Head = "none"  # second task of D, from which it learns features; see gan_jax/adversarial/tasks.py
    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations; parameters and losses stay float32

    @model_validator(mode="after")
    def _signs_are_of_the_latent(self) -> "ModelConfig":
        if self.latent_signs > self.latent_size:
            raise ValueError(f"latent_signs={self.latent_signs} must be at most latent_size={self.latent_size}")
        return self

    @model_validator(mode="after")
    def _a_group_has_a_spread(self) -> "ModelConfig":
        if self.minibatch_std == 1:
            raise ValueError("minibatch_std=1 compares an example with nothing: take 4, or 0 for none")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LossConfig:
    """The game."""

    name: LossName = "nonsaturating"  # see gan_jax/adversarial/losses.py
    head: Annotated[float, Field(ge=0)] = 1.0  # weight of the task of model.head in D's loss
    g_head: Annotated[float, Field(ge=0)] = 0.2  # of the same task in G's loss (model.head=rotation alone)
    temperature: Annotated[float, Field(gt=0)] = 0.2  # of model.head=views: divides the similarities


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PenaltyConfig:
    """What is added to the losses; a weight of 0 turns one off."""

    r1: Scheduled = Schedule(start=0.0)  # gamma: gamma/2 * |grad D(real)|^2
    r2: Scheduled = Schedule(start=0.0)  # gamma: gamma/2 * |grad D(fake)|^2
    wgan_gp: Annotated[float, Field(ge=0)] = 0.0  # lambda * (|grad D(between)| - 1)^2
    dragan: Annotated[float, Field(ge=0)] = 0.0  # lambda * (|grad D(near real)| - 1)^2
    interval: Positive = 1  # D updates between gradient penalties; weights are multiplied by it
    lecam: Annotated[float, Field(ge=0)] = 0.0  # pulls each side's logits to the other's average (LeCam)
    lecam_half_life: Annotated[float, Field(gt=0)] = 5_000  # images after which an old logit weighs one half
    bcr: Annotated[float, Field(ge=0)] = 0.0  # |D(x) - D(moved x)|^2 of real and fake (bCR)
    bcr_transforms: Names = ("translation",)  # of DiffAugment
    path_length: Annotated[float, Field(ge=0)] = 0.0  # of G (stylegan2): even steps in style, even steps in image
    path_length_interval: Positive = 4  # steps between path-length penalties; their weight is multiplied by it

    @model_validator(mode="after")
    def _known_transforms(self) -> "PenaltyConfig":
        _check_names("bcr_transforms", self.bcr_transforms, DIFFAUGMENT)
        if self.bcr and not self.bcr_transforms:
            raise ValueError("bcr_transforms is empty, so bcr compares an image with itself: name one")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class AugmentConfig:
    """What befalls every image, real or generated, on its way into D; G learns through it."""

    method: Literal["none", "diffaugment", "ada"] = "none"
    transforms: Names = ()  # of the method; empty = diffaugment: all, ada: all but flips, turns, negatives and cutout
    p: Scheduled = Schedule(start=0.0)  # ada: probability of each transform; where it starts if adaptive
    adaptive: bool = False  # ada: p follows how sure D is of real images
    target: Annotated[float, Field(gt=-1, lt=1)] = 0.6  # adaptive: mean sign of real logits that p aims at
    adaptive_images: Positive = 500_000  # adaptive: images in which p can go from 0 to 1

    @property
    def chosen(self) -> tuple[str, ...]:
        """The transforms in use."""
        return self.transforms or {"none": (), "diffaugment": DIFFAUGMENT, "ada": ADA_DEFAULT}[self.method]

    @model_validator(mode="after")
    def _only_what_acts(self) -> "AugmentConfig":
        top = max(self.p.start, self.p.end or 0.0)
        if self.method == "none" and self.transforms:
            raise ValueError("transforms do nothing with method=none: set method=diffaugment or method=ada")
        if self.method != "ada" and (top or self.adaptive):
            raise ValueError(f"p and adaptive do nothing with method={self.method}: set method=ada")
        if self.method == "ada" and not top and not self.adaptive:
            raise ValueError("method=ada does nothing at p=0: set p, or adaptive=true")
        if top > 1:
            raise ValueError("p is a probability: it must stay in 0..1")
        if self.adaptive and self.p.end is not None:
            raise ValueError("p either follows a schedule or D: leave out p.end or adaptive")
        _check_names("transforms", self.transforms, ADA if self.method == "ada" else DIFFAUGMENT)
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OptimizerConfig:
    """Adam, for both networks."""

    g_lr: Scheduled = Schedule(start=2e-4)  # learning rate of the generator
    d_lr: Scheduled = Schedule(start=2e-4)  # learning rate of the discriminator
    beta1: Share = 0.5  # decay of the first moment
    beta2: Scheduled = Schedule(start=0.999)  # decay of the second moment
    eps: Annotated[float, Field(gt=0)] = 1e-8  # added to the root of the second moment

    @model_validator(mode="after")
    def _beta2_below_one(self) -> "OptimizerConfig":
        if max(self.beta2.start, self.beta2.end or 0.0) >= 1:
            raise ValueError("beta2 must stay below 1")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StepConfig:
    """What one compiled step does."""

    critic_steps: Positive = 1  # discriminator updates a generator update
    accumulate: Positive = 1  # micro-batches a batch, gradients averaged
    shared_noise: bool = True  # G's update reuses the fakes (and reals) of the last D update: one pass of G less
    per_dispatch: Count = 0  # steps a call of the compiled program; 0 = by network and platform


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EvaluationConfig:
    """Scores during training; `gan_jax.evaluate` uses the same settings afterwards."""

    every_images: Count = 0  # images between scores; 0 = no scores while training
    count: Annotated[int, Field(ge=100)] = 10_000  # samples a score, against at most as many held-out images
    features: Literal["auto", "classifier", "pca", "inception"] = "auto"  # auto: classifier if labelled, else pca
    path: str = ""  # weights of the classifier or of inception (.npz); empty = a classifier made for this data


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class WatchdogConfig:
    """Looks at a run's own numbers and acts when they go wrong; counted in steps, since a fault unfolds by updates."""

    enabled: bool = True  # False: nothing is looked at, nothing is done
    interval: Positive = 50  # steps between looks
    looks: Positive = 2  # looks in a row that must agree; a number that is not finite counts at once
    warmup: Count = 500  # steps in which only numbers that are not finite count
    diversity: Share = 0.02  # least spread of a generated batch, as a part of a real one's; 0 = any
    d_loss: Annotated[float, Field(gt=0)] = 100.0  # largest adversarial loss of D; one that knows nothing has 1 or 2
    separation: Annotated[float, Field(gt=0)] = 1.0  # warns where D ranks real above generated so surely; 2 = never
    class_share: Share = 0.02  # warns of a class with less than this part of an even share of samples; 0 = never
    rollbacks: Count = 3  # returns to the last healthy checkpoint; after that many the run stops with exit code 3
    lr_factor: Annotated[float, Field(gt=0, le=1)] = 0.5  # on both learning rates, at the second return and each later


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LogConfig:
    """How often things are written, in images seen; 0 = never. The last image always counts."""

    metrics_images: Count = 5_000  # a line of metrics.jsonl and TensorBoard
    samples_images: Count = 50_000  # a grid of samples
    checkpoint_images: Count = 50_000  # a checkpoint
    keep: Positive = 2  # newest checkpoints kept
    boards: Names = ("tensorboard",)  # where measurements and grids are also shown: of tensorboard, wandb, mlflow

    @model_validator(mode="after")
    def _known_boards(self) -> "LogConfig":
        for name in self.boards:
            if name not in BOARDS:
                raise ValueError(f"boards: unknown board {name!r}; choose from {', '.join(BOARDS)}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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
        return self

    def _check_head(self) -> None:
        head, pack = self.model.head, self.model.pack
        height, width = self.data.image_size
        if head != "none" and pack > 1:
            raise ValueError(f"model.head={head} learns of single images: set model.pack=1, not {pack}")
        if head == "rotation" and height != width:
            raise ValueError(f"model.head=rotation turns images, which needs square ones, not {height},{width}")
        if head == "classes" and self.model.conditional:
            raise ValueError("model.head=classes has a logit a class already: set model.conditional=false")
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
            _assign(tree, name, value)
        return from_dict(tree)


_ADAPTER = TypeAdapter(Config)


def to_dict(config: Config) -> dict[str, Any]:
    """The config as nested dicts of plain values, ready for JSON."""
    return dataclasses.asdict(config)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What `to_dict` gives as one dict with dotted names; a schedule is one value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        group = isinstance(value, Mapping) and "start" not in value
        found |= flat(value, f"{prefix}{name}.") if group else {prefix + name: value}
    return found


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


def read_json(path: Path) -> Config:
    """Reads a workdir's config.json.

    Raises:
        InputError: the file is missing or is no config.
    """
    try:
        tree = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is {path.parent} a workdir of gan_jax.main?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it or take another --workdir") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no config: restore it or take another --workdir")
    return from_dict(tree)


def load_config(path: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Config:
    """Loads a config file and applies overrides.

    Args:
        path: a Python file that defines `get_config() -> Config`, or the name of a built-in one, such as "digits".
        overrides: dotted fields, as a mapping or as "a.b=value" strings.

    Raises:
        InputError: the file cannot be loaded, or an override does not fit.
    """
    path = _find(path)
    if path.suffix != ".py":
        raise InputError(f"--config={path}: a config is a Python file that ends in .py")
    config = call_from(path, "config", "get_config", (), "configs/ has examples")
    if not isinstance(config, Config):
        raise InputError(f"--config={path}: get_config() must return a gan_jax.Config, not {type(config).__name__}")
    return config.replace(overrides if isinstance(overrides, Mapping) else split_overrides(overrides))


def call_from(path: Path, flag: str, function: str, arguments: Sequence[Any], hint: str) -> Any:
    """Runs a Python file of the user's and calls a function of it.

    Args:
        path: the file.
        flag: that named it.
        function: to be called.
        arguments: of it.
        hint: where examples are.

    Raises:
        InputError: there is no such file or function, or either fails.
    """
    if not path.is_file():
        raise InputError(f"--{flag}={path}: no such file")
    # Not by importlib: it writes bytecode beside the file, and takes old bytecode for a file edited within a second.
    names: dict[str, Any] = {"__name__": f"gan_jax_{flag}_{path.stem}", "__file__": str(path)}
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
        if function not in names:
            raise InputError(f"--{flag}={path}: defines no {function}(); {hint}")
        return names[function](*arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        raise InputError(f"--{flag}={path}: {type(error).__name__}: {line}") from None


def split_overrides(texts: Sequence[str]) -> dict[str, str]:
    """Values by dotted name, from "a.b=value".

    Raises:
        InputError: a value is missing.
    """
    return dict(_split_override(text) for text in texts)


def preset_names() -> list[str]:
    """Names of the built-in configs."""
    return sorted(path.stem for path in _presets().glob("*.py"))


def _presets() -> Path:
    """Folder of the built-in configs: inside an installed package, beside the package in a checkout."""
    here = Path(__file__).parent
    return here / "configs" if (here / "configs").is_dir() else here.parent / "configs"


def _find(path: str | Path) -> Path:
    """The file that --config means: a path, or else the name of a built-in config."""
    given, known = Path(path), preset_names()
    if given.is_file():
        return given
    if str(path) in known:
        return _presets() / f"{path}.py"
    close = difflib.get_close_matches(given.stem, known, n=1)
    hint = f"did you mean --config={close[0]}?" if close else f"built-in are {', '.join(known)}"
    raise InputError(f"--config={path}: no such file or built-in config; {hint}")


def load_sibling(file: str, name: str) -> Config:
    """The config of `name`.py beside `file`: configs build on one another, never by copy."""
    return load_config(Path(file).with_name(f"{name}.py"))


def _split_override(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--config.{name}: give a value, as in --config.{name}=VALUE")
    return name, value


def _assign(tree: dict[str, Any], name: str, value: Any) -> None:
    """Sets a dotted name in nested dicts whose keys are all known."""
    *parents, leaf = name.split(".")
    node: Any = tree
    for depth, part in enumerate([*parents, leaf]):
        if not isinstance(node, dict) or part not in node:
            known = list(node) if isinstance(node, dict) else []
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"
            raise InputError(f"config.{name}: unknown field {part!r}; {hint}")
        if depth < len(parents):
            node = node[part]
    if isinstance(node[leaf], dict) and "start" not in node[leaf]:
        raise InputError(f"config.{name}: is a group; set one of its fields: {', '.join(node[leaf])}")
    is_choice = isinstance(node[leaf], str)  # where "none" is a word like others
    node[leaf] = None if value == "none" and not is_choice else value
