# SPDX-License-Identifier: Apache-2.0
"""Every format that Intarsia reads: small files of it, how they are damaged, and what reads them."""

import io
import json
import random
import tempfile
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fuzz.mutations import (
    Mutation,
    damaged_array,
    damaged_bytes,
    damaged_entry,
    damaged_header,
    damaged_json,
    damaged_onnx,
    damaged_text,
    damaged_words,
)

#: Multiply-accumulates of a damaged network that is still run: the rest of them are valid, but slow.
_MOST_WORK = 20_000_000


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        suffix: of its files.
        seeds: files of it, made on the first call.
        mutations: one is drawn for each input.
        read: takes a file; it returns, or raises IntarsiaError.
    """

    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    mutations: Sequence[Mutation]
    read: Callable[[Path], object]


def _import(path: Path) -> None:
    from intarsia.networks.importers import import_float  # noqa: PLC0415 (loads PyTorch)

    import_float(path)


def _import_both(path: Path) -> None:
    from intarsia.errors import IntarsiaError  # noqa: PLC0415
    from intarsia.networks.importers import import_float, import_integer  # noqa: PLC0415

    try:
        import_float(path)
    except IntarsiaError:
        import_integer(path)


def _tflite() -> Sequence[bytes]:
    from test_import_tflite import everything, quantized_network  # noqa: PLC0415

    return everything(0), everything(1, half=True), quantized_network(0)[0]


def _onnx() -> Sequence[bytes]:
    from test_import_onnx import Brevitas, everything, quantize_pairs  # noqa: PLC0415

    return everything(), Brevitas().graph(), quantize_pairs()


def _pt2() -> Sequence[bytes]:
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    target = io.BytesIO()
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 2, 4, 4),)), target)
    return (target.getvalue(),)


def _keras() -> Sequence[bytes]:
    from intarsia.networks.importers._keras_file import import_keras  # noqa: PLC0415

    keras = import_keras()
    layers = keras.layers
    stem = layers.Conv2D(3, 3, activation="relu")
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), stem, layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.keras"
        model.save(path)
        return (path.read_bytes(),)


def _frozen() -> Sequence[bytes]:
    from intarsia.integer import file  # noqa: PLC0415
    from random_networks import random_network  # noqa: PLC0415

    found = []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(4):
            file.save(random_network(np.random.default_rng(seed)), Path(name) / "a")
            found.append((Path(name) / "a").read_bytes())
    return found


def _run_frozen(path: Path) -> None:
    from intarsia.engine import compile_network  # noqa: PLC0415
    from intarsia.integer import file  # noqa: PLC0415
    from intarsia.integer.executor import Executor  # noqa: PLC0415
    from intarsia.integer.layers import Conv2d, Linear  # noqa: PLC0415

    network = file.load(path)
    file.save(network, path.with_suffix(".again"))
    file.load(path.with_suffix(".again"))
    compile_network(network)
    work = sum(
        layer.planes[0].weights.size * layer.output.shape[1] * layer.output.shape[2]
        for layer in network.layers
        if isinstance(layer, Conv2d | Linear)
    )
    if work <= _MOST_WORK and np.prod(network.input.shape) <= _MOST_WORK:
        Executor(network).run(np.zeros((1, *network.input.shape), np.int64))


def _arrays() -> Sequence[bytes]:
    found = []
    for values in (np.arange(12.0).reshape(3, 4), np.zeros((2, 1, 3), np.uint8), np.array(["a", "bc"])):
        target = io.BytesIO()
        np.save(target, values)
        found.append(target.getvalue())
    return found


def _archives() -> Sequence[bytes]:
    draw = np.random.default_rng(0)
    found = []
    for x in (draw.integers(0, 256, (40, 3, 5, 5), np.uint8), draw.normal(size=(40, 6)).astype(np.float32)):
        for save in (np.savez, np.savez_compressed):
            target = io.BytesIO()
            save(target, x=x, y=np.arange(40) % 3, classes=np.array(["a", "b", "c"]), unit=np.array(0.5))
            found.append(target.getvalue())
    return found


def _read_array(path: Path) -> None:
    from intarsia.array_files import map_npy, read_npy  # noqa: PLC0415

    read_npy(path)
    map_npy(path)


def _own_data(path: Path) -> None:
    from intarsia.datasets import from_npz  # noqa: PLC0415

    from_npz(path)


def _sounds() -> Sequence[bytes]:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(range(200)) * 4)
    return (target.getvalue(),)


def _read_sound(path: Path) -> None:
    from intarsia.datasets.audio import read_wav  # noqa: PLC0415

    read_wav(path)


def _pictures() -> Sequence[bytes]:
    from PIL import Image  # noqa: PLC0415

    target = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(target, "JPEG")
    return (target.getvalue(),)


def _read_picture(path: Path) -> None:
    from intarsia.datasets.visual_wake_words import decode  # noqa: PLC0415

    decode(path)


_LIBERTY = """library(small) {
  /* cells */ time_unit : "1ns";
  cell(sg13g2_nand2_1) { area : 7.2576; pin(A) { direction : input; } }
  cell(RM_1P_64x64) {
    area : 12000.5
    memory() { type : ram; address_width : 6; word_width : 64; }
    pin(A_CLK) {
      clock : true;
      internal_power() { when : "A_MEN & !A_WEN & A_REN"; rise_power(scalar) { values("12.5"); } }
    }
  }
}
"""


def _read_liberty(path: Path) -> None:
    from intarsia.synthesize.liberty import read_liberty  # noqa: PLC0415

    read_liberty(path)


_SPACE = """network: resnet8
scales: [4, 16]
layers:
  - default: {dense: [ternary, int2], sparse: [int4, int8], pattern: [1:16, blocks4, inputs], density: [0.05]}
  - first: digits4
