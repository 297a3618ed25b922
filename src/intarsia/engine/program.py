"""The program with its images: where software ends and hardware begins (one of Intarsia's two contracts)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import Descriptor
from intarsia.engine.packing import Words
from intarsia.errors import IntarsiaError
from intarsia.integer import Tensor


@dataclass(frozen=True)
class Placement:
    """Where a tensor lies in the activation memory.

    Word `base + (y·width + x)·blocks + b` holds channels b·lanes … of pixel (y, x), one signed byte each. Unsigned
    8-bit tensors are stored as value − 128 (`offset` 128), all others as they are (`offset` 0).
    """

    tensor: Tensor
    base: int
    blocks: int

    @property
    def offset(self) -> int:
        """What is taken off a value before it is stored."""
        return storage_offset(self.tensor)

    @property
    def words(self) -> int:
        """Length in activation words."""
        return self.tensor.shape[1] * self.tensor.shape[2] * self.blocks

    def store(self, values: NDArray[np.integer], lanes: int) -> NDArray[np.int64]:
        """Turn (C, H, W) values into stored bytes (words, lanes); lanes without a channel hold 0.

        Raises:
            IntarsiaError: the values have another shape or do not fit the tensor's format.
        """
        shape, fmt = self.tensor.shape, self.tensor.format
        if values.shape != shape:
            raise IntarsiaError(f"tensor {self.tensor.name} takes images of shape {shape}, not {values.shape}.")
        if values.min() < fmt.lo or values.max() > fmt.hi:
            raise IntarsiaError(f"tensor {self.tensor.name} takes {fmt} values, {fmt.lo} to {fmt.hi}.")
        channels, height, width = shape
        stored = np.zeros((height, width, self.blocks * lanes), np.int64)
        stored[:, :, :channels] = values.transpose(1, 2, 0).astype(np.int64) - self.offset
        return stored.reshape(self.words, lanes)

    def restore(self, stored: NDArray[np.integer]) -> NDArray[np.int64]:
        """Invert `store`: bytes (words, lanes) to (C, H, W) values."""
        channels, height, width = self.tensor.shape
        pixels = stored.astype(np.int64).reshape(height, width, -1)[:, :, :channels]
        return pixels.transpose(2, 0, 1) + self.offset


def storage_offset(tensor: Tensor) -> int:
    """128 for unsigned 8-bit tensors, 0 for all others."""
    return 128 if tensor.format.hi > 127 else 0


@dataclass(frozen=True)
class ProgramLayer:
    """One layer of a program: its descriptor, where it writes, and its multiply-accumulates (for efficiency)."""

    name: str
    kind: str
    descriptor: Descriptor
    output: Placement
    macs: int
    busy_inputs: float
    """Inputs of a lane that carry a weight of the kernel: of the window, its area; of a word, the channels in it."""


@dataclass(frozen=True, eq=False)
class Program:
    """What the engine executes: descriptors in order, and the images of its weight memories."""

    name: str
    config: EngineConfig
    input: Placement
    layers: tuple[ProgramLayer, ...]
    dense: Words
    sparse: Words
    params: Words

    @property
    def output(self) -> Placement:
        """Where the result lies."""
        return self.layers[-1].output

    @property
    def descriptors(self) -> NDArray[np.uint32]:
        """The program memory's image, 32-bit words."""
        return np.array([word for layer in self.layers for word in layer.descriptor.words()], np.uint32)

    def memory_bits(self) -> dict[str, int]:
        """Bits in use of each memory."""
        config = self.config
        activations = max(p.base + p.words for p in (self.input, *(layer.output for layer in self.layers)))
        return {
            "activations": activations * config.act_bits,
            "dense": len(self.dense) * config.dense_bits,
            "sparse": len(self.sparse) * config.sparse_bits,
            "parameters": len(self.params) * config.param_bits,
            "program": len(self.descriptors) * 32,
        }
