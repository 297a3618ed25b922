# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.formal import prove
from intarsia.synthesize.yosys import Design

RTL = Path(__file__).with_name("rtl")


def cell(name: str, **parameters: int) -> Design:
    return Design((RTL / f"{name}.sv",), name, parameters)


def test_a_right_cell_is_proved_and_a_wrong_one_refuted() -> None:
    right, wrong = prove(cell("proof_cell")), prove(cell("proof_cell", Wrong=1))
    assert right.holds
    assert right.assertions == 3
    assert not wrong.holds
    assert "a_i" in wrong.counterexample


def test_induction_proves_registers_and_finds_a_reachable_violation() -> None:
    assert prove(cell("proof_counter"), steps=4).holds
    broken = prove(cell("proof_counter", Limit=12, Claim=11), steps=14)
    assert not broken.holds
    assert "count_q" in broken.counterexample


def test_what_cannot_be_decided_is_an_error_and_no_proof() -> None:
    with pytest.raises(IntarsiaError, match="does not close within 2 steps"):
        prove(cell("proof_counter", Claim=9), steps=2)
    with pytest.raises(IntarsiaError, match="has registers"):
        prove(cell("proof_counter"))
    with pytest.raises(IntarsiaError, match="no assertion"):
        prove(cell("mac_cell"))


def proof(sources: tuple[Path, ...], name: str, modules: tuple[str, ...], **parameters: int) -> Design:
    used = tuple(path for path in sources if path.stem in modules)
    return Design((*used, RTL / f"{name}.sv"), name, parameters)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 16])
def test_the_trit_decoder_inverts_the_packing_of_all_trits(engine_sources: tuple[Path, ...], count: int) -> None:
    assert prove(proof(engine_sources, "proof_trits", ("intarsia_trits",), Count=count)).holds


@pytest.mark.parametrize(("inside", "outside", "shift"), [(33, 8, 5), (25, 8, 4), (33, 24, 5), (41, 24, 5), (10, 9, 1)])
def test_the_saturating_shift_is_a_shift_and_a_clip(
    engine_sources: tuple[Path, ...], inside: int, outside: int, shift: int
) -> None:
    bits = {"InBits": inside, "OutBits": outside, "ShiftBits": shift}
    assert prove(proof(engine_sources, "proof_shift", ("intarsia_shift_saturate",), **bits)).holds


@pytest.mark.parametrize(
    ("residual", "shift"),
    [(0, 1), (2, 1), pytest.param(1, 3, marks=pytest.mark.study)],  # a minute alone
)
def test_a_narrow_requantizer_is_its_formula(engine_sources: tuple[Path, ...], residual: int, shift: int) -> None:
    """For all inputs; the saturation between its shifts changes nothing, whether the residual or the shift decides."""
    modules = ("intarsia_pkg", "intarsia_shift_saturate", "intarsia_requantizer")
    bits = {"ResidualBits": residual, "ResidualShiftBits": shift}
    assert prove(proof(engine_sources, "proof_requantizer", modules, **bits), steps=8).holds
    if residual == 2:
        assert not prove(proof(engine_sources, "proof_requantizer", modules, Wrong=1, **bits), steps=8).holds


@pytest.mark.parametrize("depthwise", [0, 1])
def test_a_narrow_lane_is_its_formula(engine_sources: tuple[Path, ...], depthwise: int) -> None:
    """For all operands and steps, of a block of 8 with a slot of 2 bits."""
    design = proof(engine_sources, "proof_lane", ("intarsia_lane", "intarsia_accumulators"), Depthwise=depthwise)
    assert prove(design, steps=6).holds


def test_a_lane_that_is_not_the_formula_is_refuted(engine_sources: tuple[Path, ...]) -> None:
    design = proof(engine_sources, "proof_lane", ("intarsia_lane", "intarsia_accumulators"), Wrong=1)
    assert not prove(design, steps=6).holds
