# SPDX-License-Identifier: Apache-2.0
"""Write docs/evidence.md: is superposition better? Computed from what other scripts have measured and kept.

python benchmarks/evidence.py

Scores and bits come from studies/results/mlperf-tiny.json, areas and cycles from rival-units.json, energies from
energy.json, estimated ones of layer-wise networks from the searches of the superposition. Nothing is measured here, and
no finding is typed.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

import energy
import mlperf_tiny
import rival_units
import superposition
from intarsia.files import write_text
from intarsia.recipes import BENCHMARKS
from intarsia.report.metrics import CYCLES, ENERGY
from intarsia.report.study import Design, StudyResults
from intarsia.typed_json import read_typed

STUDIES = Path("studies")
#: Titles of energy.json by those of rival-units.json, where they differ.
_ENERGY_TITLES = {"superposition, twice as many precise weights": "superposition, two slots"}
#: Titles of engines by the kind of network that they run, where that was trained with several seeds.
_KINDS = {"superposition": "superposition", "dense int8": "int8"}
#: Differences beyond so many standard errors are called differences.
_CERTAIN = 2.0


@dataclass(frozen=True)
class Scores:
    """Scores of one kind of network on the test set, by seed, and its bits per weight."""

    network: str
    kind: str
    by_seed: tuple[float, ...]
    mean: float
    bits: float
    cycles: int | None

    @property
    def error(self) -> float | None:
        """Standard error of the mean over the seeds; None of one seed."""
        return stdev(self.by_seed) / math.sqrt(len(self.by_seed)) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class OnEngine:
    """A network on an engine: everything that it costs. Energy is None where it was not measured."""

    network: str
    title: str
    score: float
    bits: float
    cycles: int
    area_mm2: float
    energy_uj: float | None


@dataclass(frozen=True)
class Evidence:
    """All that the page is made of."""

    scores: tuple[Scores, ...]
    engines: tuple[OnEngine, ...]
    searches: tuple[StudyResults, ...]
    untuned: mlperf_tiny.Findings | None

    def of(self, network: str, kind: str) -> Scores | None:
        """Return the scores of a kind, if it was trained."""
        return next((one for one in self.scores if (one.network, one.kind) == (network, kind)), None)


#: What a network costs on an engine, with its unit.
COSTS: Mapping[str, Callable[[OnEngine], float | None]] = {
    "bits per weight": lambda one: one.bits,
    "cycles": lambda one: one.cycles,
    "area": lambda one: one.area_mm2,
    "energy": lambda one: one.energy_uj,
    "cycles × area": lambda one: one.cycles * one.area_mm2,
}


_AT_EQUAL_ENERGY = """## At equal energy

The layer-wise network of the same bits, quantized after training, on dense lanes as wide as its widest weights and on
narrower ones, which run wide layers in passes. Energies of both sides are those of the [fast model](energy.md). Where
layer-wise takes more on every unit, it would have to give up bits to take as much, so that its distance at equal bits
is the least.
"""

_UNTUNED = """## A network that nobody tuned for

res8-narrow (Tang and Lin, 2018) with 16 channels on 40 spoken Arabic words, by the default scheme and recipe of users'
own networks (`python benchmarks/untuned.py`). Training, validation and test have speakers of their own.
"""

_FRONTS = """Which engines no other beats: none of the same network is at least as accurate and costs less. In brackets
the score lost against the best engine, in points.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    write_text(options.docs / "evidence.md", page(kept(STUDIES)))


def kept(studies: Path) -> Evidence:
    """Read what was measured."""
    results = studies / "results"
    tiny = read_typed(mlperf_tiny.Kept, results / "mlperf-tiny.json").runs
    scores = tuple(_scores(one) for run in mlperf_tiny.joined(tiny) for one in run.scores)
    rows = rival_units.rows(results / "rival-units.json")
    measured = read_typed(energy.Results, results / "energy.json").rows
    engines = tuple(_on_engine(row, measured) for row in rows)
    own = results / "untuned.json"
    untuned = read_typed(mlperf_tiny.Findings, own) if own.exists() else None
    return Evidence(scores, engines, tuple(superposition.kept_in(studies)), untuned)


def _scores(one: mlperf_tiny.Scored) -> Scores:
    return Scores(one.network, one.kind, one.by_seed, one.score, one.effective_bits, one.cycles)


def _on_engine(row: rival_units.Row, measured: Sequence[energy.Row]) -> OnEngine:
    title = _ENERGY_TITLES.get(row.title, row.title)
    found = next((one for one in measured if (one.network, one.title) == (row.network, title)), None)
    area = row.logic_mm2 + row.sram_mm2
    spent = None if found is None or found.score != row.score else found.total / 1000
    return OnEngine(row.network, row.title, row.score, row.bits, row.cycles, area, spent)


