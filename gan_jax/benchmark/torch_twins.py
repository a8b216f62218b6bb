"""Our training step in PyTorch, on copied weights: what a user of that library would write. Imports torch, models.

Same networks, losses, penalties, Adam and average; eager or through `torch.compile`, either memory format, the faster
Adam. Nothing here is imported unless the extra `peers` is there.
"""

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_jax.adversarial.schedules import ema_decay
from gan_jax.adversarial.state import State
from gan_jax.benchmark.torch_nets import twin_of
from gan_jax.benchmark.torch_weights import load
from gan_jax.program import Program

softplus = F.softplus
# By name: what D and G minimise, of (real, fake) logits [B]; the same pairs as in adversarial/losses.py.
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "nonsaturating": (lambda real, fake: softplus(-real) + softplus(fake), lambda real, fake: softplus(-fake)),
    "hinge": (lambda real, fake: F.relu(1 - real) + F.relu(1 + fake), lambda real, fake: -fake),
    "relativistic": (lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake)),
}


@dataclass(frozen=True)
class Variant:
    """One of the ways to run the twin.

    Attributes:
        compiled: through `torch.compile`.
        channels_last: memory format of images and kernels.
        fused: Adam in one kernel, else one operation at a time over all weights.
    """

    compiled: bool = False
    channels_last: bool = False
    fused: bool = True

    @property
    def text(self) -> str:
        """For the log."""
        words = [("eager", "compile")[self.compiled], ("contiguous", "channels_last")[self.channels_last]]
        return " ".join([*words, ("foreach", "fused")[self.fused]])


