# SPDX-License-Identifier: Apache-2.0
"""Write docs/literature.md: published accelerators and methods, with our own figures where the work is the same.

python benchmarks/literature.py

Published figures are in benchmarks/literature.yaml, each with its source and conditions. Our own come from
studies/results and, for the number of multiply-accumulates, from studies/networks; none is typed here. A further table
is one more function in SECTIONS.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any, Literal

import yaml

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.errors import IntarsiaError
from intarsia.files import read_json, write_text
from intarsia.integer.file import load
from intarsia.typed_json import from_json

#: Lookup tables that count as much as a multiplier (HGQ).
LUTS_PER_DSP = 55
PUBLISHED, STUDIES = Path(__file__).with_suffix(".yaml"), Path("studies")
Kind = Literal["silicon", "board", "model", "claim", "design"]
#: How a published figure came about: the word in the tables, and what it means.
KINDS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        "silicon": ("chip", "measured on a chip"),
        "board": ("board", "measured on an FPGA board; resources as the submitters state them"),
        "model": ("model", "a cost model that others use for the design"),
        "claim": (
            "abstract",
            "stated in the paper's abstract, which leaves open whether it was measured or estimated",
        ),
        "design": ("design", "what a design or a program does; nothing is measured"),
    }
)
#: Of an int8 engine.
MULTIPLIERS = EngineConfig.lanes * EngineConfig.block
#: Titles of rows in rival-units.json.
SUPERPOSITION, INT8, INT4 = "superposition", "dense int8", "dense int4"
SUM_TOGETHER, FIXED = "Sum-Together", "fixed 16 bits"


@dataclass(frozen=True)
class Source:
    """Where figures come from, and what of it was read. A repository has a commit instead of a year."""

    name: str
    title: str
    venue: str
    year: int | None
    link: str
    read: Literal["primary", "abstract"]


@dataclass(frozen=True)
class Target:
    """The quality target of a task in the closed division, and the number of inputs that it is measured on."""

    task: str
    target: float
    inputs: int


@dataclass(frozen=True)
class SpeedUp:
    """A Sum-Together system against one of fixed 16-bit multipliers."""

    source: str
    kind: Kind
    process: str
    scenario: str
    speed_up: float
    area_percent: float


@dataclass(frozen=True)
class Submission:
    """A result of MLPerf Tiny.

    Attributes:
        source, kind: where it comes from, and how.
        division: `closed` (the reference networks) or `open` (others).
        device: board or chip.
        task: by the name of our network for it.
        model: in the open division.
        clock_mhz: of the accelerator, as the submitter rounds it; a chip's, of its cores.
        voltage: in V.
        throughput: inferences per second, one at a time.
        score: accuracy, or the AUC of the autoencoder.
        energy_uj: per inference, of the board or chip.
        klut, kff: thousands of lookup tables and of flip-flops.
        dsp, bram: DSP slices, and block RAMs of 36 Kbit.
    """

    source: str
    kind: Kind
    division: Literal["closed", "open"]
    device: str
    task: str
    model: str
    clock_mhz: float
    voltage: float | None
    throughput: float
    score: float
    energy_uj: float | None
    klut: float | None
    kff: float | None
    dsp: int | None
    bram: float | None

    @property
    def cycles(self) -> float:
        """Of an inference, if the clock is the one that is stated."""
        return self.clock_mhz * 1e6 / self.throughput


@dataclass(frozen=True)
class Rate:
    """Multiply-accumulates per cycle at so many bits."""

    source: str
    kind: Kind
    activations: int
    weights: int
    rate: float


@dataclass(frozen=True)
class Hardware:
    """A processor or an accelerator, with its figures in words."""

    source: str
    kind: Kind
    process: str
    conditions: str
    figures: str


@dataclass(frozen=True)
class Method:
    """A method that gives parts of a layer different precisions, with its figures in words."""

    source: str
    kind: Kind
    granularity: str
    data: str
    figures: str


@dataclass(frozen=True)
class Published:
    """The file of published figures."""

    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    sum_together: tuple[SpeedUp, ...]
    submissions: tuple[Submission, ...]
    processor_rates: tuple[Rate, ...]
    processors: tuple[Hardware, ...]
    accelerators: tuple[Hardware, ...]
    ternary_fpga: tuple[Hardware, ...]
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Engine:
    """What this page takes of a row in rival-units.json: area after synthesis, cycles checked in simulation."""

    network: str
    title: str
    score: float
    metric: str
    bits: float
    cycles: int
    kge: Sequence[float]
    logic_mm2: float
    sram_mm2: float

    @property
    def area_mm2(self) -> float:
        return self.logic_mm2 + self.sram_mm2


@dataclass(frozen=True)
class Trained:
    """What this page takes of a score in mlperf-tiny.json."""

    network: str
    kind: str
    metric: str
    score: float
    effective_bits: float


@dataclass(frozen=True)
class Routed:
    """One of our engines after place and route on an ECP5."""

    name: str
    network: str
    device: str
    lut: int
    dsp: int
    bram: int
    fmax_mhz: float
    cycles: int


@dataclass(frozen=True)
class Own:
    """Our figures.

    Attributes:
        engines: whole engines, each fitted to its network.
        trained: networks of the run that is named after each, float ones included.
        input_cycles: to write an input over the bus, by network; no engine's cycles include them.
        macs: multiply-accumulates of ResNet-8.
        energy: of an inference in µJ, an estimate, by network and title of the engine.
        routed: our engines on an FPGA.
    """

    engines: tuple[Engine, ...]
    trained: tuple[Trained, ...]
    input_cycles: Mapping[str, int]
    macs: int
    energy: Mapping[tuple[str, str], float]
    routed: tuple[Routed, ...]

    def engine(self, network: str, title: str) -> Engine:
        return next(one for one in self.engines if (one.network, one.title) == (network, title))

    def score(self, network: str, kind: str) -> Trained:
        return next(one for one in self.trained if (one.network, one.kind) == (network, kind))

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(one.network for one in self.engines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    write_text(options.docs / "literature.md", page(published(), own(STUDIES)))


def published(path: Path = PUBLISHED) -> Published:
    """Read the file of published figures; every figure's source must be in it.

    Raises:
        MismatchError: a field is unknown, missing or of another type.
        IntarsiaError: a source is missing.
    """
    found = from_json(Published, yaml.safe_load(path.read_text(encoding="utf-8")))
    if unknown := {row.source for row in _rows(found)} - found.sources.keys():
        raise IntarsiaError(f"{path} has no source {min(unknown)}; add it.")
    return found


def _rows(found: Published) -> list[Any]:
    return [row for field in fields(found) if isinstance(rows := getattr(found, field.name), tuple) for row in rows]


def own(studies: Path) -> Own:
    """Return our figures, from the results of studies."""
    runs = read_json(studies / "results/mlperf-tiny.json")["runs"]
    first = {run["network"]: run for folder, run in runs.items() if Path(folder) == Path("runs", run["network"])}
    network = load(studies / "networks/resnet8-seed0.safetensors")
    program = compile_network(network, config_for(network, EngineConfig()))
    return Own(
        engines=tuple(_part(Engine, row) for row in read_json(studies / "results/rival-units.json")),
        trained=tuple(_part(Trained, score) for run in first.values() for score in run["scores"]),
        input_cycles={name: run["engine"]["input_cycles"] for name, run in first.items()},
        macs=sum(layer.macs for layer in program.layers),
        energy={(row["network"], row["title"]): _microjoules(row) for row in _rows_of(studies, "energy", "rows")},
        routed=tuple(_part(Routed, row) for row in _rows_of(studies, "fpga", "engines")),
    )


def _rows_of(studies: Path, results: str, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_json(studies / f"results/{results}.json")[key]
    return rows


def _microjoules(row: Mapping[str, Any]) -> float:
    parts = [part[kind] for part in row["parts"] for kind in ("internal", "nets", "clock", "leakage")]
    return float(sum(parts)) / 1000


def _part(kind: Any, row: Mapping[str, Any]) -> Any:
    """Return the fields that a dataclass takes of a row."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})


