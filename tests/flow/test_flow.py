# SPDX-License-Identifier: Apache-2.0
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intarsia
from intarsia.errors import IntarsiaError
from intarsia.flow import BASELINES, BENCHMARKS, STAGES, Settings, run, run_stage
from intarsia.flow.api import _refuse_loss
from intarsia.flow.comparison import require_equal
from intarsia.flow.results import Compiled, Quantized, SearchedFormats
from intarsia.flow.scheduler import BackgroundTasks, locked, run_tasks
from intarsia.flow.stages import all_tasks, require_fit, tasks_until, variants
from intarsia.flow.task import Job, Record, Result, Task, read_record, record_path, result_of
from intarsia.integer.effective import effective_bits
from intarsia.integer.file import load
from intarsia.quantize import Scheme


def quiet(_: str) -> None:
    pass


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings("digits", folder, **{"seeds": (0,)} | changes)


@dataclass(frozen=True)
class Done:
    """The result of a task of these tests."""

    summary: str = "done"


class Chain:
    """Two tasks, the second of which reads what the first wrote; counts how often each runs."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def tasks(self, text: str = "a", factor: int = 2) -> list[Task[Result]]:
        first = Task("one", "x", "write", self.write, Done, {"text": text}, suffixes=("txt",))
        second = Task("two", "x", "repeat", self.repeat, Done, {"factor": factor}, needs=("one/x",), suffixes=("txt",))
        return [first, second]

    def write(self, job: Job) -> Done:
        self.ran.append("one")
        job.product("txt").write_text(job.task.parameters["text"])
        return Done()

    def repeat(self, job: Job) -> Done:
        self.ran.append("two")
        job.product("txt").write_text(job.input("one/x", "txt").read_text() * job.task.parameters["factor"])
        return Done("repeated")


def ran(chain: Chain, tasks: list[Task[Result]], folder: Path, force: frozenset[str] = frozenset()) -> list[str]:
    chain.ran.clear()
    run_tasks(tasks, settings_in(folder), force=force, say=quiet)
    return list(chain.ran)


def test_a_finished_task_is_skipped_and_a_changed_option_reruns_what_depends_on_it(tmp_path: Path) -> None:
    chain = Chain()
    assert ran(chain, chain.tasks(), tmp_path) == ["one", "two"]
    assert ran(chain, chain.tasks(), tmp_path) == []
    assert ran(chain, chain.tasks(factor=3), tmp_path) == ["two"]
    assert ran(chain, chain.tasks(text="b", factor=3), tmp_path) == ["one", "two"]
    assert (tmp_path / "two" / "x.txt").read_text() == "bbb"
    assert ran(chain, chain.tasks(text="b", factor=3), tmp_path, frozenset({"two"})) == ["two"]


def test_spaces_make_no_other_scheme() -> None:
    one, other = (settings_in(Path(), scheme=text) for text in ("ternary,last=int4", " ternary ,  last = int4"))
    assert one == other
    assert variants(one) == variants(other)
    assert settings_in(Path(), scheme="ternary+1:16xint4  a4").scheme == "ternary+1:16xint4 a4"


def test_baselines_have_scales_as_wide_as_the_scheme() -> None:
    settings = settings_in(Path(), scheme="superposition, scales=4", baselines=("ternary", "int8", "layerwise"))
    found = {variant.kind: variant.scheme for variant in variants(settings)}
    assert found["layerwise"] == "layerwise"
    assert {Scheme.parse(text).scale_bits for kind, text in found.items() if kind != "layerwise"} == {4}
    searched = next(task for task in all_tasks(settings) if task.id == "quantize/layerwise-scheme")
    assert searched.parameters["scale_bits"] == 4


def test_a_preset_goes_with_rules_for_each_network() -> None:
    settings = settings_in(Path(), scheme="superposition, scales=4")
    assert settings.scheme_text(settings.scheme) == f"{BENCHMARKS['digits'].scheme}, scales=4"
    own = BENCHMARKS["dscnn"].scheme
    assert Settings("dscnn", Path()).scheme_text("superposition, scales=5") == f"{own}, scales=5"


def test_a_layer_called_as_a_word_of_schemes_is_another_scheme_in_another_file() -> None:
    texts = ("ternary, first=digits2", 'ternary, "first"=digits2', 'ternary, "first "=digits2')
    found = [variants(settings_in(Path(), scheme=text))[0] for text in texts]
    assert len({variant.name for variant in found}) == len(texts)
    layers = [dict(Scheme.parse(variant.scheme).layers) for variant in found]
    assert [list(names) for names in layers] == [[], ["first"], ["first "]]
    settings = settings_in(Path(), scheme='superposition, "last"=int8, last=digits2')
    with pytest.raises(IntarsiaError, match=r'"last"=int8: the dense planes of .* hold weights of up to 121'):
        require_fit(settings)


def test_the_ternary_baseline_has_no_sparse_plane_and_no_layer_of_its_own() -> None:
    for name in BENCHMARKS:
        scheme = Scheme.parse(Settings(name, Path()).scheme_text("ternary"))
        assert not scheme.layers
        chosen = (scheme.default, scheme.first, scheme.last, scheme.depthwise)
        assert all(layer is None or layer.sparse is None for layer in chosen)


@pytest.mark.parametrize(
    ("part", "value"),
    [("result", {"summary": "better"}), ("result", None), ("files", None), ("seconds", "x"), ("key", [])],
)
def test_a_record_that_was_edited_is_not_believed(tmp_path: Path, part: str, value: Any) -> None:
    chain = Chain()
    ran(chain, chain.tasks(), tmp_path)
    record = tmp_path / "two" / "x.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {part: value}))
    assert ran(chain, chain.tasks(), tmp_path) == ["two"]
    assert json.loads(record.read_text())["result"] == {"summary": "repeated"}


@pytest.mark.parametrize("change", [{"sum": None}, {"result": {}}, {"result": {"summary": "x", "more": 1}}, {"new": 1}])
def test_a_record_of_another_version_is_refused_in_one_sentence_and_made_again(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    chain = Chain()
    ran(chain, chain.tasks(), tmp_path)
    path = tmp_path / "two" / "x.json"
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    with pytest.raises(IntarsiaError, match=r"two/x\.json was .*; run its stage again\.$"):
        read_record(path, Done)
    said: list[str] = []
    run_tasks(chain.tasks(), settings_in(tmp_path), say=said.append)
    assert [line for line in said if "two/x.json was" in line and line.endswith("run its stage again.")]
    assert said[0].endswith("done before")
    assert read_record(path, Done).result == Done("repeated")
    path.write_text("[" * 100_000)
    assert ran(chain, chain.tasks(), tmp_path) == ["two"]


def test_a_result_is_of_the_kind_that_its_reader_expects(tmp_path: Path) -> None:
    records = run_tasks(Chain().tasks(), settings_in(tmp_path), say=quiet)
    assert result_of(records, "two/x", Done) == Done("repeated")
    assert result_of(records, "three/x", Done) is None
    with pytest.raises(TypeError, match="Done, not Compiled"):
        result_of(records, "two/x", Compiled)


@pytest.mark.parametrize("damage", ["product", "record", "removed"])
def test_a_damaged_artifact_is_made_again(tmp_path: Path, damage: str) -> None:
    chain = Chain()
    ran(chain, chain.tasks(), tmp_path)
    product, record = tmp_path / "one" / "x.txt", tmp_path / "one" / "x.json"
    if damage == "removed":
        product.unlink()
    else:
        (product if damage == "product" else record).write_text("half a li")
    said: list[str] = []
    run_tasks(chain.tasks()[:1], settings_in(tmp_path), say=said.append)
    named = record if damage == "record" else product
    assert str(named) in said[0]
    assert product.read_text() == "a"
    # The second task's input came out the same, so the second need not run again.
    assert ran(chain, chain.tasks(), tmp_path) == []


def test_a_failed_task_leaves_no_record_and_what_was_before_it_stays(tmp_path: Path) -> None:
    chain = Chain()

    def fail(job: Job) -> Done:
        job.product("txt").write_text("half")
        raise IntarsiaError("no.")

    first, second = chain.tasks()
    run_tasks([first, second], settings_in(tmp_path), say=quiet)
    with pytest.raises(IntarsiaError, match="no"):
        run_tasks([first, replace(second, action=fail, parameters={})], settings_in(tmp_path), say=quiet)
    assert not record_path(tmp_path, second).exists()
    assert ran(chain, [first, second], tmp_path) == ["two"]
    assert (tmp_path / "two" / "x.txt").read_text() == "aa"


def test_two_runs_never_share_a_folder_and_leftovers_are_swept(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    half, others = tmp_path / "one" / ".x.txt.abcdefgh.part", tmp_path / "one" / ".download.part"
    half.write_text("half")
    others.write_text("another program's")
    with locked(tmp_path):
        assert half.exists()  # no run was here: it cannot be ours
    with locked(tmp_path):
        assert not half.exists()
        assert others.exists()
        with pytest.raises(IntarsiaError, match=rf"process {os.getpid()}.*--out"), locked(tmp_path):
            pass
    with locked(tmp_path), (tmp_path / ".lock").open() as lock, pytest.raises(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("kind", ["link", "dangling link", "text", "pipe", "folder"])
def test_what_is_not_a_lock_is_neither_followed_nor_changed(tmp_path: Path, kind: str) -> None:
    folder, valuable = tmp_path / "run", tmp_path / "valuable"
    folder.mkdir()
    lock = folder / ".lock"
    if kind == "link":
        valuable.write_text("1234")
    if "link" in kind:
        lock.symlink_to(valuable)
    elif kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.write_text("notes of mine")
    with pytest.raises(IntarsiaError, match=r"\.lock.*move it away or choose another folder"), locked(folder):
        pass
    assert valuable.exists() == (kind == "link")
    assert kind != "link" or valuable.read_text() == "1234"
    assert kind != "text" or lock.read_text() == "notes of mine"


@pytest.mark.parametrize("name", ["report.html", "results.json", "train"])
def test_a_folder_of_another_kind_is_not_written_over(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    (tmp_path / name).mkdir()
    settings = settings_in(tmp_path)
    for action in (lambda: run(settings, say=quiet), lambda: run_stage(settings, "train", say=quiet)):
        with pytest.raises(IntarsiaError, match=rf"is not the folder of a run, but holds {name}.*--out"):
            action()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_work_beside_gives_its_records_or_its_error(tmp_path: Path) -> None:
    chain = Chain()

    def bring(tasks: list[Task[Result]]) -> dict[str, Record[Result]]:
        return run_tasks(tasks, settings_in(tmp_path), say=quiet)

    def fail(_: Job) -> Done:
        raise IntarsiaError("no tool.")

    with locked(tmp_path) as lock:
        assert set(BackgroundTasks(bring, chain.tasks(), lock).result()) == {"one/x", "two/x"}
        with pytest.raises(IntarsiaError, match="no tool"):
            BackgroundTasks(bring, [Task("three", "x", "fail", fail, Done)], lock).result()
    with locked(tmp_path):
        pass


def test_work_beside_holds_the_folder_until_it_ends_and_begins_nothing_more(tmp_path: Path) -> None:
    chain, begun, go_on, stop = Chain(), threading.Event(), threading.Event(), threading.Event()

    def wait(_: Job) -> Done:
        begun.set()
        go_on.wait()
        return Done()

    def bring(tasks: list[Task[Result]]) -> dict[str, Record[Result]]:
        return run_tasks(tasks, settings_in(tmp_path), say=quiet, stop=stop)

    with locked(tmp_path) as lock:
        beside = BackgroundTasks(bring, [Task("zero", "x", "wait", wait, Done), *chain.tasks()], lock)
        begun.wait()
        stop.set()
    with pytest.raises(IntarsiaError, match="another run"), locked(tmp_path):
        pass
    go_on.set()
    assert set(beside.result()) == {"zero/x"}
    assert chain.ran == []
    with locked(tmp_path):
        pass


def test_what_is_routed_follows_from_network_and_option() -> None:
    def routed(settings: Settings) -> list[Any]:
        return [task.parameters["what"] for task in all_tasks(settings) if task.id == "synthesize/ecp5"]

    assert routed(settings_in(Path())) == []
    assert routed(settings_in(Path(), route="lane")) == ["lane"]
    assert routed(settings_in(Path(), route="engine")) == ["engine"]
    assert routed(Settings("resnet8", Path())) == ["engine"]
    assert routed(Settings("resnet8", Path(), route="none")) == []
    assert routed(Settings("resnet8", Path(), synthesis=False)) == []


def test_a_new_seed_quantizes_only_that_seed_and_never_trains_again() -> None:
    before, after = (
        {task.id: (task.parameters, task.needs) for task in all_tasks(settings_in(Path(), seeds=seeds))}
        for seeds in ((0,), (0, 1))
    )
    assert {name: before[name] for name in before} == {name: after[name] for name in before}
    kinds = ("superposition", "ternary")
    assert set(after) - set(before) == {f"{stage}/{kind}-seed1" for stage in ("quantize", "execute") for kind in kinds}


def test_the_digits_network_is_compared_with_three_seeds_of_each_kind() -> None:
    settings = Settings("digits", Path())
    found = [(variant.kind, variant.seed) for variant in variants(settings)]
    trained = [(kind, seed) for kind in ("superposition", "ternary") for seed in range(3)]
    assert found == [*trained, ("int8", 0)]  # which is not trained
    compiled = [task.id for task in all_tasks(settings) if task.stage == "compile"]
    assert compiled == ["compile/superposition-seed0", "compile/ternary-seed0"]


def test_the_formats_of_layers_are_searched_once_for_all_seeds() -> None:
    settings = settings_in(Path(), seeds=(3, 4), baselines=("layerwise",))
    tasks = {task.id: task for task in all_tasks(settings)}
    assert len(tasks) == len(all_tasks(settings))
    assert tasks["quantize/layerwise-scheme"].needs == ("train/float", "quantize/superposition-seed3")
    for seed in (3, 4):
        assert tasks[f"quantize/layerwise-seed{seed}"].needs == ("train/float", "quantize/layerwise-scheme")


def test_each_option_changes_only_what_depends_on_it() -> None:
    def keys(**changes: Any) -> dict[str, Any]:
        return {task.id: task.parameters for task in all_tasks(settings_in(Path(), **changes))}

    def changed(**changes: Any) -> set[str]:
        before, after = keys(), keys(**changes)
        return {name.split("/")[0] for name in before if before[name] != after.get(name)}

    assert changed(float_epochs=3) == {"train"}
    assert changed(epochs=3) == changed(rate=0.02) == changed(recipe="resnet8") == {"quantize"}
    assert changed(images=3) == {"simulate"}
    assert changed(onnx_images=3) == {"export-onnx"}
    assert changed(device="cuda", command="x", data_dir=Path("/d")) == set()


def test_a_changed_source_redoes_the_stages_that_use_it_and_no_training(tmp_path: Path) -> None:
    package = tmp_path / "intarsia"
    shutil.copytree(Path(intarsia.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import json, sys
from pathlib import Path
from intarsia.flow.settings import Settings
from intarsia.flow.stages import all_tasks
keys = lambda: {task.id: task.parameters for task in all_tasks(Settings("digits", Path()))}
for name in sys.argv[2:]:
    before = keys()
    with Path(sys.argv[1], name).open("a") as source:
        source.write("\\n")
    after = keys()
    print(json.dumps(sorted({task.split("/")[0] for task in after if after[task] != before[task]})))
"""
    sources = ["integer/kernels.py", "simulate/harness.cpp", "simulate/observe.vlt", "simulate/engine.py"]
    sources += ["engine/compiler.py", "engine/rtl/intarsia_lane.sv", "quantize/qat.py"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(package), *sources],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    simulated, hardware = ["simulate"], ["compile", "fit", "simulate", "synthesize"]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["compile", "execute", "export-onnx", "fit", "simulate", "synthesize"],
        *[simulated] * 3,
        *[hardware] * 2,
        [],
    ]


