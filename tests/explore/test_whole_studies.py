# SPDX-License-Identifier: Apache-2.0
"""Whole studies with real workers, killed in every way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from digits_study import FIRST, SECOND, Server
from intarsia.cli import main
from intarsia.errors import IntarsiaError
from intarsia.explore.jobs import Entry
from intarsia.explore.options import StudyOptions
from intarsia.explore.run import explore
from intarsia.explore.source import identity, settings_of
from intarsia.explore.store import Store
from intarsia.flow.results import TrainedFloat
from intarsia.flow.task import read_record, write_record
from patience import DEADLINE, wait_for

#: Seconds between two heartbeats: those of a busy machine come late, and three missing ones mean a dead worker.
BEAT = 2


def options_in(runs: Path, **changes: object) -> StudyOptions:
    return StudyOptions(runs, "study", **({"heartbeat": BEAT} | changes))  # type: ignore[arg-type]


def entries(store: Store) -> list[Entry]:
    return [entry for rung in (0, 1) for entry in store.entries(rung)]


def done(found: Sequence[Entry]) -> dict[tuple[int, str], Entry]:
    """Return what is done, by job; fail if a job is done twice."""
    finished = [entry for entry in found if entry.state == "done"]
    by_job = {(entry.job.rung, entry.job.key): entry for entry in finished}
    assert len(by_job) == len(finished)
    return by_job


def workers_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                command = (folder / "cmdline").read_bytes()
                if b"intarsia.explore.worker" in command:
                    found.append(int(folder.name))
        except OSError:
            continue
    return found


def start(runs: Path, *more: str, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "intarsia.cli", "explore", str(runs.parent / "space.yaml"), "--study", "study"]
    command += ["--out", str(runs), "--workers", "2", "--heartbeat", str(BEAT), *more]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def test_a_worker_that_is_killed_is_started_again_and_nothing_is_done_twice(runs: Path) -> None:
    said: list[str] = []
    store = Store(f"sqlite:///{runs.parent / 'shared.db'}", "study", heartbeat=BEAT)

    def kill() -> None:
        wait_for(lambda: len(workers_of(os.getpid())) == 2 and _has(store, "running"))
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    results = explore(runs.parent / "space.yaml", options_in(runs, workers=2, storage=store.url), say=said.append)
    killer.join()
    assert len(done(entries(store))) == FIRST + SECOND
    assert any("started again" in line for line in said)
    assert len(results.designs) == FIRST
    home = runs / "studies" / "study"
    assert json.loads((home / "results.json").read_text())["name"] == "study"
    assert (home / "designs.csv").read_text().count("\n") == FIRST + 1
    assert (home / "study.html").stat().st_size > 1_000_000  # Plotly is inside
    assert not workers_of(os.getpid())


def _has(store: Store, state: str) -> bool:
    try:
        return any(entry.state == state for entry in store.entries(0))
    except IntarsiaError:
        return False  # the study is not made yet


def test_a_study_of_which_all_is_killed_goes_on_where_it_was(runs: Path) -> None:
    process = start(runs)
    url = f"sqlite:///{runs / 'studies' / 'study' / 'study.db'}"
    wait_for((runs / "studies" / "study" / "study.db").exists)
    store = Store(url, "study", heartbeat=BEAT)
    wait_for(lambda: _has(store, "done"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not workers_of(process.pid))
    before = done(entries(store))
    results = explore(runs.parent / "space.yaml", options_in(runs, workers=2), say=lambda _: None)
    after = done(entries(store))
    assert len(after) == FIRST + SECOND
    assert {key: after[key] for key in before} == before
    assert {design.rung for design in results.designs} == {0, 1}
    # With another float network the figures would not compare.
    path = runs / "digits" / "train" / "float.json"
    kept = read_record(path, TrainedFloat)
    write_record(path, replace(kept, files={**kept.files, "another": "1"}))
    with pytest.raises(IntarsiaError, match="another float network"):
        Store(url, "study").require(identity(settings_of("digits", runs, None), Store(url, "study").space()))
    write_record(path, kept)
    # Once more: nothing is left to do.
    assert explore(runs.parent / "space.yaml", options_in(runs, workers=1), say=lambda _: None) == results
    assert done(entries(store)) == after


def test_two_machines_share_a_study_on_postgresql_that_loses_its_connections(runs: Path, server: Server) -> None:
    processes = [start(runs, "--storage", server.url), start(runs.parent / "runs", "--storage", server.url)]
    store = Store(server.url, "study", heartbeat=BEAT)
    wait_for(lambda: _has(store, "done"))
    for _ in range(3):  # every connection is cut, ours too
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        time.sleep(1)
    server.control("restart", "-m", "immediate")
    for process in processes:
        assert process.wait(DEADLINE) == 0
    found = done(entries(store))
    assert len(found) == FIRST + SECOND
    assert len({entry.worker for entry in found.values()}) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "there is no file nowhere.yaml"),
        (["energy.yaml"], "fetch it with `intarsia pdk`, give its folder with PDK_ROOT"),
        (["space.yaml", "--storage", "postgresql+psycopg://me:secret@127.0.0.1:1/x"], "cannot be reached"),
        (["space.yaml", "--out", "/proc/nowhere"], "cannot write /proc/nowhere"),
        (["space.yaml", "--data", "nowhere"], "there is no folder of data sets at nowhere"),
        (["space.yaml", "--workers", "-1"], "workers"),
        (["space.yaml", "--threads", "99999999999"], "threads must be 1 to 1,024, not 99999999999"),
        (["space.yaml", "--heartbeat", "0"], "heartbeat must be 1 to 86,400, not 0"),
        (["space.yaml", "--device", "meta"], "has no device 'meta'"),
        (["space.yaml", "--device=-x"], "has no device '-x'"),
        (["space.yaml", "--out", "space.yaml"], "cannot write space.yaml"),
        (["space.yaml", "--storage", "sqlite:///space.yaml"], "is damaged (file is not a database)"),
        (["space.yaml", "--workers", "0"], "there is no study space"),
        (["space.yaml", "--study", "../elsewhere"], "names no folder"),
        (["refused.yaml", "--out", "runs"], "no design of the study refused can be evaluated"),
        (["builtin.yaml"], "would share the folder of the built-in network digits"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(runs.parent)
    Path("refused.yaml").write_text(
        "network: digits\nschemes: ['ternary, nowhere=int8']\ncalibration: 64", encoding="utf-8"
    )
    monkeypatch.delenv("PDK_ROOT", raising=False)
    monkeypatch.setenv("INTARSIA_CACHE", str(runs.parent / "cache"))  # which may hold a fetched PDK
    Path("energy.yaml").write_text(
        "network: digits\nschemes: [ternary]\nobjectives: [accuracy, memory_energy]", encoding="utf-8"
    )
    Path("builtin.yaml").write_text("network: there/digits.onnx\nschemes: [int8]", encoding="utf-8")
    assert main(["explore", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert "Traceback" not in error
    assert "secret" not in error


def test_a_study_may_be_called_like_an_option(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    Path("one.yaml").write_text("network: digits\nschemes: [ternary]\ncalibration: 64", encoding="utf-8")
    assert main(["explore", "one.yaml", "--out", "runs", "--study=-x", "--quiet"]) == 0
    assert (runs / "studies" / "-x" / "study.html").is_file()


def test_a_folder_that_is_not_of_a_study_is_not_written_over(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    mine = runs / "studies" / "mine"
    mine.mkdir(parents=True)
    (mine / "designs.csv").write_text("chairs,tables")
    assert main(["explore", "space.yaml", "--out", "runs", "--study", "mine"]) == 2
    assert "is not the folder of a study, but holds designs.csv" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["designs.csv"]


def test_messages_of_a_worker_never_go_through_a_link(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    Path("one.yaml").write_text("network: digits\nschemes: [ternary]\ncalibration: 64", encoding="utf-8")
    home = runs / "studies" / "linked"
    home.mkdir(parents=True)
    Path("valuable").write_text("old", encoding="utf-8")
    (home / "worker0.log").symlink_to(Path("valuable").absolute())
    assert main(["explore", "one.yaml", "--out", "runs", "--study", "linked", "--quiet"]) == 0
    assert Path("valuable").read_text(encoding="utf-8") == "old"


def test_a_design_of_the_front_is_taken_to_hardware(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    assert main(["explore", "space.yaml", "--out", "runs", "--study", "study", "--workers", "2"]) == 0
    study = str(runs / "studies" / "study")
    built = ["compile", "digits", "--out", "runs", "--epochs", "0", "--baselines"]
    results = json.loads((runs / "studies" / "study" / "results.json").read_text())
    first = min((d for d in results["designs"] if d["on_front"]), key=lambda d: d["metrics"]["bits"])
    assert first["measured_on"] == "superposition"
    assert main([*built, "--from-study", study, "--design", "1"]) == 0
    assert f"{first['metrics']['cycles']:,.0f} cycles" in capsys.readouterr().out
    assert main([*built, "--from-study", study, "--design", "99"]) == 2
    assert "the Pareto front has designs 1 to" in capsys.readouterr().err
    assert main([*built, "--from-study", study, "--transforms", "permute"]) == 2
    assert "--transforms cannot be combined with --from-study" in capsys.readouterr().err
    assert main(["compile", "resnet8", "--out", "runs", "--from-study", study]) == 2
    assert "is of digits, not of resnet8" in capsys.readouterr().err


@pytest.mark.pdk
@pytest.mark.usefixtures("pdk")
def test_a_study_weighs_the_energy_of_memories_and_keeps_its_library(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    Path("energy.yaml").write_text(
        "network: digits\nschemes: [ternary, ternary+2:16xint8, 'mix-outputs:int8@0.1/int2']\n"
        "objectives: [accuracy, memory_energy]\ncalibration: 64\nimages: 64",
        encoding="utf-8",
    )
    command = ["explore", "energy.yaml", "--out", "runs", "--study", "energy"]
    assert main([*command, "--workers", "1"]) == 0
    results = json.loads((runs / "studies" / "energy" / "results.json").read_text())
    found = {design["scheme"]: design["metrics"]["memory_energy"] for design in results["designs"]}
    assert 0 < found["ternary"] < found["ternary+2:16xint8"]
    assert found["mix-outputs:int8@0.1/int2"] > 0  # on a dense unit of 8 bits, in one pass per layer
    assert '"front-memory_energy"' in (runs / "studies" / "energy" / "study.html").read_text()
    other = Path("other") / "ihp-sg13g2" / "libs.ref"
    shutil.copytree(Path(os.environ["PDK_ROOT"]) / "ihp-sg13g2" / "libs.ref", other)
    next((other / "sg13g2_sram" / "lib").glob("*1P_64x64*typ*")).unlink()
    monkeypatch.setenv("PDK_ROOT", str(Path("other").resolve()))
    capsys.readouterr()
    assert main([*command, "--workers", "1"]) == 2
    assert "began with another library of SRAM macros" in capsys.readouterr().err
    monkeypatch.setenv("PDK_ROOT", "/nowhere")
    assert main([*command, "--workers", "0"]) == 0  # what is there can be read without
