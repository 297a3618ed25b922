# SPDX-License-Identifier: Apache-2.0
"""What a report says, as plain data: the same for the page, the table and `results.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from intarsia.engine.cycles import LayerCycles
from intarsia.engine.roofs import LayerRoofs
from intarsia.integer.effective import LayerBits


@dataclass(frozen=True)
class Accuracy:
    """Accuracy (or the metric that the results name) of one kind of network on the whole test set.

    Attributes:
        name: `float`, `superposition`, `ternary`, `int8`.
        detail: planes, for people.
        seeds: of training, one network each.
        accuracies: 0 to 1, one per seed.
        images: in the test set; clips of a detector of anomalies.
        effective_bits: bits stored for a weight, over all layers; 32 for float.
        training: how it was trained, for people.
        weight_bits: bits stored for all weights, biases included; 0 where they are floating point.
        cycles: of an inference on the engine; None where it has no such planes.
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
    """What is stored for a layer's weights, and its planes in words."""

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
    """What the simulated engine was compared on: every value of every layer, and every count.

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


@dataclass(frozen=True)
class Exported:
    """What onnxruntime was compared on."""

    images: int
    layers: int
    values: int


@dataclass(frozen=True)
class AreaPart:
    """Area of all instances of one module: alone (`own`) and with what is in them (`inclusive`)."""

    module: str
    instances: int
    own: float
    inclusive: float
    flip_flops: int


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
    """

    design: str
    unit: str
    total: float
    flip_flops: int
    memory_bits: int
    sram_um2: float | None
    parts: tuple[AreaPart, ...]
    path_ps: float | None


@dataclass(frozen=True)
class Comparison:
    """One quantity of two arrays of the same peak throughput, synthesized in the same run.

    Attributes:
        what: the quantity.
        unit: its unit.
        superposition, int8: of each array.
        note: what must be known to read them.
    """

    what: str
    unit: str
    superposition: float
    int8: float
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times less the superposition array has; None if it has none of it."""
        return self.int8 / self.superposition if self.superposition else None


@dataclass(frozen=True)
class FpgaPart:
    """Resources of all instances of one module, with what is in them."""

    module: str
    instances: int
    lut: int
    ff: int
    dsp: int
    bram: int


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
        mapped: resources after mapping, before packing; empty if that was not asked for.
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
    mapped: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[FpgaPart, ...] = ()
    critical_path_ns: float | None = None
    critical_from: str = ""
    critical_to: str = ""
    bitstream: str = ""


@dataclass(frozen=True)
class Results:
    """Everything that a report says. What was not done is None or empty, and the report says so.

    Attributes:
        network, title: of the run.
        dataset: on which.
        accuracies: float first.
        bits: of the network that is built in hardware, by layer.
        cycles: model (which the simulation confirmed, if `simulated`), by layer.
        macs: multiply-accumulates, by layer.
        roofs: least cycles by each resource, by layer.
        memory_bits, memory_bits_available: of the engine's memories, in use and in all.
        access_bits: bits of a word of each memory.
        lanes: of the engine; it does lanes² multiply-accumulates a cycle.
        simulated, exported: proof of bit-exactness.
        areas, comparisons, fpgas: what the engine costs.
        environment: versions.
        stages: name and seconds of each task of the run.
        command: that made it.
        engine: parameters, fitted to the network.
        synthesized: those of them that the engine whose area is reported has otherwise.
        metric: what `accuracies` are: `accuracy`, or `auc`, the area under the ROC curve.
        data: what the data is, in a sentence; empty where its name says it.
        input_rounding: what the 8-bit input loses, in a clause; empty where it loses nothing.
        test_set: what the accuracies are measured on: the official one, or inputs that were held out.
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
    access_bits: Mapping[str, int]
    lanes: int
    simulated: Simulated | None
    exported: Exported | None
    areas: tuple[Area, ...]
    comparisons: tuple[Comparison, ...]
    fpgas: tuple[Fpga, ...]
    environment: Mapping[str, str]
    stages: tuple[tuple[str, float], ...]
    command: str
    engine: Mapping[str, int]
    synthesized: Mapping[str, int] = field(default_factory=dict)
    metric: str = "accuracy"
    data: str = ""
    input_rounding: str = ""
    test_set: str = "full official test set"

    @property
    def metric_name(self) -> str:
        """What people call the metric."""
        return "AUC" if self.metric == "auc" else self.metric

    def score(self, value: float) -> str:
        """Return a value of the metric as text: accuracy in per cent, an AUC as it is."""
        return f"{value:.4f}" if self.metric == "auc" else f"{value:.2%}"

    def difference(self, value: float) -> str:
        """Return a difference of two values of the metric as text."""
        return f"{value:.4f}" if self.metric == "auc" else f"{100 * value:.2f} points"

    @property
    def total_cycles(self) -> int:
        """Cycles of an inference, images in and results out not counted."""
        return sum(layer.cycles for layer in self.cycles)

    @property
    def effective_bits(self) -> float:
        """Bits a weight over all layers of the network in hardware."""
        weights = sum(layer.stored.weights for layer in self.bits)
        return sum(layer.stored.total for layer in self.bits) / max(weights, 1)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values, with the derived figures."""
        derived = {"total_cycles": self.total_cycles, "effective_bits": self.effective_bits}
        return {"format": "intarsia-results-1"} | derived | asdict(self)
