"""Formal proofs of small cells, by Yosys' SAT solver over all inputs."""

from pathlib import Path

import pytest

from intarsia.engine.sources import rtl_folder
from intarsia.errors import IntarsiaError
from intarsia.synthesize.yosys import Design, run_yosys

PROOFS = Path(__file__).parent / "proofs"


def prove(harness: str, cell: str, parameters: dict[str, int]) -> None:
    """Prove all assertions of a harness; raise where one fails."""
    sources = (rtl_folder() / f"{cell}.sv", PROOFS / f"{harness}.sv")
    design = Design(sources, harness, parameters)
    passes = ["prep", "flatten", "chformal -lower", "opt", "sat -verify -prove-asserts"]
    run_yosys([design.read_command(), *passes], inputs=sources, outputs=[])


@pytest.mark.parametrize("count", [3, 5, 8, 12, 16])
def test_trits_unpack_to_what_was_packed(count: int) -> None:
    prove("trits_round_trip", "intarsia_trits", {"Count": count})


def test_the_proof_can_fail() -> None:
    with pytest.raises(IntarsiaError, match="proof did fail"):
        prove("trits_round_trip", "intarsia_trits", {"Count": 16, "Wrong": 1})
