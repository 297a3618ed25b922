# SPDX-License-Identifier: Apache-2.0
"""Proofs of small cells: assertions in SystemVerilog, proved by Yosys' SAT solver.

For tests of cells: no stage of a run uses it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.synthesize.yosys import Design, run_yosys


@dataclass(frozen=True)
class Proof:
    """The outcome of a proof.

    Attributes:
        top: the module.
        holds: whether every assertion holds for all inputs (and, with registers, at all times).
        assertions: how many assertions there are.
        counterexample: values of the signals that break an assertion; empty when it holds.
    """

    top: str
    holds: bool
    assertions: int
    counterexample: str


def prove(design: Design, *, steps: int = 0, cache: Path | None = None, timeout_s: float = 300.0) -> Proof:
    """Prove the immediate assertions (`assert` in `always_comb` or `always_ff`) of a module; `assume` is respected.

    Args:
        design: the module with its assertions.
        steps: 0 for a module without registers: one step covers all inputs. Otherwise the proof goes by induction
            over at most so many clock cycles, from any initial state of the registers.
        cache: folder of kept results; None keeps none.
        timeout_s: time limit in seconds.

    Raises:
        IntarsiaError: pyosys is missing, the design has an error or no assertion, the induction does not close within
            `steps` cycles, or the time is over.
    """
    prepare = [
        design.read_command("-D FORMAL=1"),
        *("proc", "flatten", "opt_clean", "chformal -lower", "memory_map", "async2sync", "dffunmap", "opt -full"),
    ]
    induction = f"-tempinduct -maxsteps {steps}" if steps else ""
    solve = f"tee -q -o sat.txt sat -prove-asserts -set-assumes -show-public {induction} {design.top}"
    assertions = _count(design, prepare, "$assert", cache, timeout_s)
    if not assertions:
        raise IntarsiaError(f"{design.top} has no assertion to prove; add `assert` to it.")
    if not steps and _count(design, prepare, "$_*DFF*_ t:$*dff*", cache, timeout_s):
        raise IntarsiaError(f"{design.top} has registers; give the number of steps of an induction.")
    log = run_yosys([*prepare, solve], inputs=design.sources, outputs=("sat.txt",), cache=cache, timeout_s=timeout_s)[
        "sat.txt"
    ]
    if "SUCCESS!" in log:
        return Proof(design.top, True, assertions, "")
    if "model found: FAIL!" in log or "model found for base case: FAIL!" in log:
        return Proof(design.top, False, assertions, _model(log))
    raise IntarsiaError(f"the proof of {design.top} does not close within {steps} steps; allow more or strengthen it.")


def _count(design: Design, prepare: list[str], kind: str, cache: Path | None, timeout_s: float) -> int:
    """Return the number of cells of a kind after the preparation."""
    commands = [*prepare, f"tee -q -o count.txt select -count t:{kind}"]
    text = run_yosys(commands, inputs=design.sources, outputs=("count.txt",), cache=cache, timeout_s=timeout_s)
    found = re.search(r"(\d+) objects", text["count.txt"])
    return int(found.group(1)) if found else 0


def _model(log: str) -> str:
    """Return the table of signal values in the solver's log."""
    start = log.rfind("Signal Name")
    return log[start:].split("\n\n", 1)[0].strip() if start >= 0 else ""
