# SPDX-License-Identifier: Apache-2.0
"""The content of a report as plain data: the same for the page, the table and `results.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from intarsia.datasets.types import Metric as ScoreName
from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.roofs import LayerRoofs
from intarsia.errors import IntarsiaError
from intarsia.files import read_json
from intarsia.integer.effective import LayerBits
from intarsia.report.metrics import FREQUENCY, MEASURED_ENERGY, PERIOD, SCORES, Metric
from intarsia.synthesize.compare import Quantity
from intarsia.synthesize.inference import EngineTiming, LayerEnergy, add_parts
from intarsia.synthesize.netlist.power import PartEnergy
from intarsia.text import counted
from intarsia.typed_json import MismatchError, from_json, mismatch, to_json

#: The format of `results.json`; a file of another one is refused.
_FORMAT = "intarsia-results-4"
#: In the file for its readers; follows from the rest.
_DERIVED = ("total_cycles", "effective_bits")


@dataclass(frozen=True)
class Accuracy:
    """Accuracy (or the metric that the results name) of one kind of network on the whole test set.

    Attributes:
        name: `float`, `superposition`, `ternary`, `int8`.
        detail: planes, for people.
        seeds: of training, one network each.
        accuracies: 0 to 1, one per seed.
        images: in the test set; clips of a detector of anomalies.
        effective_bits: bits stored per weight, over all layers; 32 for float.
        training: how it was trained, for people.
        weight_bits: bits stored for all weights, biases included; 0 where they are floating point.
        cycles: per inference on the engine; None where it has no such planes.
    """

    name: str
    detail: str
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    images: int
    effective_bits: float
    training: str = ""
    weight_bits: int = 0
    cycles: int | None = None

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def spread(self) -> float:
        """Greatest minus least accuracy over the seeds."""
        return max(self.accuracies) - min(self.accuracies)


@dataclass(frozen=True)
class StoredLayer:
    """Bits stored for a layer's weights, and its planes in words."""

    stored: LayerBits
    planes: str


@dataclass(frozen=True)
class PlanePicture:
    """A layer's planes as a picture.

    Attributes:
        layer: its name.
        shape: of the weights, for people.
        title: formats and patterns.
        nonzero_dense, nonzero_sparse: part of the weights, 0 to 1.
        png: the picture; rows are output channels, columns (tap, input channel).
        width, height: in pixels of the weights.
    """

    layer: str
    shape: str
    title: str
    nonzero_dense: float
    nonzero_sparse: float
    png: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class Simulated:
    """Extent of the comparison with the simulated engine: every value of every layer, and every count.

    Attributes:
        images, layers, values: how many were compared with the executor; all were equal.
        cycles: counted by layer.
        input_cycles: to write an image over the host bus.
    """

    images: int
    layers: int
    values: int
    cycles: tuple[int, ...]
    input_cycles: int

    @property
    def summary(self) -> str:
        """In one line."""
        return (
            f"{counted(self.images, 'image')}, {counted(self.layers, 'layer')}, {self.values:,} values equal; "
            f"{sum(self.cycles):,} cycles per image, as predicted"
        )


@dataclass(frozen=True)
class Exported:
    """Extent of the comparison with onnxruntime: every value of every layer; all were equal."""

    images: int
    layers: int
    values: int

    @property
    def summary(self) -> str:
        """In one line."""
        return f"equal in onnxruntime on {counted(self.images, 'image')}, {counted(self.values, 'value')}"


@dataclass(frozen=True)
class AreaPart:
    """Area of all instances of one module: without (`own`) and with the modules in it (`inclusive`)."""

    module: str
    instances: int
    own: float
    inclusive: float
    flip_flops: int


@dataclass(frozen=True)
class MemoryArea:
    """Area of a memory as SRAM macros, all its banks, with the multiplexers between them."""

    name: str
    macros: int
    um2: float


