# SPDX-License-Identifier: Apache-2.0
"""The results as a text table, for the terminal."""

from collections.abc import Sequence

from intarsia.report.data import Accuracy, Area, Estimate, Exported, Fpga, Results, Simulated, ratio, resources_text
from intarsia.report.metrics import BITS, FREQUENCY, GATE_EQUIVALENTS, LONGEST_PATH, MEASURED_ENERGY, PERIOD, Metric
from intarsia.synthesize.compare import NETWORK_AREA, PEAK_AREA
from intarsia.text import counted, escaped

_ARRAYS = {PEAK_AREA: "lane array, equal peak", NETWORK_AREA: "lane array × cycles"}


def table(results: Results) -> str:
    """Return the figures that matter most, with units, one per line."""
    rows: list[tuple[str, str]] = []
    for entry in results.accuracies:
        seeds = _seeds(entry, results.score)
        bits = BITS.amount(entry.effective_bits)
        training = f"; {entry.training.partition(', distilled')[0]}" if entry.training else ""
        text = f"{results.score.text(entry.mean)}  of {counted(entry.images, 'test image')}, {bits}{seeds}{training}"
        rows.append((f"{results.score.title} {entry.name}", text))
    if results.input_rounding:
        rows.append(("input rounding", results.input_rounding))
    if results.cycles:
        ideal = sum(layer.ideal for layer in results.cycles)
        rows.append(("cycles per image", f"{results.total_cycles:,}  (ideal {ideal:,.0f}, {proof_of_cycles(results)})"))
    if results.memory_bits:
        used = results.memory_bits
        weights = used["weights"]
        count = max(sum(layer.stored.weights for layer in results.bits), 1)
        each = f"{BITS.amount(weights / count)}, biases included"
        activations = f"{used['activations'] / 8192:,.1f} KiB activations"
        rows.append(("memory", f"{weights / 8192:,.1f} KiB weights ({each}), {activations}"))
    if results.simulated is not None:
        proof = results.simulated
        rows.append(("simulated engine", _equal(results, proof)))
    if results.exported is not None:
        graph = results.exported
        rows.append(("ONNX", _equal(results, graph)))
    if results.areas and results.synthesized:
        rows.append(("area", f"of the engine that was fitted before training: {otherwise(results)}"))
    for area in results.areas:
        rows.append((f"area {area.design}", f"{area_text(area)}{path(area)}"))
    if results.energy is not None:
        found = results.energy.estimate
        rows.append(
            (MEASURED_ENERGY.title, not_estimated(results.energy.missing) if found is None else _energy(results, found))
        )
        rows += [] if found is None else [("timing", _timing(found))]
    for comparison in results.comparisons:
        less = ratio(comparison)
        if comparison.name in _ARRAYS and less is not None:
            ours, other = (amount(area, comparison.unit) for area in (comparison.superposition, comparison.int8))
            text = f"superposition {ours}, int8 {other}: ratio {less:.2f}"
            rows.append((_ARRAYS[comparison.name], text))
    for fpga in results.fpgas:
        resources = resources_text(fpga.used or fpga.mapped)
        kind_of = "" if fpga.used else "mapped to "
        text = f"{speed(fpga)}, {kind_of}{resources}" if resources else speed(fpga)
        rows.append((f"{fpga.design} on {fpga.device}", text))
    return _aligned(rows)


def _seeds(entry: Accuracy, score: Metric) -> str:
    """Say of which seeds a score is the mean, and how far they are apart; empty where there is only one."""
    if len(entry.seeds) < 2:
        return ""
    return f", mean of seeds {', '.join(map(str, entry.seeds))} ({score.range_text(entry.accuracies)})"


def otherwise(results: Results) -> str:
    """Say in which parameters the synthesized engine differs from the one that is fitted to the network."""

    def text(value: object) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value)

    return ", ".join(
        f"{name} = {text(value)} (this network needs {text(getattr(results.engine, name))})"
        for name, value in results.synthesized.items()
    )


