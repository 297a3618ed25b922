"""The superposition array beside an int8 array of the same throughput, synthesized by the same scripts in one run."""

from dataclasses import dataclass
from pathlib import Path

from intarsia.synthesize.area import liberty_area, transistors
from intarsia.synthesize.ecp5 import map_resources
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.yosys import Design

SUPERPOSITION_TOP = "intarsia_lane_array"
INT8_TOP = "intarsia_lane_array_int8"


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of both arrays.

    Attributes:
        name: what is measured.
        unit: its unit.
        superposition, int8: the values.
    """

    name: str
    unit: str
    superposition: float
    int8: float

    @property
    def ratio(self) -> float | None:
        """Superposition over int8; None if the int8 array has none of it."""
        return self.superposition / self.int8 if self.int8 else None


@dataclass(frozen=True)
class ArrayComparison:
    """Both arrays side by side.

    Attributes:
        multiply_accumulates: weights that either array applies in a cycle.
        quantities: what was measured, in order.
    """

    multiply_accumulates: int
    quantities: tuple[Quantity, ...]


def compare_arrays(
    sources: tuple[Path, ...],
    *,
    lanes: int = 16,
    slots: int = 1,
    slot_bits: int = 8,
    acc_bits: int = 24,
    acc_slots: int = 6,
    pdk: Pdk | None = None,
    fpga: bool = True,
    without_dsp: bool = False,
    cache: Path | None = None,
    timeout_s: float = 900.0,
) -> ArrayComparison:
    """Synthesize the superposition array and the int8 array and set their sizes side by side.

    Both take `lanes` × `lanes` weights a cycle, choose their activations in the same way, and hold `acc_slots` output
    pixels. The superposition array applies `lanes · slots` high-precision weights beside and keeps two accumulators.

    Args:
        sources: the engine's SystemVerilog files (`intarsia.engine.sources.write_sources`).
        lanes, slots, slot_bits, acc_bits, acc_slots: engine parameters.
        pdk: libraries for the figures in kGE; None leaves them out.
        fpga: map both to ECP5, too.
        without_dsp: also count the lookup tables of ECP5 when no multiplier of the device is used (minutes).
        cache: folder of kept results; None keeps none.
        timeout_s: time limit of each Yosys run in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the sources have an error, or the time is over.
    """
    common = {"Lanes": lanes, "AccBits": acc_bits, "AccSlots": acc_slots}
    both = (
        Design(sources, SUPERPOSITION_TOP, {**common, "Slots": slots, "SlotBits": slot_bits}),
        Design(sources, INT8_TOP, common),
    )
    count = [transistors(design, cache=cache, timeout_s=timeout_s) for design in both]
    quantities = [Quantity("area", "transistors", count[0].total, count[1].total)]
    if pdk is not None:
        gates = [liberty_area(design, pdk, cache=cache, timeout_s=timeout_s) for design in both]
        quantities.append(Quantity("area", "kGE", gates[0].total, gates[1].total))
        lane = [gates[0].inclusive("intarsia_lane") / lanes, gates[1].inclusive("intarsia_lane_int8") / lanes]
        quantities.append(Quantity("area of a lane", "kGE", lane[0], lane[1]))
    quantities.append(Quantity("registers", "flip-flops", count[0].flip_flops, count[1].flip_flops))
    if fpga:
        for dsp in (True, False) if without_dsp else (True,):
            label = "ECP5" if dsp else "ECP5 without DSP"
            used = [map_resources(design, dsp=dsp, cache=cache, timeout_s=timeout_s).total for design in both]
            quantities.append(Quantity(label, "LUT", used[0].lut, used[1].lut))
            if dsp:
                quantities.append(Quantity(label, "DSP", used[0].dsp, used[1].dsp))
    return ArrayComparison(lanes * lanes, tuple(quantities))
