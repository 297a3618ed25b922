# SPDX-License-Identifier: Apache-2.0
"""Roofs: what bounds the cycles of a layer from below, whatever the order of its loops.

The engine multiplies one block a cycle, reads one weight word a cycle, and reads and writes one activation word a
cycle. A layer takes at least the greatest of the three.
"""

from dataclasses import dataclass

from intarsia.engine.layout import Descriptor
from intarsia.engine.program import Program, ProgramLayer


@dataclass(frozen=True)
class LayerRoofs:
    """Least cycles of a layer, by each of the engine's resources.

    Attributes:
        name: of the layer.
        compute: multiply-accumulates × digits over what all lanes do in a cycle, as if every input were busy.
        weights: weight words, each read once; the dense and the sparse memory are read side by side.
        activations: words of its input that it needs, each read once, or words that it writes, if those are more.
    """

    name: str
    compute: float
    weights: int
    activations: int

    @property
    def cycles(self) -> float:
        """The greatest of the three."""
        return max(self.compute, self.weights, self.activations)

    @property
    def bound_by(self) -> str:
        """Which of the three that is: `compute`, `weights` or `activations`."""
        return max(("compute", "weights", "activations"), key=lambda name: float(getattr(self, name)))


def roofs(program: Program) -> tuple[LayerRoofs, ...]:
    """Return the roofs of every layer of a program, as it is compiled: with its digits and its stored tensors."""
    return tuple(_layer_roofs(layer, program.config.lanes) for layer in program.layers)


def _layer_roofs(layer: ProgramLayer, lanes: int) -> LayerRoofs:
    d = layer.descriptor
    tiles = d.outer_tiles * d.inner_tiles
    kernel = 1 if d.window else d.kernel_y * d.chunks * d.kernel_x
    return LayerRoofs(
        layer.name,
        layer.macs * d.digits / lanes**2,
        1 if d.hold else tiles * d.digits * d.blocks * kernel,
        max(_words_read(d), tiles * d.out_height * d.out_width),
    )


def _words_read(d: Descriptor) -> int:
    """Words of the input that any step needs."""
    rows = _touched(d.out_height, d.stride_y, d.pad_y, d.kernel_y, d.in_height)
    columns = _touched(d.out_width, d.stride_x, d.pad_x, d.chunks * d.kernel_x, d.in_width)
    return rows * columns * d.in_col_pitch


def _touched(outputs: int, stride: int, pad: int, kernel: int, size: int) -> int:
    """Coordinates of an input of `size` under a kernel that moves by `stride`."""
    touched = {output * stride - pad + tap for output in range(outputs) for tap in range(kernel)}
    return len(touched & set(range(size)))