def test_settings_come_back_from_json(tmp_path: Path) -> None:
    settings = settings_in(
        tmp_path,
        seeds=(1, 2),
        data_dir=Path("/d"),
        route="none",
        energy="full",
        recipe="resnet8",
        rate=0.01,
        unit="dense",
        block=16,
        command="intarsia x",
    )
    assert Settings.from_json(json.loads(json.dumps(settings.as_json())), tmp_path) == settings
    wrong: list[dict[str, Any]] = [{"colour": 1}, {"network": "resnet9"}, {"seeds": 3}, {"scheme": 5}, {"images": "5"}]
    for damaged in ([], *(settings.as_json() | fields for fields in wrong), {"network": "digits"}):
        with pytest.raises(IntarsiaError, match=r"settings\.json was not written by this version .*; run it again\."):
            Settings.from_json(damaged, tmp_path)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("ternary+5:16xint8", "5 sparse weights .* at most 4 slots"),
        ("ternary+3:12xint8", "6 sparse weights"),
        ("ternary+3:24xint8", "6 sparse weights"),
        ("ternary+20:64xint8", "20:64 puts up to 16 sparse weights"),
        ("ternary+fixed5:24xint8", "fixed5:24 puts up to 5 sparse weights"),
        ("ternary+unstructured@0.05xint8", "no sparse planes of the pattern unstructured; choose"),
        ("ternary+outputs@0.05xint8", "no sparse planes of the pattern outputs; choose"),
        ("ternary+blocks4@0.05xint8", "no sparse planes of the pattern blocks4; choose"),
        ("ternary+taps@0.11xint8", "no sparse planes of the pattern taps; choose"),
        ("mix-outputs:int8@0.1/ternary", "no mixes of formats within a layer, such as mix-outputs:int8@0.1/ternary"),
        (
            "binary+1:16xint8, last=int8",
            "last=int8: the dense planes of a superposition unit hold .* up to 121, not int8",
        ),
        ("int4", "first=int8: .* not int8; choose int7 or digits5"),
        ("ternary a16", "at most 8 bits, not 16"),
        ("ternary, last=ternary+5:16xint8", "last=ternary.* 5 sparse weights"),
        ("ternary, depthwise=int8+1:16xint4", r"depthwise=int8\+1:16xint4: the dense planes"),
        ("superposition, layer4=ternary a16", "layer4=ternary a16: .*at most 8 bits"),
    ],
)
def test_a_scheme_that_the_engine_cannot_run_is_refused_before_any_work(
    tmp_path: Path, scheme: str, message: str
) -> None:
    settings = settings_in(tmp_path / "run", scheme=scheme)
    for walk in (
        run,
        lambda settings: run_stage(settings, "simulate"),
        lambda settings: run_stage(settings, "compile"),
    ):
        with pytest.raises(IntarsiaError, match=message):
            walk(settings)
    assert not (tmp_path / "run").exists()
    assert tasks_until(settings, "execute")