def page(evidence: Evidence) -> str:
    """Return the page."""
    parts = [
        """# Is superposition better?

Written by `python benchmarks/evidence.py` from the results behind [accuracy](mlperf-tiny.md),
[execution units](execution-units.md) and [energy](energy.md), which say how each was measured. Areas are those of
engines with 16 lanes × 16 inputs per cycle, logic and memories, in 130 nm; energies are estimates before layout.
Scores are of the integer networks on the full official test sets; of the autoencoder, points are hundredths of the AUC.

## At equal bits

Superposition against a layer-wise search of 8, 4 and 2 bits, and against ternary with the same exceptions, all trained
by the same recipe. A layer-wise network has the bits of the superposition, or fewer. Differences are in points, with
their standard error over the seeds; a difference counts where it is more than two of these.
""",
        _equal_bits(evidence),
        _AT_EQUAL_ENERGY,
        _equal_energy(evidence),
        _untuned(evidence.untuned),
        """## On engines

Every network on the engine that was fitted to it. Only superposition is trained there; rivals are quantized after
training, so that their scores can still rise.
""",
        *(_engines(evidence, name) for name in _networks(evidence)),
        "## Where it wins\n",
        _FRONTS,
        _fronts(evidence),
        "\n".join(_wins(evidence)),
        """## Beside others

- [Widening](regularity.md) a ternary network instead wins accuracy as well, at more cycles; the page compares both.
- [Published mixed precision](literature.md) within layers: PLiNIO searches channels and prunes, ILMPQ gives parts of a
  layer their own width on FPGAs. Their networks and data are others, so that no figure here is a ratio to theirs.
""",
    ]
    return "\n".join(parts)


def _networks(evidence: Evidence) -> list[str]:
    return [name for name in BENCHMARKS if any(one.network == name for one in evidence.engines)]


