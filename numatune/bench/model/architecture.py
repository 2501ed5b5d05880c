"""ResNet v1 as data: its convolutions, blocks and counts, from which graph, weights and tests are made.

Version 1 is the Caffe model: the stride of 2 sits in the first 1x1 convolution of a bottleneck (and in its shortcut),
not in the 3x3 as in "v1.5". Source: He et al., "Deep Residual Learning for Image Recognition" (2015), table 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from ..errors import BenchError

BLOCKS_PER_STAGE = {"resnet50": (3, 4, 6, 3), "resnet152": (3, 8, 36, 3)}
MODELS = tuple(BLOCKS_PER_STAGE)
CLASSES = 1000
SMALLEST_SIZE, LARGEST_SIZE = 32, 1024

# Gains (batch-norm gammas) that keep 50 random residual blocks from blowing up: a damped last convolution of each
# block, and a shortcut of one over the square root of two. Activations then peak at about 33 and never turn denormal.
LAST_GAIN, SHORTCUT_GAIN = 0.25, 0.707


@dataclass(frozen=True)
class Convolution:
    """A square convolution followed by batch norm; weight shape (outputs, inputs, kernel, kernel)."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    gain: float

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def fan_in(self) -> int:
        return self.inputs * self.kernel * self.kernel

    @property
    def weight_count(self) -> int:
        return self.outputs * self.fan_in

    def output_size(self, size: int) -> int:
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Block:
    """A bottleneck: 1x1, 3x3, 1x1, added to its input or to the shortcut's projection of it."""

    name: str
    reduce: Convolution
    middle: Convolution
    expand: Convolution
    shortcut: Optional[Convolution]

    def convolutions(self) -> Iterator[Convolution]:
        yield self.reduce
        yield self.middle
        yield self.expand
        if self.shortcut is not None:
            yield self.shortcut


@dataclass(frozen=True)
class Architecture:
    """One ResNet: the stem (followed by a 3x3 max pool of stride 2), the blocks and the classifier."""

    name: str
    stem: Convolution
    blocks: tuple[Block, ...]
    features: int
    classes: int = CLASSES

    def convolutions(self) -> Iterator[Convolution]:
        """All convolutions in the order in which their weights lie in the file."""
        yield self.stem
        for block in self.blocks:
            yield from block.convolutions()

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...], float, int]]:
        """(name, shape, gain, fan_in) of each folded tensor, in file order; a bias has fan_in 0."""
        for convolution in self.convolutions():
            kernel = convolution.kernel
            shape = (convolution.outputs, convolution.inputs, kernel, kernel)
            yield convolution.name + ".weight", shape, convolution.gain, convolution.fan_in
            yield convolution.name + ".bias", (convolution.outputs,), 1.0, 0
        yield "fc.weight", (self.classes, self.features), 1.0, self.features
        yield "fc.bias", (self.classes,), 1.0, 0

    def parameters(self) -> int:
        """Trainable parameters with batch norm's gamma and beta (60,192,808 for ResNet-152)."""
        per_convolution = sum(c.weight_count + 2 * c.outputs for c in self.convolutions())
        return per_convolution + (self.features + 1) * self.classes

    def folded_floats(self) -> int:
        """Floats once batch norm is folded into weights and biases (60,117,096 for ResNet-152)."""
        per_convolution = sum(c.weight_count + c.outputs for c in self.convolutions())
        return per_convolution + (self.features + 1) * self.classes

    def multiply_adds(self, size: int) -> int:
        """Multiply-adds of one image of size x size pixels (11,282,415,616 for ResNet-152 at 224)."""
        size = self.stem.output_size(size)
        total = self.stem.weight_count * size * size
        size = pooled_size(size)
        for block in self.blocks:
            for convolution in block.convolutions():
                if convolution is not block.shortcut:
                    size = convolution.output_size(size)
                total += convolution.weight_count * size * size
        return total + self.features * self.classes


def pooled_size(size: int) -> int:
    """Side after the stem's 3x3 max pool of stride 2 and padding 1."""
    return (size - 1) // 2 + 1


def architecture(model: str) -> Architecture:
    """The architecture named `model` ("resnet152" or "resnet50")."""
    if model not in BLOCKS_PER_STAGE:
        raise BenchError("unknown model {!r}: use {}".format(model, " or ".join(MODELS)))
    blocks = []
    inputs = 64
    for stage, count in enumerate(BLOCKS_PER_STAGE[model]):
        width, outputs = 64 << stage, 256 << stage
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            name = f"stage{stage + 1}.block{index + 1}"
            shortcut = None
            if index == 0:
                shortcut = Convolution(name + ".shortcut", inputs, outputs, 1, stride, SHORTCUT_GAIN)
            blocks.append(
                Block(
                    name,
                    Convolution(name + ".reduce", inputs, width, 1, stride, 1.0),
                    Convolution(name + ".middle", width, width, 3, 1, 1.0),
                    Convolution(name + ".expand", width, outputs, 1, 1, LAST_GAIN),
                    shortcut,
                )
            )
            inputs = outputs
    return Architecture(model, Convolution("stem", 3, 64, 7, 2, 1.0), tuple(blocks), inputs)


def check_size(size: int) -> int:
    """`size` where it is a side in pixels that the network can take."""
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise BenchError(f"--size {size}: the side of the image is {SMALLEST_SIZE} to {LARGEST_SIZE} pixels")
    return size