@pytest.mark.parametrize(
    ("scheme", "unit"),
    [
        ("superposition", "superposition"),
        ("ternary+2:16xint8", "superposition"),
        ("ternary+1:8xint8", "superposition"),
        ("ternary+1:32xint8", "superposition"),
        ("ternary+1:24xint8", "superposition"),
        ("ternary+fixed1:16xint8", "superposition"),
        ("ternary+fixed1:24xint8", "superposition"),
        ("ternary+4:16/16xint4 a4", "superposition"),
        ("digits3", "superposition"),
        ("superposition, first=default, scales=4", "superposition"),
        ("int4+1:16xint8, first=int7, depthwise=int2", "superposition"),
        ("binary", "superposition"),
        ("int8, scales=7", "dense"),
        ("int4+taps@0.2xint3", "dense"),
        ("mix-outputs:int8@0.1/ternary", "dense"),
        ("mix-outputs:int8@0.1/binary, first=int8", "mixed_rows"),
        ("ternary+1:16xint8", "mixed_rows"),
    ],
)
def test_a_scheme_that_the_engine_can_run_fits(scheme: str, unit: str) -> None:
    require_fit(settings_in(Path(), scheme=scheme, unit=unit))


@pytest.mark.parametrize("network", BENCHMARKS)
def test_each_networks_own_scheme_fits_its_own_engine(network: str) -> None:
    require_fit(
        Settings(
            network,
            Path(),
        )
    )


