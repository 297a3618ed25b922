# SPDX-License-Identifier: Apache-2.0
"""From a .pt2 file, as `torch.export.save` writes it, to a `Program`.

The file is a zip archive: the graph is JSON, parameters are raw bytes. `torch.export.load` would also unpickle example
inputs and whatever else the archive holds, evaluate expressions for sizes, and load compiled libraries; nothing of that
is needed, and nothing of it is read here.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._aten import read_program
from intarsia.networks.importers._graph import Floats, Graph
from intarsia.networks.importers._program import (
    LARGEST,
    Argument,
    Call,
    Kind,
    Program,
    Ref,
    Stored,
    module_path,
    plain_operator,
)

_SCHEMA = 8  # major version of the graph's JSON: PyTorch 2.5 and later
#: Element types by their numbers in the file.
_TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_FLOATING = (6, 7, 8, 13)
_SPECIAL = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}
_Json = Mapping[str, Any]


def read_pt2(path: Path) -> Graph:
    """Read a .pt2 file.

    Raises:
        IntarsiaError: it is damaged, is not an exported program, holds pickled objects that the network needs, or has
            an operator, a shape or a size that is not supported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            program = _Archive(path.name, archive).program()
    except IntarsiaError:
        raise
    except Exception as error:  # zip and JSON of any content: whatever is missing or has another type
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise IntarsiaError(
            f"{path.name} is damaged, or is not a file of torch.export.save ({reason}); export it again."
        ) from error
    return read_program(program)


class _Archive:
    def __init__(self, source: str, archive: zipfile.ZipFile) -> None:
        self.source, self.archive = source, archive
        self.files = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in self.files.values()):
            raise self._foreign("its parts are compressed")

    def program(self) -> Program:
        models = [name for name in self.files if name.startswith("models/")]
        if self._text("archive_format") != "pt2" or len(models) != 1:
            old = "serialized_exported_program.json" in [info.filename for info in self.archive.infolist()]
            raise self._foreign("PyTorch 2.7 or older wrote it" if old else f"it holds {len(models)} exported programs")
        if self.files.keys() & {"byteorder"} and self._text("byteorder") != "little":
            raise self._foreign("its numbers are big-endian")
        model = json.loads(self._read(models[0]))
        if model["schema_version"]["major"] != _SCHEMA:
            raise self._foreign(f"its schema is {model['schema_version']['major']}, not {_SCHEMA}")
        name = models[0].removeprefix("models/").removesuffix(".json")
        return self._program(model["graph_module"], name)

    def _foreign(self, why: str) -> IntarsiaError:
        return IntarsiaError(f"{self.source} cannot be read: {why}; save it with torch.export.save of PyTorch 2.13.")

    def _read(self, name: str) -> bytes:
        if name not in self.files:
            raise self._foreign(f"{name} is missing")
        return self.archive.read(self.files[name])

    def _text(self, name: str) -> str:
        return self._read(name).decode().strip() if name in self.files else ""

    def _program(self, module: _Json, name: str) -> Program:
        graph, signature = module["graph"], module["signature"]
        weights = self._payload(f"data/weights/{name}_weights_config.json")
        constants = self._payload(f"data/constants/{name}_constants_config.json")
        inputs, stored = [], {}
        for spec in signature["input_specs"]:
            [(kind, given)] = spec.items()
            if kind == "user_input":
                [(form, argument)] = given["arg"].items()
                inputs.append(str(argument["name"]) if form == "as_tensor" else f"a constant ({form})")
            elif kind in ("parameter", "buffer", "tensor_constant"):
                target = given[f"{kind}_name"]
                folder, config = ("weights", weights) if target in weights else ("constants", constants)
                stored[given["arg"]["name"]] = Stored(target, self._tensor(target, folder, config))
            elif kind != "token":
                raise IntarsiaError(f"{self.source} has a {kind.replace('_', ' ')}, which is not supported.")
        kinds = {key: _kind(meta) for key, meta in graph["tensor_values"].items()}
        results = [
            spec["user_output"]["arg"].get("as_tensor", {}).get("name", "a constant")
            for spec in signature["output_specs"]
            if "user_output" in spec
        ]
        calls = tuple(_call(node) for node in graph["nodes"])
        return Program(self.source, tuple(inputs), stored, calls, tuple(results), kinds)

    def _payload(self, name: str) -> _Json:
        config = json.loads(self._read(name))["config"]
        assert isinstance(config, dict)  # noqa: S101 (else the file is damaged)
        return config

    def _tensor(self, name: str, folder: str, config: _Json) -> Floats:
        """Return a tensor's values. PyTorch checks that its sizes and strides stay within the bytes."""
        entry = config[name]
        if entry["use_pickle"]:
            raise IntarsiaError(
                f"{self.source}: {name!r} is stored as a pickled Python object, which is never opened; save the "
                "program from plain tensors on the CPU."
            )
        meta = entry["tensor_meta"]
        dtype = _TYPES.get(meta["dtype"])
        if dtype is None:
            raise IntarsiaError(f"{self.source}: {name!r} has elements of an unsupported type.")
        content = bytearray(self._read(f"data/{folder}/{entry['path_name']}"))
        sizes, strides = ([_whole(size) for size in meta[key]] for key in ("sizes", "strides"))
        if math.prod(sizes) > LARGEST:
            raise IntarsiaError(f"{self.source}: {name!r} has the impossible shape {tuple(sizes)}.")
        if not content:
            return torch.zeros(sizes).numpy()
        flat = torch.frombuffer(content, dtype=dtype)
        return flat.as_strided(sizes, strides, _whole(meta["storage_offset"])).to(torch.float32).contiguous().numpy()