def proof_of_cycles(results: Results) -> str:
    """Say where the cycles come from."""
    if results.simulated is None:
        return "by the cycle model, not simulated"
    return "counted in simulation, as the cycle model predicts"


def amount(value: float, unit: str) -> str:
    """Return a quantity with its unit."""
    gates = unit.startswith(GATE_EQUIVALENTS.unit)
    digits = 2 if unit == LONGEST_PATH.unit or (gates and value < 100) else GATE_EQUIVALENTS.digits if gates else 0
    return f"{value:,.{digits}f} {unit}"


def area_text(area: Area) -> str:
    """Return the area of a design and of its memories, with their sum where both are known."""
    cells, memory = amount(area.total, area.unit), f"{area.memory_bits / 8192:,.1f} KiB memory"
    if area.cells_um2 is None or area.sram_um2 is None:
        return f"{cells} plus {memory}"
    sizes = (f"{size / 1e6:.2f} mm²" for size in (area.cells_um2, area.sram_um2, area.cells_um2 + area.sram_um2))
    return "{0} ({2}) plus {1} ({3} of SRAM macros): {4}".format(cells, memory, *sizes)


def path(area: Area) -> str:
    """Return the delay at which an area was taken, to be appended to the area; empty if it is not known."""
    if area.path_ps is None:
        return ""
    return f"; {LONGEST_PATH.title} inside one module {LONGEST_PATH.amount(area.path_ps / 1000)}, no wires"


def not_estimated(why: str) -> str:
    """Say that energy and timing were not estimated, and why not."""
    return f"not estimated: {why}"


def estimated_on(estimate: Estimate) -> str:
    """Say what kind of figures energy and timing are."""
    return f"estimate before layout, {estimate.conditions}"


def extent(estimate: Estimate) -> str:
    """Say how much of the inference was run."""
    most, layers = estimate.sampled, len(estimate.layers)
    if most is None:
        return "all cycles simulated"
    return (
        f"at most {most:,} cycles simulated per layer, {len(estimate.extrapolated)} of {counted(layers, 'layer')} "
        "extrapolated"
    )


def at_clock(estimate: Estimate) -> str:
    """Return the clock of the energy."""
    return f"{estimate.period_ns:g} ns ({FREQUENCY.amount(1000 / estimate.period_ns)})"


def _energy(results: Results, estimate: Estimate) -> str:
    random = ", one random input" if results.inputs == "random" else ""
    return (
        f"{MEASURED_ENERGY.amount(estimate.total)} at a clock period of {at_clock(estimate)}{random}; "
        f"{extent(estimate)}; {estimated_on(estimate)}"
    )


def _timing(estimate: Estimate) -> str:
    path = estimate.timing.path
    return (
        f"{PERIOD.title} {PERIOD.amount(path.period_ns)} ({FREQUENCY.amount(estimate.fmax_mhz)}), from {path.start} to "
        f"{path.end}; {estimated_on(estimate)}"
    )


def speed(fpga: Fpga) -> str:
    """Return the clock frequency, or why there is none."""
    if fpga.fmax_mhz is not None:
        return FREQUENCY.amount(fpga.fmax_mhz)
    if fpga.timed_out is not None:
        return f"not routed in {fpga.timed_out:g} s" + (f": {fpga.done}" if fpga.done else "")
    if fpga.failed:
        return "does not fit"
    return "not placed and routed in this run"


def _equal(results: Results, proof: Simulated | Exported) -> str:
    images = counted(proof.images, "random image" if results.inputs == "random" else "image")
    return f"{proof.values:,} values of {counted(proof.layers, 'layer')} equal on {images}"


def _aligned(rows: Sequence[tuple[str, str]]) -> str:
    lines = [(escaped(name), escaped(text)) for name, text in rows]
    width = max((len(name) for name, _ in lines), default=0)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