def test_a_stage_brings_what_it_depends_on_and_nothing_else() -> None:
    settings = settings_in(Path())
    assert [task.id for task in tasks_until(settings, "simulate")] == [
        "fit/engine",
        "train/float",
        "quantize/superposition-seed0",
        "simulate/superposition-seed0",
    ]
    untrained = settings_in(Path(), energy="none")
    assert {task.stage for task in tasks_until(untrained, "synthesize")} == {"fit", "synthesize"}
    assert {task.stage for task in tasks_until(settings, "execute")} == {"train", "quantize", "execute"}
    assert {stage.name for stage in STAGES} == {task.stage for task in all_tasks(settings)}


def test_schemes_make_names_that_are_safe_for_files() -> None:
    names = [variant.name for variant in variants(settings_in(Path(), scheme="ternary+2:16/16xint4 a4"))]
    assert names == ["ternary+2-16-16xint4-a4-seed0", "ternary-seed0", "int8"]


def test_a_long_scheme_still_names_a_file_and_no_two_the_same_one() -> None:
    rules = [f"block{n}.conv=int4" for n in range(40)]
    texts = [", ".join(["ternary", *some]) for some in (rules, rules[:-1])]
    names = [variants(settings_in(Path(), scheme=text))[0].name for text in texts]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 120