def page(found: Published, mine: Own) -> str:
    return "\n".join(section(found, mine) for section in SECTIONS)


def introduction(found: Published, mine: Own) -> str:
    kinds = "\n".join(f"- **{word}**: {meaning}." for word, meaning in KINDS.values())
    return f"""# Published accelerators and methods

Written by `python benchmarks/literature.py` from `benchmarks/literature.yaml` (published figures, [sources](#sources)
below) and `studies/results` (ours).

Every published figure has a kind:

{kinds}

Ours are never of a chip. Cycles are those of the RTL, by a model that simulation confirms. Areas are estimates after
synthesis for IHP's open 130 nm process (typical corner, 1.20 V), without place and route.

- A ratio is given only where the work is the same.
- Operations per second and watt are not compared. A ternary operation is not an 8-bit operation, and the published
  ones are peak values.
- A dash stands for what a source does not state, or what of it was not read.
"""


def sum_together(found: Published, mine: Own) -> str:
    """The Sum-Together engines, published and ours, against fixed 16-bit multipliers."""
    theirs = [
        (
            named(found, row),
            word(row.kind),
            row.process or "–",
            row.scenario,
            f"{row.speed_up:.2f}",
            f"{row.area_percent:+.1f} %",
            "–",
        )
        for row in found.sum_together
    ]
    pairs = [(mine.engine(network, SUM_TOGETHER), mine.engine(network, FIXED)) for network in mine.networks]
    ours = [
        (
            "Intarsia",
            "synthesis, simulation",
            "130 nm",
            one.network,
            f"{fixed.cycles / one.cycles:.2f}",
            f"{100 * (one.kge[0] / fixed.kge[0] - 1):+.1f} %",
            f"{100 * (one.area_mm2 / fixed.area_mm2 - 1):+.0f} %",
        )
        for one, fixed in pairs
    ]
    speed_up = mean(fixed.cycles / one.cycles for one, fixed in pairs)
    logic = mean(one.kge[0] / fixed.kge[0] - 1 for one, fixed in pairs)
    head = (
        "design",
        "kind",
        "process",
        "scenario or network",
        "speed-up",
        "area, system or logic",
        "with memories",
    )
    return f"""## Sum-Together multipliers

Both compare with an accelerator of fixed 16-bit multipliers that runs the same mixed-precision MLPerf Tiny networks, in
the same process. The published rows are means over networks.

{table(head, [*theirs, *ours])}

Our mean is {speed_up:.2f} for {100 * logic:.1f} % more logic. The ratios measure different things:

- The published ones are the latency and the area of a whole system with processor and memories, whose accelerators are
  made by high-level synthesis. Ours are the cycles of one engine, and its logic alone.
- The last column has the memories as well. Our fixed engine stores narrow values in 16 bits.
- The widths of the networks were chosen by different searches.

An earlier exploration by the same authors ({name(found, "urbinati2023")}) found no Sum-Together multiplier that is best
for every purpose, at the level of multipliers or of accelerators.
"""