class Twin:
    """Both networks and their optimisers."""

    def __init__(self, program: Program, state: State, variant: Variant = Variant()) -> None:  # noqa: B008
        """Copies a state's weights.

        Args:
            program: whose networks and config to follow.
            state: a fresh one; moments of Adam are not copied.
            variant: how to run.

        Raises:
            TypeError: a network or loss has no twin.
        """
        config = program.config
        if config.loss.name not in LOSSES or config.step.critic_steps > 1 or config.step.accumulate > 1:
            raise TypeError("no PyTorch twin of this loss or of more than one update a step")
        self.config, self.variant = config, variant
        self.format = torch.channels_last if variant.channels_last else torch.contiguous_format
        self.separate = bool(getattr(program.d, "cross_sample", False))
        self.g, self.d = (twin_of(net, program.shape) for net in (program.g, program.d))
        load(self.g, state.g)
        load(self.d, state.d)
        if len(program.shape) == 3:
            self.g, self.d = self.g.to(memory_format=self.format), self.d.to(memory_format=self.format)
        self.average = copy.deepcopy(self.g)
        optimizer, rates = config.optimizer, (config.optimizer.g_lr.start, config.optimizer.d_lr.start)
        how: dict[str, Any] = {"fused": True} if variant.fused else {"foreach": True}
        self.g_adam, self.d_adam = (
            torch.optim.Adam(net.parameters(), lr, (optimizer.beta1, optimizer.beta2.start), optimizer.eps, **how)
            for net, lr in zip((self.g, self.d), rates, strict=True)
        )
        self.ema_rate = 1 - float(ema_decay(config.images_per_step, jnp.float32(config.ema_half_life.start)))
        wrap = torch.compile if variant.compiled else lambda function: function
        self.generate, self.d_loss, self.g_loss = wrap(self.g), wrap(self._d_loss), wrap(self._g_loss)

    def step(self, reals: list[Tensor], noises: list[Tensor]) -> tuple[Tensor, Tensor]:
        """One update of D, then of G.

        Args:
            reals: uint8 [B, C, H, W] or float32 [B, N]; a second one if G's update takes fresh examples.
            noises: [B, Z]; a second one likewise.

        Returns:
            The losses of D, without penalties, and of G.
        """
        shared, pairs = self.config.step.shared_noise, self.config.loss.name == "relativistic"
        real = self._to_float(reals[0])
        with torch.set_grad_enabled(shared):
            fake = self.generate(noises[0])
        self.d_adam.zero_grad(set_to_none=True)
        d_loss, penalty = self.d_loss(real, fake.detach())
        (d_loss + penalty).backward()
        self.d_adam.step()

        if not shared:
            real, fake = self._to_float(reals[-1]) if pairs else real, self.generate(noises[-1])
        for parameter in self.d.parameters():  # or autograd would compute gradients that nobody needs
            parameter.requires_grad_(False)
        self.g_adam.zero_grad(set_to_none=True)
        g_loss = self.g_loss(real, fake)
        g_loss.backward()
        self.g_adam.step()
        for parameter in self.d.parameters():
            parameter.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.g.parameters()), self.ema_rate)
        return d_loss.detach(), g_loss.detach()

    def _to_float(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            return images
        return (images.float() / 127.5 - 1).contiguous(memory_format=self.format)

    def _d_loss(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        penalty = self.config.penalty
        r1, r2 = penalty.r1.start, penalty.r2.start
        squared: Tensor | None = None
        if self.separate:
            real_logits, fake_logits = self.d(real), self.d(fake)
        else:
            images = torch.cat([real, fake])
            if r1 or r2:  # both in one pass, as ours
                logits, squared = self._penalised(images)
            else:
                logits = self.d(images)
            real_logits, fake_logits = logits.chunk(2)
        loss = LOSSES[self.config.loss.name][0](real_logits, fake_logits).mean()
        if squared is None:
            return loss, torch.zeros(())
        on_real, on_fake = squared.chunk(2)
        return loss, 0.5 * (r1 * on_real.mean() + r2 * on_fake.mean())

    def _penalised(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [2 B] and squared norms of their gradients."""
        if self.variant.compiled:  # autograd.grad ends a compiled graph, torch.func does not
            logits, pull = torch.func.vjp(self.d, images)
            (gradients,) = pull(torch.ones_like(logits))
        else:
            images = images.requires_grad_()
            logits = self.d(images)
            (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return logits, gradients.square().flatten(1).sum(1)

    def _g_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        logits = self.d(fake)
        if self.config.loss.name == "relativistic":
            with torch.no_grad():
                real_logits = self.d(real)
        else:
            real_logits = logits
        return LOSSES[self.config.loss.name][1](real_logits, logits).mean()


def images_for(images: np.ndarray) -> Tensor:
    """Our images [B, H, W, C] as the twins' [B, C, H, W], mirrored; points [B, N] as they are."""
    if images.ndim == 2:
        return torch.from_numpy(images.copy())
    return torch.from_numpy(np.ascontiguousarray(images[:, ::-1, ::-1].transpose(0, 3, 1, 2)))


# ---------------------------------------------------------------- the fastest way to run it


def fastest_twins(program: Program, state: State, examples: np.ndarray) -> dict[str, Callable[[], object]]:
    """Calls of one step of the twin, to be timed: "torch_eager" and, if it works here, "torch_compile".

    Every variant is tried with a few steps, and the fastest of each kind returned.

    Args:
        program: whose step to follow.
        state: whose weights to copy.
        examples: [K P, B, ...], used in turn.
    """
    found: dict[str, Callable[[], object]] = {}
    formats = (False, True) if len(program.shape) == 3 else (False,)
    for compiled in (False, True):
        times: dict[Variant, float] = {}
        calls: dict[Variant, Callable[[], object]] = {}
        for channels_last, fused in itertools.product(formats, (True, False)):
            variant = Variant(compiled, channels_last, fused)
            if compiled and not fused:
                continue  # the optimiser is not compiled: eager mode has told which Adam is faster
            call = _call(Twin(program, state, variant), examples, program.passes, program.config.model.latent_size)
            try:
                call()
            except Exception as error:  # torch.compile fails in many ways, e.g. without a C++ compiler
                if not compiled:
                    raise
                print(f"  {variant.text}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
                continue
            call()
            times[variant] = min(_seconds(call) for _ in range(3))
            calls[variant] = call
            print(f"  {variant.text}: {1e3 * times[variant]:.4g} ms", flush=True)
        if times:
            found["torch_compile" if compiled else "torch_eager"] = calls[min(times, key=lambda one: times[one])]
    return found


def _call(twin: Twin, examples: np.ndarray, passes: int, latent_size: int) -> Callable[[], object]:
    batches = [images_for(part) for part in examples]
    if batches[0].ndim == 4:
        batches = [batch.contiguous(memory_format=twin.format) for batch in batches]
    turns = itertools.cycle(range(0, len(batches), passes))
    draws = 1 if twin.config.step.shared_noise else 2

    def call() -> object:
        first = next(turns)
        noises = [torch.randn(len(batches[0]), latent_size) for _ in range(draws)]
        return twin.step(batches[first : first + passes], noises)

    return call


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
