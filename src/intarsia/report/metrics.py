# SPDX-License-Identifier: Apache-2.0
"""The metrics of networks and engines: each one's name, title, unit, direction and digits, declared once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from intarsia.datasets.types import Metric as ScoreName

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: in files, design spaces and the command line.
        title: in tables and charts.
        unit: of the values that people read.
        direction: which values are better.
        digits: after the decimal point.
        factor: from the value in files to the one that people read.
    """

    name: str
    title: str
    unit: str
    direction: Direction
    digits: int = 0
    factor: float = 1.0

    @property
    def heading(self) -> str:
        """The title with the unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    def shown(self, value: float) -> float:
        """Return a value in the unit that people read."""
        return self.factor * value

    def text(self, value: float | None) -> str:
        """Return a value without its unit, except per cent; a dash where there is none."""
        if value is None:
            return "–"
        return f"{self.shown(value):,.{self.digits}f}" + ("%" if self.unit == "%" else "")

    def range_text(self, values: Sequence[float]) -> str:
        """Return the least and the greatest of some values."""
        return f"{self.text(min(values))} to {self.text(max(values))}"

    def amount(self, value: float) -> str:
        """Return a value with its unit."""
        return self.text(value) if self.unit in ("%", "") else f"{self.text(value)} {self.unit}"

    def difference(self, value: float) -> str:
        """Return a difference of two values; that of percentages is in points."""
        return f"{self.shown(value):.{self.digits}f} points" if self.unit == "%" else self.amount(value)


ACCURACY = Metric("accuracy", "accuracy", "%", "maximize", 2, 100.0)
AUC = Metric("auc", "AUC", "", "maximize", 4)
BITS = Metric("bits", "effective bits", "bits per weight", "minimize", 2)
BYTES = Metric("bytes", "stored weights", "bytes", "minimize")
CYCLES = Metric("cycles", "cycles per inference", "cycles", "minimize")
AREA = Metric("area", "area of the lanes", "transistors", "minimize")
MEMORY_ENERGY = Metric("memory_energy", "energy of memory accesses per inference, estimated", "nJ", "minimize")
ENERGY = Metric("energy", "energy per inference, estimated", "nJ", "minimize")
TRANSISTORS = Metric("transistors", "area", "transistors", "minimize")
GATE_EQUIVALENTS = Metric("kge", "area", "kGE", "minimize", 1)
FREQUENCY = Metric("fmax_mhz", "clock frequency", "MHz", "maximize", 1)
MEASURED_ENERGY = Metric("energy_pj", "energy per inference", "µJ", "minimize", 2, 1e-6)
PERIOD = Metric("period_ns", "least clock period", "ns", "minimize", 2)
LONGEST_PATH = Metric("path_ns", "longest path", "ns", "minimize", 2)

#: What a network's outputs are scored with, by the name that its data set gives.
SCORES: Mapping[ScoreName, Metric] = MappingProxyType({"accuracy": ACCURACY, "auc": AUC})
#: Metrics of the designs of a study, in the order of tables.
DESIGN_METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (ACCURACY, BITS, BYTES, CYCLES, AREA, MEMORY_ENERGY, ENERGY)}
)
