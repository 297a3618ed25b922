# SPDX-License-Identifier: Apache-2.0
"""The page docs/energy.md, from what benchmarks/energy.py has measured."""

from collections.abc import Sequence

from energy import Row
from intarsia.synthesize.energy import EVENTS, FittedModel, fitted_model

#: Points of accuracy that count as equal (of the AUC, hundredths).
EQUAL = 0.5
TARGET = 0.5  # of int8's energy

_HEAD = """# Energy per inference

What an inference takes on whole engines, by part: superposition beside dense int8, dense int4 and Sum-Together, each
fitted to its network, 16 lanes × 16 inputs per cycle. Written by

```
PDK_ROOT=... INTARSIA_DATA=... python benchmarks/energy.py resnet8 dscnn mobilenet autoencoder --fit
```

**All figures are estimates before layout**, in IHP SG13G2 (130 nm, typical, 1.20 V, 25 °C). The engine is
synthesized for least area; buffers for fan-out and wires and a clock tree are added; the first test input runs on this
netlist, with the delays of its cells, so glitches count. Energy is the library's internal energy of each event, C·V²/2
of each net that changes, clock pins and tree, leakage at a period of 20 ns, and the SRAM macros' energy of each access.
Not in it: layout, resistance of wires, the host's writing of the input and reading of the result.
[How it works](inside.md) says more. They stand beside other estimates of this kind only, never beside measurements of
silicon.

Superposition runs trained networks (one seed), all others networks quantized after training.
"""


def page(rows: Sequence[Row]) -> str:
    """Return the page."""
    parts = [_HEAD]
    for name in dict.fromkeys(row.network for row in rows):
        mine = [row for row in rows if row.network == name]
        parts += [f"\n## {name}\n", _table(mine), _by_part(mine)]
    parts += [
        "\n## Superposition against int8\n",
        *_against(rows),
        _timing(rows),
        _sampling(rows),
        _model(fitted_model()),
    ]
    return "\n".join(parts) + "\n"


def _int8(rows: Sequence[Row], network: str) -> Row | None:
    return next((row for row in rows if row.network == network and row.title == "dense int8"), None)


def _table(mine: Sequence[Row]) -> str:
    reference = _int8(mine, mine[0].network)
    lines = [
        f"| engine | unit | {mine[0].metric} | cycles | energy, µJ | of int8's | memories | clock | logic, mm² | "
        "buffers and clock tree, mm² | SRAM, mm² | total, mm² |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in mine:
        clock = sum(part.clock for part in row.parts)
        relative = "–" if reference is None else f"{row.total / reference.total:.0%}"
        lines.append(
            f"| {row.title} | {row.engine} | {_score(row)} | {row.cycles:,} | {row.total / 1000:.2f} | {relative} | "
            f"{row.memory / row.total:.0%} | {clock / row.total:.0%} | {row.logic_mm2:.2f} | {row.buffers_mm2:.2f} | "
            f"{row.sram_mm2:.2f} | {row.area:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _score(row: Row) -> str:
    return f"{row.score:.2%}" if row.metric == "accuracy" else f"{row.score:.4f}"


def _by_part(mine: Sequence[Row]) -> str:
    names = dict.fromkeys(part.name for row in mine for part in row.parts)
    lines = [f"| µJ by part | {' | '.join(row.title for row in mine)} |", "|---" * (len(mine) + 1) + "|"]
    for name in names:
        found = [next((part.total for part in row.parts if part.name == name), 0.0) for row in mine]
        lines.append(f"| {name} | {' | '.join(f'{each / 1000:.3f}' for each in found)} |")
    lines.append(f"| **sum** | {' | '.join(f'{row.total / 1000:.3f}' for row in mine)} |")
    return "\n".join(lines) + "\n"


def _against(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        int8 = _int8(rows, row.network)
        if row.kind != "superposition" or int8 is None:
            continue
        points = (int8.score - row.score) * 100
        equal = "equal accuracy" if points <= EQUAL else f"not within {EQUAL} points"
        share = row.total / int8.total
        lanes = [sum(part.total for part in each.parts if part.name == "lanes") for each in (row, int8)]
        lines.append(
            f"- **{row.network}**, {row.title}: {share:.0%} of int8's energy"
            f"{'' if share <= TARGET else f', over the target of {TARGET:.0%}'}, "
            f"{row.area / int8.area:.0%} of its area, {row.cycles / int8.cycles:.2f} times its cycles, "
            f"{points:.1f} points below it ({equal}). Memories take "
            f"{row.memory / int8.memory:.0%} of int8's, lanes {lanes[0] / lanes[1]:.0%}, the rest "
            f"{(row.total - row.memory - lanes[0]) / (int8.total - int8.memory - lanes[1]):.0%}."
            f"{_depthwise(row, int8)}"
        )
    return lines


def _depthwise(row: Row, int8: Row) -> str:
    """Say what depthwise layers cost in memory accesses, where they cost more than int8's."""
    own, other = (sum(layer.memory for layer in each.layers if "depthwise" in layer.name) for each in (row, int8))
    if own <= other:
        return ""
    return (
        f" Memory accesses of its depthwise layers take {own / 1000:.1f} µJ, of int8's {other / 1000:.1f}: weights of "
        "two digits are two blocks, which are fetched again for every pixel, where one block stays in the lanes. With "
        f"both resident it would be at {(row.total - own + other) / int8.total:.0%} of int8's energy; not built."
    )


def _timing(rows: Sequence[Row]) -> str:
    lines = [
        "\n## Timing\n",
        "The slowest path of the whole engine, across modules, at least area, with buffers and estimated wires, before "
        "layout; ideal clock.\n",
        "| network | engine | least period, ns | from | to |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.network} | {row.title} | {row.path_ns:.1f} | `{row.path_start}` | `{row.path_end}` |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def _sampling(rows: Sequence[Row]) -> str:
    checked = [row for row in rows if row.sampling_error is not None]
    counts = sorted({row.sampled for row in rows if row.sampled})
    text = "\n## Sampling\n\n"
    if counts:
        text += (
            f"Where a row was sampled, the first {' or '.join(map(str, counts))} cycles of each layer stand for it. "
        )
    if checked:
        text += "Rows that were measured both ways, and how far sampling was off: " + ", ".join(
            f"{row.network} on {row.title} {row.sampling_error:+.1%}" for row in checked
        )
        text += ". Their rows above are of every cycle."
    return text + "\n"


def _model(model: FittedModel) -> str:
    lines = [
        "\n## The fast model\n",
        "For exploration, energy follows from events that the cycle model counts, each at what it takes on average; "
        "memory accesses as above. The energies are fitted to the rows of this page. The error is that of the logic of "
        "an inference on the network that fits worst when the others are fitted to; that of layers is the mean, "
        "weighted by energy.\n",
        f"| unit | {' | '.join(f'{event}, pJ' for event in EVENTS)} | error | of layers |",
        "|---" * (len(EVENTS) + 3) + "|",
    ]
    for unit in model.units:
        energies = " | ".join(f"{each:.3g}" for each in unit.picojoules)
        lines.append(f"| {unit.unit} | {energies} | {unit.error:+.0%} | {unit.layer_error:.0%} |")
    return "\n".join(lines) + "\n"