search: {kind: grid}
rungs: [{epochs: 0, images: 500}, {epochs: 2, seeds: [0, 1]}]
"""


def _read_space(path: Path) -> None:
    from intarsia.explore.space_file import read_space  # noqa: PLC0415

    read_space(path)


_SCHEMES = (
    b"superposition, first=digits3, last=default, scales=8",
    b"ternary+1:16/16xint4 a4, depthwise=digits2",
    b"mix-outputs(int8@0.25,int4@0.25,ternary)",
    b'ternary+blocks4@0.05xint8, "block.1"=int4',
    b"equalize+widen1.5/16+permute",
)


def _read_texts(path: Path) -> None:
    from intarsia.errors import IntarsiaError  # noqa: PLC0415
    from intarsia.quantize.scheme import Scheme  # noqa: PLC0415
    from intarsia.quantize.transforms.settings import Transforms  # noqa: PLC0415

    text = path.read_bytes().decode("utf-8", "surrogateescape")
    try:
        Scheme.parse(text)
    except IntarsiaError:
        Transforms.parse(text)


def _checkpoints() -> Sequence[bytes]:
    from intarsia.quantize.checkpoint import EpochRecord, Progress, save_checkpoint  # noqa: PLC0415

    model, optimizer = _trained()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "state"
        save_checkpoint(path, model, optimizer, "this", Progress([EpochRecord(0, 0.5, 0.75, 0.5, 1.0)]))
        return (path.read_bytes(),)


def _trained():  # type: ignore[no-untyped-def]
    import torch  # noqa: PLC0415

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


def _read_checkpoint(path: Path) -> None:
    from intarsia.quantize.checkpoint import load_checkpoint  # noqa: PLC0415

    load_checkpoint(path, *_trained(), "this")


def _records() -> Sequence[bytes]:
    from intarsia.flow.results import Score  # noqa: PLC0415
    from intarsia.flow.task import Record, write_record  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        write_record(path, Record({"a": [1]}, {"f": "00"}, Score("accuracy", 0.5, 10), 1.0, {"python": "3"}))
        return (path.read_bytes(),)


def _read_record(path: Path) -> None:
    from intarsia.flow.results import Score  # noqa: PLC0415
    from intarsia.flow.task import read_record  # noqa: PLC0415

    read_record(path, Score)


def _settings() -> Sequence[bytes]:
    from intarsia.flow import Settings  # noqa: PLC0415

    return (json.dumps(Settings("digits", Path("runs")).as_json()).encode(),)


def _read_settings(path: Path) -> None:
    from intarsia.files import read_json  # noqa: PLC0415
    from intarsia.flow import Settings  # noqa: PLC0415

    Settings.from_json(read_json(path), path.parent)


FORMATS: Mapping[str, Format] = {
    "tflite": Format(".tflite", cache(_tflite), (damaged_bytes, damaged_words), _import_both),
    "onnx": Format(".onnx", cache(_onnx), (damaged_bytes, damaged_onnx, damaged_onnx), _import_both),
    "pt2": Format(".pt2", cache(_pt2), (damaged_bytes, damaged_entry((damaged_bytes, damaged_text))), _import),
    "frozen": Format(
        ".safetensors",
        cache(_frozen),
        (damaged_bytes, damaged_header("intarsia"), damaged_header("intarsia")),
        _run_frozen,
    ),
    "npy": Format(".npy", cache(_arrays), (damaged_bytes, damaged_array), _read_array),
    "npz": Format(".npz", cache(_archives), (damaged_bytes, damaged_entry((damaged_bytes, damaged_array))), _own_data),
    "wav": Format(".wav", cache(_sounds), (damaged_bytes, damaged_words), _read_sound),
    "jpeg": Format(".jpg", cache(_pictures), (damaged_bytes,), _read_picture),
    "liberty": Format(".lib", lambda: (_LIBERTY.encode(),), (damaged_bytes, damaged_text), _read_liberty),
    "space": Format(".yaml", lambda: (_SPACE.encode(),), (damaged_bytes, damaged_text), _read_space),
    "scheme": Format(".txt", lambda: _SCHEMES, (damaged_bytes, damaged_text), _read_texts),
    "checkpoint": Format(
        ".checkpoint", cache(_checkpoints), (damaged_bytes, damaged_header("records")), _read_checkpoint
    ),
    "record": Format(".json", cache(_records), (damaged_bytes, damaged_json, damaged_text), _read_record),
    "settings": Format(".json", cache(_settings), (damaged_bytes, damaged_json, damaged_text), _read_settings),
}
if find_spec("keras") is not None:
    _KERAS = Format(".keras", cache(_keras), (damaged_bytes, damaged_entry((damaged_bytes, damaged_text))), _import)
    FORMATS = {**FORMATS, "keras": _KERAS}


def damaged(name: str, seed: int) -> bytes:
    """Return the input of a format that a number stands for."""
    kind, draw = FORMATS[name], random.Random(f"{name} {seed}")
    return draw.choice(kind.mutations)(draw, draw.choice(kind.seeds()))
