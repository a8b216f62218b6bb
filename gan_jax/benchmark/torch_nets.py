"""PyTorch twins of our networks: the same layers under the same names. Imports torch (extra `peers`) and models.

Each network is the mirror image of ours, left to right and top to bottom: where padding is uneven PyTorch's own lies at
the other end, and it should have its fastest form. `torch_twins.py` mirrors kernels and images on their way in and out.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as linen
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_jax.benchmark import examples_dcgan
from gan_jax.models import dcgan, mlp, r3gan, resnet
from gan_jax.models.layers import stage_count


class Places(nn.Linear):
    """A dense layer one side of which is an image, [h, w, C] flattened: its outputs if it has several."""

    def __init__(self, inputs: int, outputs: int, places: tuple[int, int], bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.places = places
        self.flat_axis = 1 if outputs > 1 else 0  # of our kernel [inputs, outputs]


class PlacesNorm(nn.BatchNorm1d):
    """Batch normalisation of a flattened image, every place and channel by itself."""

    def __init__(self, features: int, places: tuple[int, int]) -> None:
        super().__init__(features)
        self.places, self.flat_axis = places, 0


def down(inputs: int, outputs: int, window: int, bias: bool) -> nn.Conv2d:
    """A convolution that halves height and width, as ours with "SAME" padding."""
    return nn.Conv2d(inputs, outputs, window, 2, (window - 1) // 2, bias=bias)


def up(inputs: int, outputs: int, window: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, window, 2, (window - 1) // 2, window % 2, bias=False)


def image_of(flat: Tensor, height: int, width: int) -> Tensor:
    """[B, h * w * C] -> [B, C, h, w] without a copy."""
    return flat.view(len(flat), height, width, -1).permute(0, 3, 1, 2)


def flat_of(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h * w * C]."""
    return x.permute(0, 2, 3, 1).flatten(1)


# ---------------------------------------------------------------- DCGAN, 5x5 and the PyTorch examples' 4x4


class DcganGenerator(nn.Module):
    """Of `gan_jax.models.dcgan.Generator`."""

    def __init__(self, net: dcgan.Generator) -> None:
        super().__init__()
        height, width, channels = net.shape
        self.count = stage_count(height, width)
        self.base_size = (height >> self.count, width >> self.count)
        widths = [net.width * min(2**power, 8) for power in range(self.count, -1, -1)]
        outputs = self.base_size[0] * self.base_size[1] * widths[0]
        self.base = Places(net.latent_size, outputs, self.base_size, bias=False)
        self.base_norm = PlacesNorm(outputs, self.base_size)
        self.conv = nn.Conv2d(widths[0], widths[1], 5, padding=2, bias=False)
        self.conv_norm = nn.BatchNorm2d(widths[1])
        for number in range(1, self.count):
            self.add_module(f"up_{number}", up(widths[number], widths[number + 1], 5))
            self.add_module(f"up_{number}_norm", nn.BatchNorm2d(widths[number + 1]))
        self.image = up(widths[-1], channels, 5)

    def forward(self, z: Tensor) -> Tensor:
        x = image_of(F.leaky_relu(self.base_norm(self.base(z)), 0.3), *self.base_size)
        x = F.leaky_relu(self.conv_norm(self.conv(x)), 0.3)
        for number in range(1, self.count):
            x = getattr(self, f"up_{number}_norm")(getattr(self, f"up_{number}")(x))
            x = F.leaky_relu(x, 0.3)
        return torch.tanh(self.image(x))


class DcganDiscriminator(nn.Module):
    """Of `gan_jax.models.dcgan.Discriminator` without normalisation."""

    def __init__(self, net: dcgan.Discriminator, shape: tuple[int, ...]) -> None:
        super().__init__()
        height, width, channels = shape
        self.count, self.dropout = stage_count(height, width), net.dropout
        for index in range(self.count):
            outputs = net.width * min(2**index, 8)
            self.add_module(f"conv_{index + 1}", down(channels, outputs, 5, bias=True))
            channels = outputs
        places = (height >> self.count, width >> self.count)
        self.out = Places(places[0] * places[1] * channels, 1, places)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, self.count + 1):
            x = F.leaky_relu(getattr(self, f"conv_{number}")(x), 0.3)
            if self.dropout:
                x = F.dropout(x, self.dropout)
        return self.out(flat_of(x))[:, 0]