def closed_division(found: Published, mine: Own) -> str:
    """The reference networks on FPGAs and on a chip, beside our engines."""
    rows = [row for row in found.submissions if row.division == "closed"]
    boards = [row for row in rows if row.kind == "board"]
    resources = [
        (
            row.task,
            row.device,
            f"{row.clock_mhz:g}",
            f"{row.throughput:,.0f}",
            score_text(row.score, row.task),
            *(amount(value, " k") for value in (row.klut, row.kff)),
            *(amount(value) for value in (row.dsp, row.bram)),
        )
        for row in boards
    ]
    cycles = [
        (
            row.task,
            row.device,
            f"{row.cycles:,.0f}",
            f"{mine.engine(row.task, INT8).cycles:,}",
            f"{row.cycles / mine.engine(row.task, INT8).cycles:.2f}",
            amount(row.dsp),
            f"{row.cycles * (row.dsp or 0) / (mine.engine(row.task, INT8).cycles * MULTIPLIERS):.2f}",
            f"{mine.engine(row.task, SUPERPOSITION).cycles:,}",
        )
        for row in boards
    ]
    tools = named(found, boards[0])
    tasks = dict.fromkeys(row.task for row in boards)
    bus = ", ".join(f"{mine.input_cycles[task]:,} for {task}" for task in tasks)
    head = (
        "network",
        "board",
        "cycles, board",
        "our int8",
        "ratio",
        "DSP, board",
        "per multiplier",
        "superposition",
    )
    return f"""## MLPerf Tiny, closed division: the same networks

Targets: {targets_text(found)} ({name(found, "targets")}).

{tools} runs the reference int8 networks on Zynq-7000 boards, each network as hardware of its own, with 9-bit
activations and 24-bit accumulators. Throughput and score are measured on the board.

{table(("network", "board", "MHz", "inferences/s", "score", "LUT", "FF", "DSP", "BRAM"), resources)}

Cycles of an inference. {tools}'s are the stated clock divided by the throughput, so they include the software on
the board. Ours are of an engine of {EngineConfig.lanes} lanes × {EngineConfig.block} inputs that runs one layer after
another, without the cycles to write the input over the bus: {bus}.

- The int8 engine does the same multiply-accumulates. The ratio is theirs to ours: above 1, our engine needs fewer
  cycles.
- "Per multiplier" is the same ratio with each side's cycles times its multipliers: DSP slices there, {MULTIPLIERS}
  multipliers of 8 bits here.
- The superposition engine does other work, at other scores.

{table(head, cycles)}

{on_fpga(mine, boards)}
{silicon(found, mine, [row for row in rows if row.kind == "silicon"])}"""


