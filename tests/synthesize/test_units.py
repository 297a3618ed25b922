# SPDX-License-Identifier: Apache-2.0
"""Execution units: what is legal, what they store, and that their areas come from synthesis, once."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import processes
from intarsia.engine.units import Superposition
from intarsia.errors import IntarsiaError
from intarsia.synthesize import yosys
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.pin_wrapper import ports
from intarsia.synthesize.units import ExecutionUnit, Positions, characterize

POSITIONS: tuple[Positions, ...] = ("own", "shared", "fixed")
#: A shell that synthesizes in a second or two.
SMALL = {"lanes": 8, "block": 8, "acc_slots": 2}
TERNARY = ExecutionUnit("superposition", **SMALL)


def sparse(slots: int, bits: int, positions: Positions, **shell: int) -> ExecutionUnit:
    return ExecutionUnit("superposition", slots, bits, positions, **(shell or SMALL))


@st.composite
def legal_units(draw: st.DrawFn) -> ExecutionUnit:
    shell = {name: draw(st.sampled_from([8, 16])) for name in ("lanes", "block")}
    shell["acc_slots"] = draw(st.integers(2, 16))
    shell["acc_bits"] = draw(st.integers(20, 32))
    if draw(st.booleans()):
        return ExecutionUnit("dense", weight_bits=draw(st.integers(2, 8)), **shell)
    slots = draw(st.integers(0, 4))
    if not slots:
        return ExecutionUnit("superposition", **shell)
    shell["plane_shift_bits"] = draw(st.integers(0, 3))
    return sparse(slots, draw(st.integers(2, 8)), draw(st.sampled_from(POSITIONS)), **shell)


@given(legal_units(), legal_units())
def test_units_are_values_and_read_differently_where_they_differ(one: ExecutionUnit, other: ExecutionUnit) -> None:
    assert (one == other) == (str(one) == str(other))
    assert one == replace(one)


@given(legal_units())
def test_positions_cost_memory_by_their_freedom(unit: ExecutionUnit) -> None:
    """The engine's own words; shared positions save the indices of all lanes but one, fixed ones all."""
    if unit.slots:
        own, shared, fixed = (replace(unit, positions=positions).word_bits for positions in POSITIONS)
        index_bits = {8: 3, 16: 4}[unit.block]
        assert own - fixed == unit.lanes * (shared - fixed) == unit.lanes * unit.slots * index_bits
        engine = Superposition(unit.slots, unit.slot_bits or 0, unit.plane_shift_bits)
        assert own == engine.block_bits(unit.block, unit.lanes)


def test_units_say_what_they_are() -> None:
    assert str(sparse(2, 6, "shared", plane_shift_bits=2, lanes=8)) == (
        "ternary + 2 × int6 at shared positions, shifts of 2 bits, 8 lanes of 16, 6 pixels of 24 bits"
    )
    assert str(ExecutionUnit("dense", weight_bits=4)) == "int4, 16 lanes of 16, 6 pixels of 24 bits"
    assert str(TERNARY) == "ternary, 8 lanes of 8, 2 pixels of 24 bits"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ExecutionUnit("sum_together"), "kind"),  # type: ignore[arg-type]
        (lambda: ExecutionUnit("superposition", 5, 8, "own"), "slots"),
        (lambda: ExecutionUnit("superposition", 1, 9, "own"), "slot_bits"),
        (lambda: ExecutionUnit("superposition", 1, None, "own"), "slot_bits"),
        (lambda: ExecutionUnit("superposition", 1, 8), "positions"),
        (lambda: ExecutionUnit("superposition", 0, 8), "slot_bits"),
        (lambda: ExecutionUnit("superposition", 0, None, "own"), "positions"),
        (lambda: ExecutionUnit("superposition", weight_bits=2), "weight_bits"),
        (lambda: ExecutionUnit("dense"), "weight_bits"),
        (lambda: ExecutionUnit("dense", 1, 8, "own", weight_bits=8), "slots"),
        (lambda: ExecutionUnit("dense", weight_bits=8, acc_bits=19), "acc_bits"),
        (lambda: ExecutionUnit("superposition", acc_slots=1), "acc_slots"),
        (lambda: ExecutionUnit("superposition", lanes=12), "lanes"),
        (lambda: ExecutionUnit("superposition", block=4), "block"),
        (lambda: ExecutionUnit("superposition", 1, 8, "own", 4), "plane_shift_bits"),
        (lambda: ExecutionUnit("superposition", plane_shift_bits=1), "plane_shift_bits"),
    ],
)
def test_what_no_hardware_has_is_refused(make: Callable[[], ExecutionUnit], field: str) -> None:
    with pytest.raises(IntarsiaError, match=rf"^{field} of an execution unit is .*, it must be .*\.$"):
        make()