class ExamplesGenerator(nn.Module):
    """Of `gan_jax.benchmark.examples_dcgan.Generator`."""

    def __init__(self, net: examples_dcgan.Generator) -> None:
        super().__init__()
        widths = [net.width * factor for factor in (8, 4, 2, 1)]
        self.base = Places(net.latent_size, 16 * widths[0], (4, 4), bias=False)
        self.base_norm = nn.BatchNorm2d(widths[0])
        for number in range(1, 4):
            self.add_module(f"up_{number}", up(widths[number - 1], widths[number], 4))
            self.add_module(f"up_{number}_norm", nn.BatchNorm2d(widths[number]))
        self.image = up(widths[3], 3, 4)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.base_norm(image_of(self.base(z), 4, 4)))
        for number in range(1, 4):
            x = F.relu(getattr(self, f"up_{number}_norm")(getattr(self, f"up_{number}")(x)))
        return torch.tanh(self.image(x))


class ExamplesDiscriminator(nn.Module):
    """Of `gan_jax.benchmark.examples_dcgan.Discriminator`."""

    def __init__(self, net: examples_dcgan.Discriminator) -> None:
        super().__init__()
        widths = [3, *(net.width * factor for factor in (1, 2, 4, 8))]
        for number in range(1, 5):
            self.add_module(f"conv_{number}", down(widths[number - 1], widths[number], 4, bias=False))
            if number > 1:
                self.add_module(f"conv_{number}_norm", nn.BatchNorm2d(widths[number]))
        self.out = Places(16 * widths[4], 1, (4, 4), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv_1(x), 0.2)
        for number in range(2, 5):
            x = F.leaky_relu(getattr(self, f"conv_{number}_norm")(getattr(self, f"conv_{number}")(x)), 0.2)
        return self.out(flat_of(x))[:, 0]


# ---------------------------------------------------------------- SNGAN's residual networks