def on_fpga(mine: Own, boards: Sequence[Submission]) -> str:
    """Our routed engines beside boards, by cycles times resources."""
    rows = []
    for routed in mine.routed:
        for board in boards:
            if board.task == routed.network and board.klut:
                theirs = board.cycles * (1000 * board.klut + LUTS_PER_DSP * (board.dsp or 0))
                ours = routed.cycles * (routed.lut + LUTS_PER_DSP * routed.dsp)
                rows.append(
                    (
                        f"{routed.name}, {routed.device}",
                        f"{routed.fmax_mhz:.0f}",
                        f"{routed.lut:,}",
                        str(routed.dsp),
                        f"{routed.cycles:,}",
                        f"{ours / 1e9:.2f} G",
                        board.device,
                        f"{theirs / 1e9:.2f} G",
                    )
                )
    head = ("our engine", "MHz", "LUT4", "DSP", "cycles", "cycles × resources", "board", "of the board")
    return f"""Our superposition engines after place and route on Lattice ECP5 ([more](fpga.md)), beside boards that run
the same task. Resources are LUT + {LUTS_PER_DSP} · DSP, as HGQ counts them. A LUT of the ECP5 has four inputs, one of
the boards six; our MHz is the tool's, not measured; the networks and scores differ as above.

{table(head, rows)}
"""


def silicon(found: Published, mine: Own, rows: Sequence[Submission]) -> str:
    """The closed division on a chip, and our scores on the same networks."""
    lines = [
        (
            row.task,
            f"{1e6 / row.throughput:,.0f}",
            amount(row.energy_uj),
            score_text(row.score, row.task),
            score_text(mine.engine(row.task, INT8).score, row.task),
            score_text(mine.engine(row.task, SUPERPOSITION).score, row.task),
            f"{mine.engine(row.task, SUPERPOSITION).bits:.2f}",
            f"{mine.energy[row.task, SUPERPOSITION]:.1f}",
        )
        for row in rows
    ]
    first = rows[0]
    head = ("network", "µs", "µJ", "score", "our int8", "our superposition", "bits per weight", "our estimate, µJ")
    images = found.targets["resnet8"].inputs
    return f"""**On a chip.** Time and energy of an inference on {first.device}, measured at {first.voltage} V and
{first.clock_mhz:g} MHz. The submission does not state the process. Ours in the last column
is an estimate for the engine alone, in another process and at another voltage (IHP 130 nm, 1.20 V, before layout, see
[energy](energy.md)); it is there for its order of magnitude, **not for a ratio**.

{table(head, lines)}

MLPerf Tiny measures image classification on {images} images, so that one image is {100 / images:.1f} points; our
scores of resnet8 are of all 10,000 test images. The other sets are the same. DS-CNN and MobileNetV1 were trained
[without the original training data](mlperf-tiny.md#notes).
"""


