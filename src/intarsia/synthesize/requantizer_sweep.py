# SPDX-License-Identifier: Apache-2.0
"""What the width of the requantization multiplier costs in area: the requantizer synthesized for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intarsia.synthesize.area import liberty_area, transistors
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design

TOP = "intarsia_requantizer"


@dataclass(frozen=True)
class RequantizerArea:
    """Area of the requantizer of one lane.

    Attributes:
        scale_bits: of its multiplier.
        transistors: as static CMOS cells.
        flip_flops: among them.
        kge: in thousands of gate equivalents; None without a PDK.
        path_ns: its slowest combinational path in nanoseconds, without wires; None without a PDK.
    """

    scale_bits: int
    transistors: float
    flip_flops: int
    kge: float | None = None
    path_ns: float | None = None


def requantizer_areas(
    sources: tuple[Path, ...],
    bits: Sequence[int] = (2, 4, 6, 8, 12, 16),
    *,
    acc_bits: int = 24,
    bias_bits: int = 32,
    residual_bits: int = 8,
    pdk: Pdk | None = None,
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> tuple[RequantizerArea, ...]:
    """Synthesize the requantizer with each width of its multiplier, by the scripts that measure the engine.

    An engine has `requant_lanes` of them; the memory for their parameters shrinks by 1 bit per channel for each bit.

    Args:
        sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).
        bits: widths to synthesize, 2 to 16, in the order of the result.
        acc_bits: of the accumulators, 16 to 32.
        bias_bits: of the bias, 16 to 48.
        residual_bits: of the residual's multiplier, 1 to 16; 0: no residual.
        pdk: libraries for the figures in kGE; None leaves them out.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit of each Yosys run in seconds.

    Raises:
        IntarsiaError: pyosys is missing, a width is not 2 to 16, or the time is over.
    """
    areas = []
    for width in bits:
        parameters = {"AccBits": acc_bits, "ScaleBits": width, "BiasBits": bias_bits, "ResidualBits": residual_bits}
        design = Design(sources, TOP, parameters)
        counted = transistors(design, cache=cache, timeout_s=timeout_s)
        gates = liberty_area(design, pdk, cache=cache, timeout_s=timeout_s) if pdk else None
        kge = gates.total if gates else None
        path_ns = gates.path.delay_ps / 1000 if gates and gates.path else None
        areas.append(RequantizerArea(width, counted.total, counted.flip_flops, kge, path_ns))
    return tuple(areas)