class UpBlock(nn.Module):
    """Of `gan_jax.models.resnet.UpBlock`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm_1(x))
        y = self.conv_1(F.interpolate(y, scale_factor=2, mode="bilinear"))
        y = self.conv_2(F.relu(self.norm_2(y)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="bilinear")


class ResnetGenerator(nn.Module):
    """Of `gan_jax.models.resnet.Generator` without classes."""

    def __init__(self, net: resnet.Generator) -> None:
        super().__init__()
        height, width, channels = net.shape
        self.count = stage_count(height, width)
        self.places = (height >> self.count, width >> self.count)
        self.base = Places(net.latent_size, self.places[0] * self.places[1] * net.width, self.places)
        for number in range(1, self.count + 1):
            self.add_module(f"block_{number}", UpBlock(net.width))
        self.norm = nn.BatchNorm2d(net.width)
        self.image = nn.Conv2d(net.width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = image_of(self.base(z), *self.places)
        for number in range(1, self.count + 1):
            x = getattr(self, f"block_{number}")(x)
        return torch.tanh(self.image(F.relu(self.norm(x))))


class DownBlock(nn.Module):
    """Of `gan_jax.models.resnet.DownBlock`."""

    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool, make: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv_1 = make(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv_2 = make(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = make(nn.Conv2d(inputs, outputs, 1)) if halve or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_2(F.relu(self.conv_1(x if self.first else F.relu(x))))
        if self.halve:
            y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        return y + self.shortcut(x)


class ResnetDiscriminator(nn.Module):
    """Of `gan_jax.models.resnet.Discriminator` without classes."""

    def __init__(self, net: resnet.Discriminator, shape: tuple[int, ...]) -> None:
        super().__init__()
        make = nn.utils.parametrizations.spectral_norm if net.norm == "spectral" else lambda layer: layer
        height, width, channels = shape
        halvings = stage_count(height, width)
        while halvings > 1 and min(height, width) >> halvings < 7:
            halvings -= 1
        self.count = halvings + 2
        for index in range(self.count):
            block = DownBlock(channels if index == 0 else net.width, net.width, index < halvings, index == 0, make)
            self.add_module(f"block_{index + 1}", block)
        self.out = make(nn.Linear(net.width, 1))

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, self.count + 1):
            x = getattr(self, f"block_{number}")(x)
        return self.out(F.relu(x).sum((2, 3)))[:, 0]


# ---------------------------------------------------------------- R3GAN


class R3Block(nn.Module):
    """Of `gan_jax.models.r3gan.Block`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        groups = max(1, inner // 16)
        while inner % groups:
            groups -= 1
        self.conv_1 = nn.Conv2d(channels, inner, 1)
        self.conv_2 = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
        self.conv_3 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_2(F.leaky_relu(self.conv_1(x), 0.2))
        return x + self.conv_3(F.leaky_relu(y, 0.2))


class R3Generator(nn.Module):
    """Of `gan_jax.models.r3gan.Generator` without classes."""

    def __init__(self, net: r3gan.Generator) -> None:
        super().__init__()
        height, width, channels = net.shape
        self.count, self.blocks = stage_count(height, width), net.blocks
        self.basis = nn.Parameter(torch.empty(net.width, height >> self.count, width >> self.count))
        self.weights = nn.Linear(net.latent_size, net.width, bias=False)
        for stage in range(self.count + 1):
            for number in range(1, self.blocks + 1):
                self.add_module(f"stage_{stage}_block_{number}", R3Block(net.width))
        self.image = nn.Conv2d(net.width, channels, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        x = self.basis * self.weights(z)[:, :, None, None]
        for stage in range(self.count + 1):
            if stage:  # zeros outside: padding by one, of which the doubled border is cut off
                x = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[:, :, 2:-2, 2:-2]
            for number in range(1, self.blocks + 1):
                x = getattr(self, f"stage_{stage}_block_{number}")(x)
        return self.image(x)


class R3Discriminator(nn.Module):
    """Of `gan_jax.models.r3gan.Discriminator` without classes."""

    def __init__(self, net: r3gan.Discriminator, shape: tuple[int, ...]) -> None:
        super().__init__()
        height, width, channels = shape
        self.count, self.blocks = stage_count(height, width), net.blocks
        self.image = nn.Conv2d(channels, net.width, 1, bias=False)
        for stage in range(self.count + 1):
            for number in range(1, self.blocks + 1):
                self.add_module(f"stage_{stage}_block_{number}", R3Block(net.width))
        self.basis = nn.Parameter(torch.empty(net.width, height >> self.count, width >> self.count))
        self.out = nn.Linear(net.width, 1, bias=False)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("taps", (taps[:, None] * taps).repeat(net.width, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.image(x)
        for stage in range(self.count, -1, -1):
            for number in range(1, self.blocks + 1):
                x = getattr(self, f"stage_{stage}_block_{number}")(x)
            if stage:
                x = F.conv2d(x, self.taps, stride=2, padding=1, groups=len(self.taps))
        return self.out((x * self.basis).sum((2, 3)))[:, 0]


# ---------------------------------------------------------------- dense


class Dense(nn.Module):
    """Of `gan_jax.models.mlp`; both networks, points only."""

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int, slope: float) -> None:
        super().__init__()
        self.blocks, self.slope = blocks, slope
        for number in range(1, blocks + 1):
            self.add_module(f"hidden_{number}", nn.Linear(inputs if number == 1 else width, width))
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, self.blocks + 1):
            x = getattr(self, f"hidden_{number}")(x)
            x = F.leaky_relu(x, self.slope) if self.slope else F.relu(x)
        return self.out(x) if self.out.out_features > 1 else self.out(x)[:, 0]


def twin_of(net: linen.Module, shape: tuple[int, ...]) -> nn.Module:
    """The twin of one of our networks, its weights not set yet.

    Args:
        net: a generator or a discriminator.
        shape: of one example.

    Raises:
        TypeError: there is no twin of this architecture.
    """
    match net:
        case dcgan.Generator():
            return DcganGenerator(net)
        case dcgan.Discriminator(norm="none"):
            return DcganDiscriminator(net, shape)
        case examples_dcgan.Generator():
            return ExamplesGenerator(net)
        case examples_dcgan.Discriminator():
            return ExamplesDiscriminator(net)
        case resnet.Generator():
            return ResnetGenerator(net)
        case resnet.Discriminator():
            return ResnetDiscriminator(net, shape)
        case r3gan.Generator():
            return R3Generator(net)
        case r3gan.Discriminator():
            return R3Discriminator(net, shape)
        case mlp.Generator() if len(shape) == 1:
            return Dense(net.latent_size, net.width, net.blocks, shape[0], 0.0)
        case mlp.Discriminator() if len(shape) == 1:
            return Dense(shape[0], net.width, net.blocks, 1, 0.2)
        case _:
            raise TypeError(f"no PyTorch twin of {type(net).__qualname__} for examples of shape {shape}")
