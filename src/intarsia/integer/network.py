# SPDX-License-Identifier: Apache-2.0
"""The integer network: where learning ends and integers begin (one of Intarsia's two contracts).

Activations are integers with one scale per tensor and no zero-point. A weight layer is one integer matrix, the sum of
its planes P_p, each with a binary shift k_p; for each output channel o it computes

    W[o,·]  = Σ_p 2^k_p · P_p[o,·]
    acc[o]  = W[o,·] · x                                              exact, at most 2^44
    y[o]    = clip((acc[o]·m[o] + r·n·2^(s[o]−t) + c[o] + 2^(s[o]−1)) >> s[o], lo, hi)

with an arithmetic shift (rounding half up; nothing is added where s = 0). r is the residual, if the layer has one, with
the multiplier n and the shift t ≤ s[o] of all channels; so hardware may shift the sum by s[o] − t first, add r·n, and
shift by t, with the same result. Nothing here is floating point but the scales, which are kept beside the network only
to read its result: real value = integer × scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from intarsia.integer.layers import Conv2d, Layer, Linear, Tensor, WeightLayer
from intarsia.integer.plain import PlainNumbers
from intarsia.integer.validation import check_layers


@dataclass(frozen=True, eq=False)
class IntegerNetwork(PlainNumbers):
    """Layers in order of execution; each writes the tensor `layer.output`, the last one is the result.

    `metadata` is free text for people (how the network was made); it never changes a result.

    Raises:
        IntarsiaError: the layers do not fit together, or a value is outside its format.
    """

    name: str
    input: Tensor
    layers: tuple[Layer, ...]
    scale_bits: int
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.name, self.input, self.layers, self.scale_bits)

    @property
    def output(self) -> Tensor:
        """The tensor that the last layer writes."""
        return self.layers[-1].output

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, the input first."""
        return {self.input.name: self.input} | {layer.output.name: layer.output for layer in self.layers}

    def weight_layers(self) -> Iterator[WeightLayer]:
        """The layers that have weights."""
        return (layer for layer in self.layers if isinstance(layer, Conv2d | Linear))
