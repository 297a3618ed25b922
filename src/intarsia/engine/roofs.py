# SPDX-License-Identifier: Apache-2.0
"""Roofs: what bounds the cycles of a layer from below, whatever the order of its loops.

The engine multiplies one block per cycle, reads one word of the weight memory per cycle, and reads one activation word
per cycle and accesses another one. A layer takes at least the greatest of the three.
"""

from dataclasses import dataclass

from intarsia.engine.config import EngineConfig
from intarsia.engine.layout import Descriptor, bits_of_format
from intarsia.engine.program import Program, ProgramLayer


@dataclass(frozen=True)
class LayerRoofs:
    """Least cycles of a layer, by each of the engine's resources.

    Attributes:
        name: of the layer.
        compute: multiply-accumulates × digits over what all lanes do in a cycle, as if every input were busy.
        weights: words of weights and requantization, each read once.
        activations: words of its input that it needs, each read once, or words that it writes, if those are more; with
            a residual, words that it writes and as many that it adds.
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
    return tuple(_layer_roofs(layer, program.config) for layer in program.layers)


def _layer_roofs(layer: ProgramLayer, config: EngineConfig) -> LayerRoofs:
    d = layer.descriptor
    written = d.tiles * d.out_height * d.out_width * (1 + d.out_two)
    return LayerRoofs(
        layer.name,
        layer.macs * d.digits * bits_of_format(d.in_format) / (config.lanes * config.act_bits),
        d.tiles * d.tile_words,
        max(_words_read(d), written * (1 + d.residual)),
    )


def _words_read(d: Descriptor) -> int:
    """Words of the input that any step needs."""
    rows = _touched(d.out_height, d.stride_y, d.pad_y, d.kernel_y, d.in_height)
    columns = _touched(d.out_width, d.stride_x, d.pad_x, d.chunks * d.kernel_x, d.in_width)
    whole = d.in_col_pitch if d.window else d.blocks
    return rows * columns * (-(-d.tiles >> d.in_tile_shift) if d.moves_input else whole)


def _touched(outputs: int, stride: int, pad: int, kernel: int, size: int) -> int:
    """Coordinates of an input of `size` under a kernel that moves by `stride`."""
    touched = {output * stride - pad + tap for output in range(outputs) for tap in range(kernel)}
    return len(touched & set(range(size)))