@pytest.mark.parametrize("unit", [*(sparse(3, 5, positions) for positions in POSITIONS), TERNARY], ids=str)
def test_stored_bits_are_the_widths_of_the_hardware(unit: ExecutionUnit, engine_sources: tuple[Path, ...]) -> None:
    widths = {port.name: port.width for port in ports(unit.design(engine_sources))}
    assert unit.word_bits == widths["dense_i"] + (widths["sparse_i"] if unit.slots else 0)


def test_areas_follow_what_a_unit_does(engine_sources: tuple[Path, ...], tmp_path: Path) -> None:
    """More slots, more bits and own positions cost more; each unit is synthesized once."""
    rising = [
        [TERNARY, sparse(1, 8, "fixed"), sparse(2, 8, "fixed")],
        [sparse(1, 2, "shared"), sparse(1, 8, "shared"), sparse(1, 8, "own")],
        [sparse(1, 8, "fixed"), sparse(1, 8, "own")],
        [ExecutionUnit("dense", weight_bits=bits, **SMALL) for bits in (2, 4, 8)],
        [TERNARY, ExecutionUnit("dense", weight_bits=8, **SMALL)],
    ]
    for chain in rising:
        areas = characterize(chain, engine_sources, cache=tmp_path)
        assert [area.unit for area in areas] == chain
        assert all(0 < one.transistors < other.transistors for one, other in pairwise(areas)), chain
        assert {(area.kge, area.path_ns) for area in areas} == {(None, None)}
    assert len(list(tmp_path.iterdir())) == 9  # one run for each unit, however often it was asked for
    # Registers are countable by hand: packed trits or value, sum and accumulators of each lane; then the indices.
    [ternary, own, shared, fixed] = characterize(
        [TERNARY, *(sparse(1, 8, positions) for positions in POSITIONS)], engine_sources, cache=tmp_path
    )
    assert ternary.flip_flops == 8 * (13 + 12 + 2 * 24)
    assert fixed.flip_flops - ternary.flip_flops == 8 * (8 + 16)
    assert own.flip_flops - fixed.flip_flops == 8 * (shared.flip_flops - fixed.flip_flops) == 8 * 3


def test_kept_areas_start_no_tool_and_know_their_own_sources(
    engine_sources: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change in another part of the engine leaves them valid; one in a lane does not."""
    folder, runs = tmp_path / "rtl", []
    folder.mkdir()
    sources = [folder / source.name for source in engine_sources]
    for source, copy in zip(engine_sources, sources, strict=True):
        copy.write_text(source.read_text())

    def counted(*arguments: object, **options: object) -> tuple[int, str]:
        runs.append(1)
        return processes.run_tool(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(yosys, "run_tool", counted)
    first = characterize([TERNARY, TERNARY], sources, cache=tmp_path / "cache")
    assert len(runs) == 1
    (folder / "intarsia_drain.sv").write_text("// another drain\n")
    assert characterize([TERNARY], sources, cache=tmp_path / "cache") == first[:1]
    assert len(runs) == 1
    lane = folder / "intarsia_lane.sv"
    lane.write_text("// another lane\n" + lane.read_text())
    characterize([TERNARY], sources, cache=tmp_path / "cache")
    assert len(runs) == 2


def test_errors_name_the_unit(engine_sources: tuple[Path, ...]) -> None:
    with pytest.raises(IntarsiaError, match=r"^cannot characterize ternary, 8 lanes.*: .*intarsia_lane\.sv is missing"):
        characterize([TERNARY], [path for path in engine_sources if path.name != "intarsia_lane.sv"])
    with pytest.raises(IntarsiaError, match=r"^cannot characterize ternary, 8 lanes.*: Yosys did not finish within"):
        characterize([TERNARY], engine_sources, timeout_s=0.01)


@pytest.mark.pdk
def test_gate_equivalents_and_delays_with_a_pdk(engine_sources: tuple[Path, ...], pdk: Pdk) -> None:
    ternary, own = characterize([TERNARY, sparse(1, 4, "own")], engine_sources, pdk=pdk)
    assert ternary.kge and own.kge and ternary.path_ns and own.path_ns
    assert 5 < ternary.kge < own.kge < 60
    assert 0.5 < ternary.path_ns < 20