def open_division(found: Published, mine: Own) -> str:
    """Other networks for the same tasks, on FPGAs."""
    rows = [row for row in found.submissions if row.division == "open"]
    lines = [
        (
            found.targets[row.task].task,
            row.model,
            row.device,
            f"{row.clock_mhz:g}",
            f"{1e6 / row.throughput:,.1f}",
            amount(row.energy_uj),
            score_text(row.score, row.task),
            score_text(found.targets[row.task].target, row.task),
        )
        for row in rows
    ]
    missed = sum(row.score < found.targets[row.task].target for row in rows)
    many = "All" if missed == len(rows) else f"{missed} of {len(rows)}"
    return f"""## MLPerf Tiny, open division: other networks

FINN and hls4ml build hardware for one network each, and their networks are not the reference networks. There are no
ratios: the work differs, and so does the score. {many} of these entries are below the target of the closed division.

{table(("task", "network", "board", "MHz", "µs", "µJ", "score", "closed target"), lines)}

Energy is that of the board, measured in the benchmark's energy mode; time is measured without it. The repositories do
not hold the resources.
"""


def processors(found: Published, mine: Own) -> str:
    """Processors with instructions for narrow operands."""
    first = found.processor_rates[0]
    rates = [
        (f"{row.activations} × {row.weights}", f"{row.rate:.1f}", f"{row.rate / first.rate:.2f}")
        for row in found.processor_rates
    ]
    int8 = mine.engine("resnet8", INT8)
    int4, superposition = mine.engine("resnet8", INT4), mine.engine("resnet8", SUPERPOSITION)
    engines = [
        (
            one.title,
            f"{one.bits:.2f}",
            f"{mine.macs / one.cycles:.0f}",
            f"{int8.cycles / one.cycles:.2f}",
            f"{one.kge[0]:.1f}",
            f"{one.area_mm2 / int8.area_mm2:.2f}",
        )
        for one in (int8, int4, superposition)
    ]
    head = ("our engine, resnet8", "bits per weight", "MAC per cycle", "speed", "kGE, logic", "area, with memories")
    return f"""## Processors with narrow arithmetic

{table(HARDWARE, [hardware_row(found, row) for row in found.processors])}

Multiply-accumulates (MAC) per cycle of an MPIC core, by the bits of activations × weights ({named(found, first)},
kind: {word(first.kind)}), and the speed relative to 8 × 8:

{table(("bits", "MAC per cycle", "speed"), rates)}

{table(head, engines)}

With 8-bit activations, narrower weights make the processor up to {max_speed(found):.2f} times as fast. On our engines
they save area instead: the speed is that of int8 or a little less, and the last column is the area relative to int8.
The engines are [whole ones](execution-units.md#whole-engines-side-by-side), and their scores differ.
"""


def max_speed(found: Published) -> float:
    """Return what narrow weights bring an MPIC core at 8-bit activations."""
    rates = {row.weights: row.rate for row in found.processor_rates if row.activations == 8}
    return max(rates.values()) / rates[8]


def accelerators(found: Published, mine: Own) -> str:
    """Accelerators for ternary and narrow weights."""
    ternary = mine.score("resnet8", "ternary")
    superposed = mine.score("resnet8", "superposition")
    return f"""## Accelerators for ternary and narrow weights

{table(HARDWARE, [hardware_row(found, row) for row in found.accelerators])}

The nearest figure of ours is accuracy on CIFAR-10, with 8-bit activations: ResNet-8 with ternary weights reaches
{score_text(ternary.score, "resnet8")} at {ternary.effective_bits:.2f} bits per weight, with superposition
{score_text(superposed.score, "resnet8")} at {superposed.effective_bits:.2f}. The network of {name(found, "tcn_cutie")}
is another one, and its activations are ternary too.

{name(found, "olaccel")} also adds a sparse high-precision part to a dense low-precision one, for weights and
activations. Its outliers may be anywhere; our sparse weights are at regular positions.

## Ternary networks on FPGAs (TIMA)

{table(HARDWARE, [hardware_row(found, row) for row in found.ternary_fpga])}

The abstracts do not name networks and images, so there is no ratio.
"""


