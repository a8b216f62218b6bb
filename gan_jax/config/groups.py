"""The groups of settings, each with its fields, their defaults and what must hold within it.

Every number that a run depends on is a field. Lengths, intervals and schedules count *images
seen* (real images shown to the discriminator), so that the batch size and the number of
devices do not change their meaning.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from gan_jax.config.fields import (
    ADA,
    ADA_DEFAULT,
    BOARDS,
    DIFFAUGMENT,
    SOURCES,
    STRICT,
    Architecture,
    Channels,
    Count,
    Head,
    LossName,
    Names,
    Positive,
    Schedule,
    Scheduled,
    Share,
    Size,
    Spectrogram,
    check_names,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """Where the real examples come from."""

    source: str = "digits"  # a name of fields.SOURCES, or tfds:NAME
    path: str = ""  # folder or file of idx, folder, npz, stacked, wav and words; data_dir of tfds
    image_size: Size = (28, 28)  # (height, width); images are resized and centre-cropped to it
    channels: Channels = 1  # 1 = grey, 3 = RGB; images are converted
    length: Positive = 8192  # samples of a sound (wav, spoken), letters of a word; sounds are cut or filled up
    sample_rate: Positive = 8000  # samples a second of sounds; others are resampled
    batch_size: Positive = 64  # real images a discriminator update, over all devices
    residency: Literal["auto", "device", "stream"] = "auto"  # whole set on the device, or streamed
    resident_mb: Positive = 1024  # "auto" streams sets larger than this
    threads: Positive = 4  # threads that read and decode while streaming
    balanced: bool = False  # every class is shown equally often in training, however rare; needs labels
    validation: Share = 0.0  # part of the training images held out of it, and scored against in place of the test split

    @model_validator(mode="after")
    def _known_source(self) -> "DataConfig":
        if self.source not in SOURCES and not (self.source.startswith("tfds:") and len(self.source) > 5):
            raise ValueError(f"source must be one of {', '.join(SOURCES)} or tfds:NAME, not {self.source!r}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The two networks."""

    architecture: Architecture = "dcgan"  # one file of gan_jax/models
    g_architecture: Architecture | None = None  # of the generator alone; None = architecture
    latent_size: Positive = 64  # length of z ~ N(0, I)
    latent_signs: Count = 0  # of its numbers, how many G takes as +1 or -1 (mlp): for data that lie in pieces
    latent_direct: Count = 0  # of its numbers, the last so many go past G's layers, straight to its output (mlp)
    g_width: Positive = 64  # channels of the generator's widest-resolution stage
    d_width: Positive = 64  # the same for the discriminator
    d_extra_stages: Count = 0  # of the discriminator, beyond those that halve evenly: 7x7 to 4x4 to 2x2 (dcgan)
    blocks: Positive = (
        2  # residual blocks a stage (r3gan, r3gan_1d), layers (mlp, sequence), of the mapping (stylegan2)
    )
    frame: Positive = 1  # samples of a signal that make one place of its networks (r3gan_1d)
    # Whether D sees the spectrogram of those frames: none of it, beside their samples, or alone (r3gan_1d).
    d_spectrogram: Spectrogram = "none"
    phase_shuffle: Count = 0  # places by which D's layers shift signals at random (wavegan); 0 = not at all
    temperature: Scheduled = Schedule(start=1.0)  # of the softmax whose gradient stands for that of a letter (sequence)
    d_norm: Literal["none", "batch", "spectral"] = "none"  # normalisation in the discriminator
    d_octaves: Count = 0  # sines and cosines of its input that D sees (mlp), from 1/4 cycle a unit; 0 = none
    dropout: Share = 0.0  # dropout rate in the discriminator
    conditional: bool = False  # class-conditional: embedding in G, projection in D (or head=auxiliary); needs labels
    pack: Positive = 1  # examples that D judges as one (PacGAN)
    minibatch_std: Count = 0  # examples a group whose spread D is shown; 0 = not shown
    head: Head = "none"  # second task of D, from which it learns features; see gan_jax/adversarial/tasks.py
    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations; parameters and losses stay float32

    @model_validator(mode="after")
    def _parts_are_of_the_latent(self) -> "ModelConfig":
        if self.latent_signs > self.latent_size:
            raise ValueError(f"latent_signs={self.latent_signs} must be at most latent_size={self.latent_size}")
        if self.latent_direct >= self.latent_size:
            raise ValueError(f"latent_direct={self.latent_direct} must be below latent_size={self.latent_size}")
        if self.latent_signs + self.latent_direct > self.latent_size:
            raise ValueError(f"latent_signs + latent_direct must be at most latent_size={self.latent_size}")
        return self

    @model_validator(mode="after")
    def _frames_have_a_spectrum(self) -> "ModelConfig":
        if self.d_spectrogram != "none" and self.frame < 8:
            raise ValueError(f"d_spectrogram needs frames of 8 samples or more, not frame={self.frame}")
        return self

    @model_validator(mode="after")
    def _temperature_above_0(self) -> "ModelConfig":
        if self.temperature.start == 0 or self.temperature.end == 0:
            raise ValueError("temperature divides logits: it must stay above 0")
        return self

    @model_validator(mode="after")
    def _a_group_has_a_spread(self) -> "ModelConfig":
        if self.minibatch_std == 1:
            raise ValueError("minibatch_std=1 compares an example with nothing: take 4, or 0 for none")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LossConfig:
    """The game."""

    name: LossName = "nonsaturating"  # see gan_jax/adversarial/losses.py
    head: Annotated[float, Field(ge=0)] = 1.0  # weight of the task of model.head in D's loss
    g_head: Annotated[float, Field(ge=0)] = 0.2  # of the same task in G's loss (model.head=rotation or auxiliary)
    temperature: Annotated[float, Field(gt=0)] = 0.2  # of model.head=views: divides the similarities


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
    likelihood: Scheduled = Schedule(start=0.0)  # of G (sequence): -log p of real letters after those before them
    path_length_interval: Positive = 4  # steps between path-length penalties; their weight is multiplied by it

    @model_validator(mode="after")
    def _known_transforms(self) -> "PenaltyConfig":
        check_names("bcr_transforms", self.bcr_transforms, DIFFAUGMENT)
        if self.bcr and not self.bcr_transforms:
            raise ValueError("bcr_transforms is empty, so bcr compares an image with itself: name one")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
        check_names("transforms", self.transforms, ADA if self.method == "ada" else DIFFAUGMENT)
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StepConfig:
    """What one compiled step does."""

    critic_steps: Positive = 1  # discriminator updates a generator update
    accumulate: Positive = 1  # micro-batches a batch, gradients averaged
    shared_noise: bool = True  # G's update reuses the fakes (and reals) of the last D update: one pass of G less
    per_dispatch: Count = 0  # steps a call of the compiled program; 0 = by network and platform


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationConfig:
    """Scores during training; `gan_jax.evaluate` uses the same settings afterwards."""

    every_images: Count = 0  # images between scores; 0 = no scores while training
    count: Annotated[int, Field(ge=100)] = 10_000  # samples a score, against at most as many held-out images
    features: Literal["auto", "classifier", "pca", "inception"] = "auto"  # auto: classifier if labelled, else pca
    path: str = ""  # weights of the classifier or of inception (.npz); empty = a classifier made for this data


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
