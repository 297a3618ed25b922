# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from hostile import FOLDER
from intarsia.cache import digest_of_json
from intarsia.errors import IntarsiaError
from intarsia.processes import TimeOverError, run_tool
from intarsia.synthesize import tools, yosys
from intarsia.synthesize.area import transistors
from intarsia.synthesize.yosys import Design, first_error, run_yosys

RTL = Path(__file__).with_name("rtl")
CELL = RTL / "mac_cell.sv"


def test_an_illegal_parameter_is_reported_with_the_message_of_the_source() -> None:
    design = Design((CELL,), "mac_cell", {"AccBits": 8})
    with pytest.raises(IntarsiaError, match="AccBits must be at least 16"):
        run_yosys([design.read_command()], inputs=design.sources, outputs=())


def test_a_syntax_error_is_reported_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "broken.sv"
    source.write_text("module broken(input logic a_i;\nendmodule\n")
    design = Design((source,), "broken")
    with pytest.raises(IntarsiaError, match=r"broken\.sv:1"):
        run_yosys([design.read_command()], inputs=design.sources, outputs=())


def test_names_that_would_change_the_command_are_refused() -> None:
    with pytest.raises(IntarsiaError, match="no SystemVerilog identifier"):
        Design((CELL,), "mac_cell; exec").read_command()
    with pytest.raises(IntarsiaError, match="no SystemVerilog identifier"):
        Design((CELL,), "mac_cell", {"AccBits=1 -G x": 1}).read_command()
    with pytest.raises(IntarsiaError, match="unusual characters"):
        Design((Path("a b.sv"),), "mac_cell").read_command()


def test_the_time_limit_ends_the_run() -> None:
    design = Design((CELL,), "mac_cell")
    with pytest.raises(TimeOverError, match=r"did not finish within 0\.01 s"):
        run_yosys([design.read_command()], inputs=design.sources, outputs=(), timeout_s=0.01)


def test_what_a_tool_wrote_before_its_time_was_over_is_kept(tmp_path: Path) -> None:
    script = "print('placed', flush=True); import time; time.sleep(60)"
    with pytest.raises(TimeOverError) as caught:
        run_tool("it", [sys.executable, "-c", script], folder=tmp_path, timeout_s=10.0)
    assert caught.value.output == "placed\n"


def test_missing_sources_and_equal_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=r"absent\.sv does not exist"):
        tools.fingerprint([tmp_path / "absent.sv"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.sv").touch()
    with pytest.raises(IntarsiaError, match=r"two input files are named same\.sv"):
        tools.fingerprint([tmp_path / "a" / "same.sv", tmp_path / "b" / "same.sv"])


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(IntarsiaError, match=r"pip install 'intarsia\[synthesize\]'"):
        tools.tool_version("pyosys-that-nobody-has")


def test_results_are_kept_until_a_source_changes(tmp_path: Path) -> None:
    source, cache = tmp_path / "cell.sv", tmp_path / "cache"
    source.write_text("module cell_(input logic a_i, output logic b_o);\n  assign b_o = a_i;\nendmodule\n")
    design = Design((source,), "cell_")

    def cells() -> str:
        commands = [design.read_command(), "techmap", "tee -q -o stat.json stat -json"]
        return run_yosys(commands, inputs=[source], outputs=["stat.json"], cache=cache)["stat.json"]

    first = cells()
    [kept] = cache.iterdir()
    other = {"stat.json": "kept"}
    kept.write_text(json.dumps({"sum": digest_of_json(other), "result": other}))
    assert cells() == "kept"
    kept.write_text("{ damaged")
    assert json.loads(cells())["modules"] == json.loads(first)["modules"]
    source.write_text(source.read_text().replace("= a_i", "= ~a_i"))
    assert json.loads(cells())["design"]["num_cells"] == 1


def test_another_worker_gives_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "_worker.py"
    changed.write_text(yosys._WORKER.read_text() + "# changed\n")
    for _ in range(2):
        run_yosys(["tee -q -o log.txt log hello"], inputs=[], outputs=["log.txt"], cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(yosys, "_WORKER", changed)
    run_yosys(["tee -q -o log.txt log hello"], inputs=[], outputs=["log.txt"], cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("a\nx.sv:3:4: error: no such thing\nERROR: Compilation failed\n", "x.sv:3:4: error: no such thing"),
        ("warning: error prone\nERROR: Module not found\n", "ERROR: Module not found"),
        ("something\nlast words\n\n", "last words"),
        ("", "it ended without a message"),
    ],
)
def test_the_first_error_line_of_a_log_is_found(log: str, line: str) -> None:
    assert first_error(log) == line


def test_folders_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yosys hands its temporary folder, and the one that it is installed in, to a shell."""
    home = tmp_path / FOLDER.replace("$LIB", "")  # which the dynamic loader replaces, in every package of Python
    for name in ("tmp", "sources", "packages"):
        (home / name).mkdir(parents=True)
    source = Path(shutil.copy(CELL, home / "sources"))
    spec = find_spec("pyosys")
    assert spec is not None
    assert spec.origin is not None
    (home / "packages" / "pyosys").symlink_to(Path(spec.origin).parent)
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once
    monkeypatch.setenv("PYTHONPATH", f"{home / 'packages'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    report = transistors(Design((source,), "mac_cell"), cache=home / "cache")
    assert report.total > 0
    assert len(list((home / "cache").iterdir())) == 1
    assert not list((home / "tmp").iterdir())


def test_an_input_whose_name_would_change_the_command_is_refused(tmp_path: Path) -> None:
    library = tmp_path / "a b.lib"
    library.touch()
    with pytest.raises(IntarsiaError, match="unusual characters"):
        run_yosys([], inputs=(library,), outputs=())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "{}",
        lambda _: "[1]",
        lambda _: '{"sum": "", "result": {}}',
        lambda text: text.replace("3", "4"),
        lambda text: text.replace('"result"', '"results"'),
    ],
)
def test_a_damaged_result_is_computed_again(
    tmp_path: Path, spoil: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")  # packages of other tests turn logging off
    counts: list[int] = []

    def compute() -> dict[str, int]:
        counts.append(1)
        return {"area": 33}

    assert tools.cached(tmp_path, {"key": 1}, compute) == {"area": 33}
    (kept,) = tmp_path.iterdir()
    kept.write_text(spoil(kept.read_text(encoding="utf-8")), encoding="utf-8")
    assert tools.cached(tmp_path, {"key": 1}, compute) == {"area": 33}
    assert caplog.messages == [f"{kept} is damaged and is made again."]
    assert tools.cached(tmp_path, {"key": 1}, compute) == {"area": 33}
    assert len(counts) == 2


def test_bytes_that_are_no_result_are_computed_again(tmp_path: Path) -> None:
    tools.cached(tmp_path, {}, lambda: {"area": 33})
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"\xff\xfe\x00")
    assert tools.cached(tmp_path, {}, lambda: {"area": 34}) == {"area": 34}
