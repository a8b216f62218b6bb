"""Kinds of values that settings take: their ranges, the names they may be, and how the command line writes them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)  # type errors name the field

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
ImageArchitecture = Literal["mlp", "dcgan", "resnet", "r3gan", "stylegan2", "article", "improved_gan"]
SignalArchitecture = Literal["wavegan", "r3gan_1d", "sequence"]  # of signals [L, C], and of words
Architecture = ImageArchitecture | SignalArchitecture
Head = Literal["none", "rotation", "views", "classes", "auxiliary"]
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


def _yes_or_no(value: Any) -> Any:
    """Reads the yes or no of runs that began before there was a third choice."""
    return {False: "none", True: "beside"}.get(value, value) if isinstance(value, bool) else value


Spectrogram = Annotated[Literal["none", "beside", "alone"], BeforeValidator(_yes_or_no)]


def as_now(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, as an older run stored them, with today's values."""
    name = "model.d_spectrogram"
    return {**settings, name: _yes_or_no(settings[name])} if name in settings else dict(settings)


def _split_names(value: Any) -> Any:
    """Reads "color,cutout" from the command line as names."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
ALPHABET = " abcdefghijklmnopqrstuvwxyz"  # of words; the blank fills them up to their length
SOURCES = (
    *("digits", "idx", "folder", "npz", "ring", "grid", "stacked"),
    *("wav", "mnist1d", "spoken", "words"),
)
BOARDS = ("tensorboard", "wandb", "mlflow")
DIFFAUGMENT = ("color", "translation", "cutout")
ADA = (
    *("flip", "rotate90", "rotate", "translate", "scale", "stretch", "shift"),
    *("brightness", "contrast", "luma_flip", "hue", "saturation", "cutout"),
)
# Flips, turns and negatives make another thing of a digit, a letter or a shoe: only on demand.
ADA_DEFAULT = ("translate", "scale", "stretch", "shift", "brightness", "contrast", "hue", "saturation")


def check_names(field: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raises ValueError, naming the field, for a name that is not among the known ones."""
    for name in given:
        if name not in known:
            raise ValueError(f"{field}: unknown transform {name!r}; choose from {', '.join(known)}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
