# SPDX-License-Identifier: Apache-2.0
"""Execution units: what is legal, what they store, and that their areas come from synthesis, once."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import processes
from intarsia.engine.units import Dense, Positions, Superposition
from intarsia.errors import IntarsiaError
from intarsia.synthesize import yosys
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.pin_wrapper import ports
from intarsia.synthesize.units import LaneArray, characterize

POSITIONS: tuple[Positions, ...] = ("own", "shared", "fixed")
#: A shell that synthesizes in a second or two.
SMALL = {"lanes": 8, "block": 8, "acc_slots": 2}
TERNARY = LaneArray(Superposition(0, 2, 0), **SMALL)


def sparse(slots: int, bits: int, positions: Positions, shift: int = 0, **shell: int) -> LaneArray:
    places = tuple(range(slots)) if positions == "fixed" else ()
    return LaneArray(Superposition(slots, bits, shift, positions, places), **(shell or SMALL))


@st.composite
def legal_arrays(draw: st.DrawFn) -> LaneArray:
    shell = {name: draw(st.sampled_from([8, 16])) for name in ("lanes", "block")}
    shell["acc_slots"] = draw(st.integers(2, 16))
    shell["acc_bits"] = draw(st.integers(20, 32))
    if draw(st.booleans()):
        return LaneArray(Dense(draw(st.integers(2, 8)), draw(st.booleans())), **shell)
    slots, shift = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    if not slots:
        return LaneArray(Superposition(0, 2, shift), **shell)
    return sparse(slots, draw(st.integers(2, 8)), draw(st.sampled_from(POSITIONS)), shift, **shell)


@given(legal_arrays())
def test_positions_cost_memory_by_their_freedom(array: LaneArray) -> None:
    """The engine's own words; shared positions save the indices of all lanes but one, fixed ones all."""
    unit = array.unit
    if isinstance(unit, Superposition) and unit.slots:
        shell = {name: getattr(array, name) for name in ("lanes", "block", "acc_bits", "acc_slots")}
        own, shared, fixed = (
            sparse(unit.slots, unit.slot_bits, positions, unit.shift_bits, **shell).word_bits for positions in POSITIONS
        )
        index_bits = unit.slots * {8: 3, 16: 4}[array.block]
        assert own - fixed == array.lanes * index_bits
        assert 0 <= shared - fixed - index_bits < 4


def test_arrays_say_what_they_are() -> None:
    assert str(sparse(2, 6, "shared", 2, lanes=8)) == (
        "ternary + 2 × int6 at shared positions, 8 lanes of 16, 6 pixels of 24 bits"
    )
    assert str(LaneArray(Dense(4))) == "int4, 16 lanes of 16, 6 pixels of 24 bits"
    assert str(TERNARY) == "ternary, 8 lanes of 8, 2 pixels of 24 bits"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LaneArray(Superposition(5, 8)), "slots"),
        (lambda: LaneArray(Superposition(0, 2, positions="shared")), "positions"),
        (lambda: LaneArray(Superposition(1, 8, 4)), "shift_bits"),
        (lambda: LaneArray(Dense(9)), "bits"),
        (lambda: sparse(1, 9, "own"), "slot_bits"),
        (lambda: LaneArray(Superposition(1, 8, 0, "fixed", (8,)), block=8), "places"),
        (lambda: LaneArray(Dense(8), acc_bits=19), "acc_bits"),
        (lambda: LaneArray(Dense(8), acc_slots=1), "acc_slots"),
        (lambda: LaneArray(Dense(8), lanes=12), "lanes"),
        (lambda: LaneArray(Dense(8), block=4), "block"),
    ],
)
def test_what_no_hardware_has_is_refused(make: Callable[[], LaneArray], field: str) -> None:
    with pytest.raises(IntarsiaError, match=rf"\b{field}\b.* is .*, it must be .*\.$"):
        make()


@pytest.mark.parametrize("array", [*(sparse(3, 5, positions) for positions in POSITIONS), TERNARY], ids=str)
def test_stored_bits_are_the_widths_of_the_hardware(array: LaneArray, engine_sources: tuple[Path, ...]) -> None:
    widths = {port.name: port.width for port in ports(array.design(engine_sources))}
    rest = {"shared": 3}.get(getattr(array.unit, "positions", ""), 0)  # 9 bits of indices are filled up to 12
    assert array.word_bits == widths["dense_i"] + rest + (0 if array is TERNARY else widths["sparse_i"])


def test_areas_follow_what_a_unit_does(engine_sources: tuple[Path, ...], tmp_path: Path) -> None:
    """More slots, more bits and own positions cost more; each unit is synthesized once."""
    rising = [
        [TERNARY, sparse(1, 8, "fixed"), sparse(2, 8, "fixed")],
        [sparse(1, 2, "shared"), sparse(1, 8, "shared"), sparse(1, 8, "own")],
        [sparse(1, 8, "fixed"), sparse(1, 8, "own")],
        [LaneArray(Dense(bits), **SMALL) for bits in (2, 4, 8)],
        [TERNARY, LaneArray(Dense(8), **SMALL)],
    ]
    for chain in rising:
        areas = characterize(chain, engine_sources, cache=tmp_path)
        assert [area.array for area in areas] == chain
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