def _whole(size: _Json) -> int:
    return int(size["as_int"])


def _kind(meta: _Json) -> Kind:
    return Kind(tuple(size.get("as_int") for size in meta["sizes"]), meta["dtype"] in _FLOATING)


def _call(node: _Json) -> Call:
    parts = str(node["target"]).split(".")  # torch.ops.aten.conv2d.default
    operator = parts[3] if parts[:2] == ["torch", "ops"] and len(parts) > 3 else parts[-1]
    if not operator.isidentifier():
        raise ValueError("an operator's name is not a name")
    arguments = {
        str(given["name"] or f"argument {number}"): _argument(given["arg"])
        for number, given in enumerate(node["inputs"])
    }
    path, module = _module(node["metadata"].get("nn_module_stack", ""))
    return Call(plain_operator(operator), arguments, _results(node["outputs"]), path, module)


def _results(outputs: list[_Json]) -> tuple[str, ...]:
    names: list[str] = []
    for output in outputs:
        [(form, given)] = output.items()
        several = given if isinstance(given, list) else [given]
        names += [str(one.get("name", "")) for one in several if form in ("as_tensor", "as_tensors")]
    return tuple(names)


def _argument(argument: _Json) -> Argument:
    [(form, value)] = argument.items()
    if form in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor"):
        return _symbol(value)
    if form in ("as_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats", "as_optional_tensors"):
        return tuple(_symbol(part) for part in value)
    if form in ("as_int", "as_bool", "as_string"):
        return value if isinstance(value, bool | int | str) else None
    if form == "as_float":
        return _float(value)
    if form in ("as_ints", "as_bools", "as_floats", "as_strings"):
        return tuple(_float(part) if form == "as_floats" else part for part in value)
    return None if form == "as_none" else form


def _symbol(value: Any) -> Argument:
    """Return a tensor or a size that may be open: {name}, {as_tensor: {name}}, {as_name} or {as_int}."""
    if not isinstance(value, dict) or value.get("as_none") is not None:
        return None
    given = value.get("as_tensor", value)
    name = given.get("name", given.get("as_name"))
    return Ref(str(name)) if name is not None else next(iter(given.values()), None)


def _float(value: Any) -> float:
    return _SPECIAL[value] if isinstance(value, str) else float(value)


def _module(stack: str) -> tuple[str, str]:
    """Return the path and the class of the innermost module of `key,path,class;…`; the class of PyTorch's own only."""
    key, _, kind = stack.rpartition(";")[2].rpartition(",")
    return module_path(key.partition(",")[2]), kind.rpartition(".")[2] if kind.startswith("torch.nn.") else ""