@dataclass(frozen=True)
class Area:
    """Area of one design.

    Attributes:
        design: what it is.
        unit: `transistors` or `kGE`.
        total: without memories, hierarchy kept: the sum over the parts.
        flip_flops: in all.
        memory_bits: in memories, which `total` leaves out.
        sram_um2: area of the memories as SRAM macros; None without a PDK.
        parts: the largest inclusive area first.
        path_ps: slowest combinational path without wires; None without a PDK.
        cells_um2: `total` as area of standard cells; None without a PDK.
        memories: what `sram_um2` consists of.
    """

    design: str
    unit: str
    total: float
    flip_flops: int
    memory_bits: int
    sram_um2: float | None
    parts: tuple[AreaPart, ...]
    path_ps: float | None
    cells_um2: float | None = None
    memories: tuple[MemoryArea, ...] = ()


def ratio(quantity: Quantity) -> float | None:
    """Return how many times less of a quantity the superposition array has; None if it has none of it."""
    return quantity.int8 / quantity.superposition if quantity.superposition else None


@dataclass(frozen=True)
class FpgaPart:
    """Resources of all instances of one module, with what is in them."""

    module: str
    instances: int
    lut: int
    ff: int
    dsp: int
    bram: float


@dataclass(frozen=True)
class Fpga:
    """A design on an FPGA.

    Attributes:
        design: what it is.
        device: the part.
        fmax_mhz: greatest clock frequency after routing; None if it was not placed and routed.
        timed_out: seconds after which place and route was given up; None if it was not.
        done: what place and route had done until then.
        failed: why it cannot be placed; empty if it was not found so.
        used, available: resources after packing, by kind (`lut`, `ff`, `dsp`, `bram`); empty if not placed.
        mapped: resources after mapping, before packing; empty if that was not asked for. A block RAM of half the size
            is half.
        parts: the same by module.
        critical_path_ns: slowest path from register to register.
        critical_from, critical_to: where it starts and ends.
        bitstream: name of the file, empty if none was made.
    """

    design: str
    device: str
    fmax_mhz: float | None = None
    timed_out: float | None = None
    done: str = ""
    failed: str = ""
    used: Mapping[str, int] = field(default_factory=dict)
    available: Mapping[str, int] = field(default_factory=dict)
    mapped: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[FpgaPart, ...] = ()
    critical_path_ns: float | None = None
    critical_from: str = ""
    critical_to: str = ""
    bitstream: str = ""

    @property
    def summary(self) -> str:
        """In one line."""
        if self.timed_out is not None:
            return f"not finished in {self.timed_out:g} s: {self.done}"
        if self.failed:
            return self.failed
        clock = "" if self.fmax_mhz is None else f"{FREQUENCY.amount(self.fmax_mhz)}, "
        return clock + resources_text(self.used or self.mapped)


def resources_text(resources: Mapping[str, float]) -> str:
    """Return resources of an FPGA as text: `1,132 LUT, 310 FF`."""
    return ", ".join(f"{count:,.10g} {kind.upper()}" for kind, count in resources.items())