def _equal_bits(evidence: Evidence) -> str:
    lines = [
        "| network | against | seeds | bits, superposition | bits | superposition | the other | difference | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in _networks(evidence):
        own = evidence.of(name, "superposition")
        for kind in ("layerwise", "ternary"):
            other = evidence.of(name, kind)
            if own is None or other is None:
                continue
            found, error = difference(own, other)
            seeds = f"{max(1, len(own.by_seed))} and {max(1, len(other.by_seed))}"
            lines.append(
                f"| {name} | {kind} | {seeds} | {own.bits:.2f} | {other.bits:.2f} | {_score(own.mean)} | "
                f"{_score(other.mean)} | {_points(found, error)} | {verdict(found, error)} |"
            )
    return "\n".join(lines) + "\n"


def _untuned(run: mlperf_tiny.Findings | None) -> str:
    if run is None:
        return ""
    kinds = {one.kind: _scores(one) for one in run.scores}
    rows = [mlperf_tiny.accuracy_row(one) for one in run.scores]
    lines = [_UNTUNED, mlperf_tiny.table(mlperf_tiny.ACCURACY, rows), ""]
    for kind in ("layerwise", "ternary"):
        found, error = difference(kinds["superposition"], kinds[kind])
        lines.append(f"- Superposition minus {kind}: {_points(found, error)} points: {verdict(found, error)}.")
    return "\n".join([*lines, ""])


def _equal_energy(evidence: Evidence) -> str:
    lines = [
        "| network | superposition, µJ | layer-wise | least | of superposition's | cycles, of its | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in evidence.searches:
        own = next((design for design in one.designs if superposition.is_recipe(one, design)), None)
        rivals = sorted((design for design in one.designs if _is_rival(design)), key=_energy)
        if own is None or not rivals:
            continue
        best = rivals[0]
        every = ", ".join(f"{_energy(design):.2f} ({design.unit})" for design in rivals)
        cycles = (best.metrics[CYCLES.name] or 0.0) / (own.metrics[CYCLES.name] or 1.0)
        ratio = _energy(best) / _energy(own)
        lines.append(
            f"| {one.network} | {_energy(own):.2f} | {every} | {best.unit} | {ratio:.0%} | {cycles:.0%} | "
            f"{_at_energy(evidence, one.network, ratio)} |"
        )
    return "\n".join(lines) + "\n"


def _is_rival(design: Design) -> bool:
    """Whether a design of a search is its layer-wise network on an engine that has the energy model."""
    return design.unit.startswith("dense") and design.metrics.get(ENERGY.name) is not None


def _energy(design: Design) -> float:
    """Return the estimated energy of an inference in µJ."""
    return (design.metrics[ENERGY.name] or 0.0) / 1000


def _at_energy(evidence: Evidence, network: str, ratio: float) -> str:
    """Say what the difference at equal bits means at equal energy."""
    own, other = evidence.of(network, "superposition"), evidence.of(network, "layerwise")
    if own is None or other is None:
        return "not trained"
    found, error = difference(own, other)
    if ratio < 1:
        return f"open: layer-wise has {1 - ratio:.0%} left for more bits"
    return f"layer-wise must give up bits: superposition gains {_points(found, error)} or more"


def _points(found: float, error: float | None) -> str:
    return f"{found:+.2f}" if error is None else f"{found:+.2f} ± {error:.2f}"


def difference(own: Scores, other: Scores) -> tuple[float, float | None]:
    """Return how many points one mean is above another, and the standard error of that over the seeds, if known."""
    errors = (own.error, other.error)
    found = 100 * (own.mean - other.mean)
    return found, None if None in errors else 100 * math.hypot(*(error or 0.0 for error in errors))


def verdict(found: float, error: float | None) -> str:
    """Say whether a difference of points is one."""
    if error is None:
        return "one seed: open"
    if abs(found) <= _CERTAIN * error:
        return "no difference"
    return "superposition is better" if found > 0 else "superposition is worse"


def _engines(evidence: Evidence, name: str) -> str:
    lines = [
        f"### {name}\n",
        "| engine | score | mean of seeds | bits per weight | cycles | area, mm² | energy, µJ |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in _mine(evidence, name):
        trained = evidence.of(name, _KINDS.get(one.title, ""))
        seeds = "–" if trained is None or len(trained.by_seed) < 2 else _with_error(trained)
        spent = "–" if one.energy_uj is None else f"{one.energy_uj:.2f}"
        lines.append(
            f"| {one.title} | {_score(one.score)} | {seeds} | {one.bits:.2f} | {one.cycles:,} | {one.area_mm2:.2f} | "
            f"{spent} |"
        )
    return "\n".join(lines) + "\n"


def _with_error(scores: Scores) -> str:
    return f"{_score(scores.mean)} ± {100 * (scores.error or 0.0):.2f}"


def _mine(evidence: Evidence, name: str) -> list[OnEngine]:
    return [one for one in evidence.engines if one.network == name]


def front(engines: Sequence[OnEngine], cost: Callable[[OnEngine], float | None]) -> list[OnEngine]:
    """Return the engines that none beats in score and cost, the cheapest first; those of unknown cost are left out."""
    known = [(price, one) for one in engines if (price := cost(one)) is not None]
    found = [
        (price, one)
        for price, one in known
        if not any(
            other.score >= one.score and paid <= price and (other.score, -paid) != (one.score, -price)
            for paid, other in known
        )
    ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _fronts(evidence: Evidence) -> str:
    lines = ["| network | " + " | ".join(COSTS) + " |", "|---" * (1 + len(COSTS)) + "|"]
    for name in _networks(evidence):
        mine = _mine(evidence, name)
        best = max(one.score for one in mine)
        cells = [
            ", ".join(f"{one.title} ({100 * (one.score - best):+.2f})" for one in front(mine, cost))
            for cost in COSTS.values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _wins(evidence: Evidence) -> list[str]:
    """Say for each network where superposition is on the front, and what it takes against int8 and int4."""
    lines = []
    for name in _networks(evidence):
        mine = _mine(evidence, name)
        won = [
            title
            for title, cost in COSTS.items()
            if any(one.title.startswith("superposition") for one in front(mine, cost))
        ]
        own = next(one for one in mine if one.title == "superposition")
        against = [_against(own, one) for one in mine if one.title in ("dense int8", "dense int4")]
        where = f"on the front of {', '.join(won)}" if won else "on no front"
        lines.append(f"- **{name}**: superposition is {where}. {' '.join(against)}")
    return [*lines, ""]


def _against(own: OnEngine, other: OnEngine) -> str:
    points = 100 * (own.score - other.score)
    ratios = [f"{own.area_mm2 / other.area_mm2:.0%} of its area"]
    if own.energy_uj is not None and other.energy_uj is not None:
        ratios.append(f"{own.energy_uj / other.energy_uj:.0%} of its energy")
    return f"Against {other.title}: {points:+.1f} points, {' and '.join(ratios)}."


def _score(value: float) -> str:
    return f"{100 * value:.2f}"


if __name__ == "__main__":
    main()
