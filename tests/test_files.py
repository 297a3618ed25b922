# SPDX-License-Identifier: Apache-2.0
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from hostile import FOLDER
from intarsia.errors import IntarsiaError
from intarsia.files import STALE, open_fresh, require_readable, require_writable, save_tensors, sweep, write_text
from intarsia.integer import file
from intarsia.networks import load_weights
from intarsia.report.study import read_results
from random_networks import random_layer_network

#: Each saves something of more than 512 bytes to the path in `sys.argv[1]`.
SAVERS = {
    "network": """
from intarsia.integer import file
from intarsia.networks import load_weights
from intarsia.report.study import read_results
file.save(file.load(Path(sys.argv[2])), path)
""",
    "weights": """
from intarsia.networks import WeightsCard, build, save_weights
save_weights(path, build("digits"), WeightsCard("digits", "", 0, 0, "", 0.0, 0.0, ""))
""",
    "checkpoint": """
import torch
from intarsia.quantize.checkpoint import Progress, save_checkpoint
model = torch.nn.Linear(40, 40)
save_checkpoint(path, model, torch.optim.SGD(model.parameters()), "", Progress([]))
""",
}


@pytest.mark.parametrize("kind", SAVERS)
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("resource")
    if kind != "network":
        pytest.importorskip("torch")
    network, target = tmp_path / "network.safetensors", tmp_path / "made" / "target.safetensors"
    file.save(random_layer_network(np.random.default_rng(3), kind="conv"), network)
    target.parent.mkdir()
    target.write_text("old")
    # A limit on the size of files stops a write in its middle, as a full disk does.
    code = f"""
import resource, sys
from pathlib import Path
from intarsia.errors import IntarsiaError
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
try:
    {SAVERS[kind].strip().replace(chr(10), chr(10) + "    ")}
except IntarsiaError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(target), str(network)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    assert str(target) in done.stdout
    assert "free some space" in done.stdout
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_tensors_of_any_shape_and_order_come_back(tmp_path: Path) -> None:
    tensors = {
        "number": np.array(3, np.int64),
        "none": np.zeros((0, 4), np.float32),
        "turned": np.arange(24, dtype=np.int32).reshape(2, 3, 4).transpose(2, 0, 1),
        "flags": np.array([True, False]),
    }
    save_tensors(tmp_path / "t.safetensors", tensors)
    loaded = load_file(tmp_path / "t.safetensors")
    assert {name: (values.dtype, values.tolist()) for name, values in loaded.items()} == {
        name: (values.dtype, values.tolist()) for name, values in tensors.items()
    }


def test_equal_content_is_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from intarsia.files import save_tensors
for number in range(20):
    words = {word: word for word in ("format", "card", "identity", "records")}
    save_tensors(Path(sys.argv[1], f"{number}.safetensors"), {"a": np.ones(3), "b": np.zeros(2, np.int8)}, words)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0.safetensors", framework="numpy") as stored:
        assert stored.metadata()["identity"] == "identity"
        assert stored.get_tensor("a").tolist() == [1, 1, 1]


def test_only_old_leftovers_are_swept_where_others_work(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / ".link.part").symlink_to(outside)
    sweep([tmp_path / ".link.part"])
    assert list(tmp_path.iterdir()) == [outside]
    outside.rmdir()
    old, new, folder = tmp_path / ".old.part", tmp_path / ".new.part", tmp_path / ".folder.part"
    for path in (old, new):
        path.write_text("half")
    folder.mkdir()
    (folder / "inside").write_text("half")
    past = time.time() - STALE - 60
    for path in (old, folder):
        os.utime(path, (past, past))
    sweep(tmp_path.glob(".*.part"), older_than=STALE)
    assert list(tmp_path.iterdir()) == [new]
    sweep(tmp_path.glob(".*.part"))
    assert list(tmp_path.iterdir()) == []
    sweep((tmp_path / "nothing").glob("*"))


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        plain = tmp_path / "plain"
        plain.touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444], ids=oct)
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch(mode)
    path.chmod(mode)
    write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)


@pytest.mark.parametrize("name", [FOLDER, "é" * 127, "n" * 255, "-n", "\udcff"], ids=ascii)
def test_a_file_of_any_name_is_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_device_a_pipe_or_a_stream_is_never_replaced(tmp_path: Path) -> None:
    pipe, stream, folder = tmp_path / "pipe", tmp_path / "stdout", tmp_path / "folder"
    os.mkfifo(pipe)
    stream.symlink_to("/proc/self/fd/1")
    folder.mkdir()
    for path in (pipe, stream, folder, Path("/dev/null")):
        with pytest.raises(IntarsiaError, match=f"cannot write {path}: it is "):
            write_text(path, "words")
    assert pipe.is_fifo()
    assert stream.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe", "stdout"]


def test_what_a_link_leads_to_keeps_its_content(tmp_path: Path) -> None:
    valuable, link, log = tmp_path / "valuable", tmp_path / "link", tmp_path / "log"
    valuable.write_text("old")
    link.symlink_to(valuable)
    log.symlink_to(valuable)
    write_text(link, "new")
    with open_fresh(log) as file:
        file.write(b"new")
    assert (valuable.read_text(), link.read_text(), log.read_text()) == ("old", "new", "new")


def test_a_folder_that_cannot_be_written_is_known_before_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "file/below", "loop", "loop/below", "x" * 300):
        with pytest.raises(IntarsiaError, match=r"cannot write .*; choose another\.$"):
            require_writable(tmp_path / name, "choose another")
    require_writable(tmp_path / "new" / "below", "choose another")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


def test_each_reason_why_a_file_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "none": "there is no file",
        "": "Is a directory",
        "loop": "Too many levels of symbolic links",
        "file/below": "Not a directory",
        "x" * 300: "File name too long",
        "pipe": "a device or a pipe",
    }
    for name, reason in reasons.items():
        for read in (require_readable, file.load, load_weights, read_results):
            if read is not read_results or name not in ("", "none"):
                with pytest.raises(IntarsiaError, match=reason):
                    read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator reads everything")
def test_a_forbidden_file_is_not_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "secret").chmod(0)
    with pytest.raises(IntarsiaError, match="Permission denied"):
        file.load(tmp_path / "secret")