@dataclass(frozen=True)
class Estimate:
    """Energy of an inference and timing of the engine, on its mapped netlist: an estimate before layout.

    Attributes:
        conditions: process and corner, for people.
        period_ns: of the clock at which the energy is given; leakage depends on it.
        settled_ns: when the last change of any cycle was, after the clock's edge.
        sampled: cycles of each layer that were run at most; None: all were.
        layers: energy of each, by part.
        timing: slowest path of the whole engine, and the area of cells and of added buffers.
        netlist: name of the file.
    """

    conditions: str
    period_ns: float
    settled_ns: float
    sampled: int | None
    layers: tuple[LayerEnergy, ...]
    timing: EngineTiming
    netlist: str

    @property
    def parts(self) -> tuple[PartEnergy, ...]:
        """Energy of the inference by part in pJ, the greatest first."""
        parts = add_parts([layer.parts for layer in self.layers])
        return tuple(sorted(parts, key=lambda part: -part.total))

    @property
    def total(self) -> float:
        """Energy of the inference in pJ."""
        return sum(layer.total for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Of the inference."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def time_us(self) -> float:
        """Time of the inference at that period, in µs."""
        return self.cycles * self.period_ns / 1000

    @property
    def power_mw(self) -> float:
        """Mean power during the inference at that period, in mW."""
        return self.total / (self.cycles * self.period_ns)

    @property
    def fmax_mhz(self) -> float:
        """Greatest frequency of the clock."""
        return 1000 / self.timing.path.period_ns

    @property
    def extrapolated(self) -> tuple[str, ...]:
        """Layers whose beginning stands for the rest."""
        most = self.sampled
        return () if most is None else tuple(layer.name for layer in self.layers if layer.cycles > most)


@dataclass(frozen=True)
class Estimated:
    """Energy and timing, or why they were not estimated, in a sentence."""

    estimate: Estimate | None
    missing: str = ""

    @property
    def summary(self) -> str:
        """In one line."""
        found = self.estimate
        if found is None:
            return f"not estimated: {self.missing}"
        least = PERIOD.amount(found.timing.path.period_ns)
        return f"{MEASURED_ENERGY.amount(found.total)} per inference, {PERIOD.title} {least}, estimates before layout"


@dataclass(frozen=True)
class Results:
    """Everything that a report shows. Stages that did not run leave None or empty fields, and the report says so.

    Attributes:
        network, title: of the run.
        dataset: on which.
        accuracies: float first.
        bits: of the network that is built in hardware, by layer.
        cycles: model (which the simulation confirmed, if `simulated`), by layer.
        macs: multiply-accumulates, by layer.
        roofs: least cycles by each resource, by layer.
        memory_bits, memory_bits_available: of the engine's memories, in use and in all.
        simulated, exported: bit-exact comparisons.
        areas, comparisons, fpgas: what the engine costs.
        energy: of an inference, with the timing of the engine.
        environment: versions.
        stages: name and seconds of each task of the run.
        command: that made it.
        engine: fitted to the network.
        synthesized: parameters that differ in the engine whose area is reported.
        metric: what `accuracies` are, of `intarsia.report.metrics.SCORES`.
        data: what the data is, in a sentence; empty where its name says it.
        input_rounding: what the 8-bit input loses, in a clause; empty where it loses nothing.
        test_set: what the accuracies are measured on: the official one, or inputs that were held out.
        inputs: what the comparisons and the energy are of: inputs of the test set, or random ones.
    """

    network: str
    title: str
    dataset: str
    accuracies: tuple[Accuracy, ...]
    bits: tuple[StoredLayer, ...]
    cycles: tuple[LayerCycles, ...]
    macs: tuple[int, ...]
    roofs: tuple[LayerRoofs, ...]
    memory_bits: Mapping[str, int]
    memory_bits_available: Mapping[str, int]
    simulated: Simulated | None
    exported: Exported | None
    areas: tuple[Area, ...]
    comparisons: tuple[Quantity, ...]
    fpgas: tuple[Fpga, ...]
    environment: Mapping[str, str]
    stages: tuple[tuple[str, float], ...]
    command: str
    engine: EngineConfig
    energy: Estimated | None = None
    synthesized: Mapping[str, int | str] = field(default_factory=dict)
    metric: ScoreName = "accuracy"
    data: str = ""
    input_rounding: str = ""
    test_set: str = "full official test set"
    inputs: Literal["test", "random"] = "test"

    @property
    def score(self) -> Metric:
        """The metric of `accuracies`."""
        return SCORES[self.metric]

    @property
    def access_bits(self) -> Mapping[str, int]:
        """Bits of a word of each memory."""
        return {
            "activations": self.engine.act_bits,
            "weights": self.engine.weight_bits,
        }

    @property
    def total_cycles(self) -> int:
        """Cycles per inference, without transfers of images and results."""
        return sum(layer.cycles for layer in self.cycles)

    @property
    def effective_bits(self) -> float:
        """Bits per weight over all layers of the network in hardware."""
        weights = sum(layer.stored.weights for layer in self.bits)
        return sum(layer.stored.total for layer in self.bits) / max(weights, 1)

    def as_json(self) -> Mapping[str, object]:
        """Return everything as JSON values, with the derived figures."""
        derived = {name: getattr(self, name) for name in _DERIVED}
        return {"format": _FORMAT} | derived | to_json(self)


def read_run(path: Path, remedy: str = "run it again") -> Results:
    """Read the results of a run from its `results.json`.

    Raises:
        IntarsiaError: the file is missing or damaged, or was written by another version.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT:
        raise IntarsiaError(f"{path} does not hold results of the format {_FORMAT}; {remedy}.")
    declared = {name: value for name, value in content.items() if name not in ("format", *_DERIVED)}
    try:
        return from_json(Results, declared)
    except MismatchError as error:
        raise mismatch(path, error, remedy) from error