def test_a_layer_wise_baseline_takes_at_most_the_bits_of_the_scheme(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    formats = ("int8", "int6", "int4", "int3", "int2")
    settings = settings_in(
        tmp_path, float_epochs=1, epochs=0, baselines=("layerwise", "int4"), layerwise_formats=formats
    )
    records = run_stage(settings, "quantize")
    names = ["superposition-seed0", "layerwise-scheme", "layerwise-seed0", "int4-seed0"]
    assert list(records) == [f"quantize/{name}" for name in names]
    built, mixed = (
        effective_bits(load(tmp_path / "quantize" / f"{name}-seed0.safetensors")).per_weight
        for name in ("superposition", "layerwise")
    )
    assert mixed == pytest.approx(
        read_record(tmp_path / "quantize" / "layerwise-scheme.json", SearchedFormats).result.cost
    )
    assert mixed <= built
    assert len(set(read_record(tmp_path / "quantize" / "layerwise-seed0.json", Quantized).result.layers.values())) > 1


def test_a_layer_wise_baseline_of_the_engines_formats_takes_at_most_its_cycles(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    settings = settings_in(
        tmp_path,
        float_epochs=1,
        epochs=0,
        scheme="digits2",
        baselines=("layerwise",),
        layerwise_formats=("digits4", "digits2 a4", "ternary"),
        layerwise_budget="cycles",
    )
    records = run_stage(settings, "compile")
    assert list(records) == ["compile/digits2-seed0", "compile/layerwise-seed0"]
    built, mixed = (result_of(records, name, Compiled) for name in records)
    assert built is not None
    assert mixed is not None
    assert mixed.cycles <= built.cycles
    searched = read_record(tmp_path / "quantize" / "layerwise-scheme.json", SearchedFormats).result
    assert searched.cost <= searched.budget
    assert searched.unit == "cycles"


def test_layer_wise_formats_under_cycles_are_those_of_the_engine() -> None:
    settings = settings_in(Path(), baselines=("layerwise",), layerwise_budget="cycles")
    with pytest.raises(IntarsiaError, match=r"--layerwise-formats int8: the dense planes of .* not int8"):
        require_fit(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layerwise_budget": "joules"}, "no budget 'joules'; choose bits or cycles"),
        ({"layerwise_formats": ("int9",)}, "int9"),
        ({"layerwise_formats": ()}, "at least one"),
        ({"seeds": (1, 1)}, "different"),
        ({"seeds": (10**23,)}, "from 0 to 2147483647"),
        ({"epochs": -1}, "epochs"),
        ({"images": 0}, "images"),
        ({"scheme": "int8", "baselines": ("int8",)}, "baseline"),
        ({"scheme": "layerwise"}, "--baselines layerwise"),
        ({"baselines": ("int5",)}, "no baseline 'int5'"),
        ({"baselines": ("ternary", "ternary")}, "different ones, not ternary ternary"),
        ({"scheme": " ternary", "baselines": ("int8", "ternary")}, "already in --baselines"),
        ({"route_seconds": 0}, "seconds"),
        ({"energy": "joules"}, "not measured 'joules'; choose none, sampled or full"),
        ({"rate": 0.0}, "above 0 and at most 1, not 0"),
        ({"rate": 1.5}, "not 1.5"),
        ({"rate": float("nan")}, "not nan"),
        ({"recipe": "imagenet"}, "no recipe 'imagenet'; choose one of own, digits"),
        ({"recipe": "autoencoder"}, "trains for reconstruction, but digits is a network for classification"),
        ({"float_epochs": 3, "retrain": False}, "--retrain"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IntarsiaError, match=message):
        settings_in(Path(), **changes)


def test_every_network_of_the_registry_is_declared_with_what_its_run_does() -> None:
    pytest.importorskip("torch")
    from intarsia.datasets import DATASETS  # noqa: PLC0415
    from intarsia.networks import NETWORKS, zoo_path  # noqa: PLC0415

    assert list(BENCHMARKS) == list(NETWORKS)
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.dataset in DATASETS
        assert set(benchmark.baselines) <= set(BASELINES)
        assert bool(benchmark.retrain) + bool(benchmark.reference) + zoo_path(name).is_file() == 1
        assert benchmark.float_recipe or benchmark.reference


def test_a_reference_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTARSIA_DATA", raising=False)
    for data in (None, tmp_path):
        with pytest.raises(IntarsiaError, match=r"kws_ref_model_float32\.tflite into the folder"):
            run(Settings("dscnn", tmp_path / "run", data_dir=data))
    with pytest.raises(IntarsiaError, match="leave out --float-epochs"):
        Settings("dscnn", tmp_path, float_epochs=2)
    with pytest.raises(IntarsiaError, match="leave out --retrain"):
        Settings("dscnn", tmp_path, retrain=True)


def test_a_device_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    settings = settings_in(tmp_path / "run", device="xyz")
    for walk in (run, lambda settings: run_stage(settings, "execute")):
        with pytest.raises(IntarsiaError, match="no device 'xyz'"):
            walk(settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content",
    ["[]", '{"stages": 3}', '{"format": "intarsia-results-2"}', '{"format": "intarsia-results-4"}', "[" * 100_000],
)
def test_damaged_results_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(IntarsiaError, match=r"results\.json .*delete it"):
        _refuse_loss(settings_in(tmp_path), {})


def test_a_difference_names_layer_and_image() -> None:
    values = np.zeros((3, 2, 2), np.int8)
    wrong = values.copy()
    wrong[2, 1, 0] = 1
    with pytest.raises(IntarsiaError, match=r"engine differs .* layer conv1, image 12: 1 of 12"):
        require_equal("the engine", "conv1", wrong, values, 10)
    with pytest.raises(IntarsiaError, match="shape"):
        require_equal("the engine", "conv1", values[:, :1], values, 0)