def methods(found: Published, mine: Own) -> str:
    """Methods that mix precisions within a layer, and ours against one width per layer and against int8."""
    lines = [
        (named(found, row), word(row.kind), row.granularity, row.data or "–", row.figures) for row in found.methods
    ]
    ours = [
        (
            network,
            f"{superposed.effective_bits:.2f}",
            f"{layerwise.effective_bits:.2f}",
            points(superposed.score - layerwise.score),
            f"{100 * (superposed.effective_bits / int8.effective_bits - 1):+.0f} %",
            points(superposed.score - int8.score),
        )
        for network in mine.networks
        for superposed, layerwise, int8 in [
            [mine.score(network, kind) for kind in ("superposition", "layerwise", "int8")]
        ]
    ]
    head = ("network", "bits", "bits, one width per layer", "points gained", "bits against int8", "points against int8")
    return f"""## Different precisions within a layer

{table(("method", "kind", "precision differs between", "networks and data", "figures"), lines)}

The same question on our networks: superposition against a search for one width per layer that gets as many effective
bits per weight, and against int8. A point is 1 % of accuracy, or 0.01 of the AUC.

{table(head, ours)}

These rows are not comparable with the published ones: networks, training data and what counts as a bit differ. Our bits
include indices, padding and multipliers. [MLPerf Tiny](mlperf-tiny.md#comparison-at-equal-bits) has the uncertainty of
our differences.
"""


def waiting(found: Published, mine: Own) -> str:
    return """## Not compared yet

- **The same FPGA.** The published FPGA rows are placed and routed with Vivado for Xilinx devices, ours for Lattice
  ECP5. `intarsia run` maps an engine to 7-series cells, which is not the same.
- **Power and energy of chips.** Ours would be estimates, in another process and at another voltage.
- **ImageNet.** No network of ours is trained on it, so MSP and ILMPQ have no counterpart.
- **The systems around the accelerators**: processor, bus and software.
"""


def sources(found: Published, mine: Own) -> str:
    used = [row.source for row in _rows(found)]
    keys = [key for key in found.sources if key in used or key in ("targets", "urbinati2023")]
    lines = [
        (
            one.name,
            f"[{one.title}]({one.link})",
            one.venue if one.year is None else f"{one.venue}, {one.year}",
            "primary source" if one.read == "primary" else "abstract",
        )
        for one in (found.sources[key] for key in keys)
    ]
    return f"""## Sources

{table(("name", "title", "where", "read"), lines)}
"""


#: The parts of the page, in order.
SECTIONS = (
    introduction,
    sum_together,
    closed_division,
    open_division,
    processors,
    accelerators,
    methods,
    waiting,
    sources,
)
HARDWARE = ("design", "kind", "process or device", "conditions", "figures")


def hardware_row(found: Published, row: Hardware) -> tuple[str, ...]:
    return (named(found, row), word(row.kind), row.process or "–", row.conditions, row.figures)


def name(found: Published, source: str) -> str:
    return found.sources[source].name


def named(found: Published, row: SpeedUp | Submission | Rate | Hardware | Method) -> str:
    return name(found, row.source)


def word(kind: Kind) -> str:
    return KINDS[kind][0]


def targets_text(found: Published) -> str:
    return ", ".join(f"{network} {score_text(one.target, network)}" for network, one in found.targets.items())


def score_text(score: float, network: str) -> str:
    return f"AUC {score:.3g}" if network == "autoencoder" else f"{100 * score:.1f} %"


def points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def amount(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.10g}{unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
