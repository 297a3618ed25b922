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


@pytest.mark.parametrize("count", [1, 3, 5, 8, 12, 16])
def test_the_trit_decoder_inverts_the_packing_of_every_legal_word(engine_sources: tuple[Path, ...], count: int) -> None:
    sources = tuple(path for path in engine_sources if path.name == "intarsia_trits.sv")
    assert prove(Design((*sources, RTL / "proof_trits.sv"), "proof_trits", {"Count": count})).holds
