# SPDX-License-Identifier: Apache-2.0
"""What the stages of a run hand to each other and to the report, besides files: one dataclass per kind of task.

A record holds one of these as JSON (`intarsia.typed_json`), so field names are the file format. Results that the report
shows as they are (`Simulated`, `Exported`, `Fpga`) are declared in `intarsia.report.data`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from intarsia.datasets.rounding import Grids
from intarsia.datasets.types import Metric as ScoreName
from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.roofs import LayerRoofs
from intarsia.flow.learning_settings import Budget
from intarsia.flow.memories import memory_bits_available
from intarsia.flow.trained import which_kept
from intarsia.integer.zoo import ZooCard
from intarsia.report.data import Area
from intarsia.report.metrics import BITS, SCORES
from intarsia.synthesize.compare import Quantity
from intarsia.text import counted


@dataclass(frozen=True)
class FittedEngine:
    """An engine that holds a network."""

    engine: EngineConfig

    @property
    def summary(self) -> str:
        """In one line."""
        kib = sum(memory_bits_available(self.engine).values()) / 8192
        engine = self.engine
        return f"{engine.lanes} lanes × {engine.block} inputs, {engine.unit}, {kib:,.1f} KiB of memory"


@dataclass(frozen=True)
class FloatNetwork:
    """A float network; `training` says for people how it was made."""

    training: str

    @property
    def summary(self) -> str:
        """In one line."""
        return self.training


@dataclass(frozen=True)
class TrainedFloat(FloatNetwork):
    """A float network that was trained here, or for the zoo."""

    validation_accuracy: float
    epochs: int

    @property
    def summary(self) -> str:
        """In one line."""
        return f"validation {self.validation_accuracy:.2%}"


@dataclass(frozen=True)
class ImportedFloat(FloatNetwork):
    """A float network from a file.

    Attributes:
        shape: (channels, height, width) of its input.
        grids: of its input that its first layers can take into their weights.
        dropped: what the import left out, for people.
    """

    shape: tuple[int, int, int]
    grids: Grids
    dropped: tuple[str, ...]

    @property
    def summary(self) -> str:
        """In one line."""
        return f"imported, input {' x '.join(map(str, self.shape))}"


@dataclass(frozen=True)
class InputLoss:
    """What rounding the input to 8 bits loses.

    Attributes:
        text: the same for people, a clause.
        coarse: whether that is much.
        overall: mean error, relative to the spread of the inputs.
        worst: the same of the worst channel.
        channel: which one that is.
        others: inputs that the float network puts into another class once they are rounded.
        asked: of how many.
    """

    text: str
    coarse: bool
    overall: float
    worst: float
    channel: int
    others: int
    asked: int


@dataclass(frozen=True)
class Quantized:
    """A quantized network.

    Attributes:
        scheme: its name.
        layers: planes of each layer, for people.
        transforms: that the float network went through first; empty if none.
        seed: of training.
        epochs: of training; 0 is post-training quantization.
        kept: the epoch after which the network was kept, see `which_kept`.
        validation_accuracy: 0 to 1.
        data: what it was trained on, a sentence.
        input: what the 8-bit input loses; None where it loses nothing, or another network's record has it.
    """

    scheme: str
    layers: Mapping[str, str]
    transforms: str
    seed: int
    epochs: int
    kept: int
    validation_accuracy: float
    data: str
    input: InputLoss | None

    @property
    def summary(self) -> str:
        """In one line."""
        kept = f", {which_kept(self.epochs, [self.kept])}" if self.epochs else ""
        return f"validation {self.validation_accuracy:.2%}{kept}"


@dataclass(frozen=True)
class FromZoo:
    """A frozen network of the zoo."""

    card: ZooCard

    @property
    def summary(self) -> str:
        """In one line."""
        return scored(self.card)


def scored(card: ZooCard) -> str:
    """Return what a card says of the network's score and size, in a clause."""
    metric = SCORES[card.metric]
    several = f", mean of {len(card.seeds)} seeds {metric.text(card.mean)}" if len(card.seeds) > 1 else ""
    bits = BITS.amount(card.bits_per_weight)
    return f"{metric.title} {metric.text(card.score)} (seed {card.seed}{several}), {bits}, by its card"


@dataclass(frozen=True)
class SearchedFormats:
    """The formats of a layer-wise network.

    Attributes:
        scheme: what was found, as text.
        unit: of `cost` and `budget`: effective bits per weight, or cycles.
        cost: of what was found.
        budget: that was allowed.
        sensitivity: loss of each layer with each format.
    """

    scheme: str
    unit: Budget
    cost: float
    budget: float
    sensitivity: Mapping[str, Mapping[str, float]]

    @property
    def summary(self) -> str:
        """In one line."""
        digits, unit = (0, "cycles") if self.unit == "cycles" else (3, "effective bits")
        return f"{self.cost:,.{digits}f} {unit}, {self.budget:,.{digits}f} allowed"


@dataclass(frozen=True)
class Score:
    """How good a network is on the whole test set: the value of a metric, over so many inputs."""

    metric: ScoreName
    score: float
    images: int

    @property
    def summary(self) -> str:
        """In one line."""
        value = SCORES[self.metric].text(self.score)
        what = f"{value} of" if self.metric == "accuracy" else f"{SCORES[self.metric].title} {value} on"
        return f"{what} {counted(self.images, 'test input')}"


@dataclass(frozen=True)
class Compiled:
    """A program.

    Attributes:
        layers: cycles and memory accesses, by the cycle model.
        roofs: lower bounds of the cycles.
        macs: multiply-accumulates.
        memory_bits: that the program uses of each memory.
        memory_bits_available: that the engine has.
        engine: that it was compiled for.
    """

    layers: tuple[LayerCycles, ...]
    roofs: tuple[LayerRoofs, ...]
    macs: tuple[int, ...]
    memory_bits: Mapping[str, int]
    memory_bits_available: Mapping[str, int]
    engine: EngineConfig

    @property
    def cycles(self) -> int:
        """Of an inference."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def summary(self) -> str:
        """In one line."""
        return f"{counted(len(self.layers), 'layer')}, {self.cycles:,} cycles per image"


@dataclass(frozen=True)
class EngineAreas:
    """Area of the engine: in transistors and, with a PDK, in gate equivalents."""

    areas: tuple[Area, ...]

    @property
    def summary(self) -> str:
        """In one line."""
        return ", ".join(f"{area.total:,.0f} {area.unit}" for area in self.areas)


@dataclass(frozen=True)
class LaneArrays:
    """Quantities of the superposition array and of an int8 array that apply as many weights per cycle."""

    multiply_accumulates: int
    quantities: tuple[Quantity, ...]

    @property
    def summary(self) -> str:
        """In one line."""
        first = self.quantities[0]
        return f"superposition {first.superposition:,.0f} {first.unit}, int8 {first.int8:,.0f}"
