# SPDX-License-Identifier: Apache-2.0
"""Opens a .keras or .h5 file with Keras, without running anything that the file brings.

Keras can make any class that a file names, and Lambda layers hold Python code. So the file's description is read first,
as JSON; layers that are not of a fixed list of Keras' own are refused; everything that inference does not need (losses,
regularizers, initializers, assets) is left out; and only what remains is given to Keras.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from intarsia.errors import IntarsiaError
from intarsia.packages import load_package

Json = Mapping[str, Any]

#: Networks of layers, by all names that Keras gave them.
NETWORKS = ("Functional", "Sequential", "Model")
#: Bytes of a .keras file's parts; more is a damaged file, not a network for this hardware.
_LARGEST: Mapping[str, int] = MappingProxyType(
    {"config.json": 1 << 26, "metadata.json": 1 << 16, "model.weights.h5": 1 << 30}
)
_UNNEEDED = ("_initializer", "_regularizer", "_constraint")
#: What may stand for values in the arguments of a call.
_VALUES = ("__keras_tensor__", "__numpy__", "__tensor__")


def load(path: Path, known: Collection[str]) -> Any:
    """Return the Keras model of a file.

    Args:
        path: of a .keras or .h5 file.
        known: the layers that it may have, as `kind_of` names them.

    Raises:
        IntarsiaError: a package is missing; the file is damaged or holds no model; or a layer is not among these.
    """
    keras = import_keras()
    with damage_named(path.name), tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{path.suffix.lower()}"
        copying = _copy_zip if copy.suffix == ".keras" else _copy_hdf5
        copying(path, copy, _Cleaner(path.name, known))
        return keras.saving.load_model(copy, compile=False, safe_mode=True)


@contextmanager
def damage_named(source: str) -> Iterator[None]:
    """Say in one sentence that a file is damaged, whatever is raised."""
    try:
        yield
    except IntarsiaError:
        raise
    except Exception as error:  # Keras and HDF5 each raise kinds of their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise IntarsiaError(f"{source} is damaged, or Keras cannot read it ({reason}); save it again.") from error


def kind_of(entry: Json) -> str:
    """Return a layer's class; that of a function which the network calls is `ops.` and its name."""
    name = entry["class_name"]
    function = str(entry.get("module")).startswith(("keras.src.ops", "keras.src.activations"))
    return f"ops.{name}" if function else str(name)


def import_keras() -> Any:
    """Return Keras, with PyTorch behind it; its settings, which it writes, do not go to the user's home.

    Raises:
        IntarsiaError: it is missing, or older than Keras 3.
    """
    if sys.modules.get("keras") is None:
        with tempfile.TemporaryDirectory() as home, _environment(KERAS_HOME=home, KERAS_BACKEND="torch"):
            load_package("keras", "keras")
    keras = sys.modules["keras"]
    version = str(getattr(keras, "__version__", "unknown"))
    if not version.startswith("3."):
        raise IntarsiaError(
            f".keras and .h5 files need Keras 3, not {version}; install it with: pip install 'intarsia[keras]'."
        )
    return keras


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _copy_zip(path: Path, copy: Path, cleaner: "_Cleaner") -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for part, most in _LARGEST.items():
            if old.getinfo(part).file_size > most:
                raise IntarsiaError(f"{path.name} has an impossibly large {part}.")
        new.writestr("config.json", json.dumps(cleaner.network(json.loads(old.read("config.json")))))
        new.writestr("metadata.json", old.read("metadata.json"))
        with old.open("model.weights.h5") as source, new.open("model.weights.h5", "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target)


def _copy_hdf5(path: Path, copy: Path, cleaner: "_Cleaner") -> None:
    import h5py  # noqa: PLC0415 (comes with Keras)

    with h5py.File(path, "r") as file:
        description = file.attrs.get("model_config")
    if description is None:
        raise IntarsiaError(f"{path.name} holds weights without a network; save the model with model.save.")
    text = description if isinstance(description, str) else description.decode()
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(cleaner.network(json.loads(text)))


class _Cleaner:
    """Checks a network's description, and leaves out what inference does not need."""

    def __init__(self, source: str, known: Collection[str]) -> None:
        self.source, self.known = source, known

    def network(self, entry: Json, path: str = "") -> dict[str, Any]:
        """Return a network's description.

        Raises:
            IntarsiaError: it, or one of its layers, is not supported; the message names it.
        """
        config = entry["config"]
        if isinstance(config, list):  # before Keras 2.2
            config = {"layers": config}
        name = str(entry.get("name") or config.get("name") or "the network")
        place = path.rstrip(".") or name
        self._require(entry, entry["class_name"] in NETWORKS, place)
        kept = {key: value for key, value in config.items() if key != "layers"}
        layers = [self._layer(layer, path) for layer in config["layers"]]
        return _entry(entry) | {"config": {**self._options(kept, place), "layers": layers}}

    def _layer(self, entry: Json, path: str) -> dict[str, Any]:
        name = path + str(entry.get("name") or entry["config"].get("name"))
        if entry["class_name"] in NETWORKS:
            return self.network(entry, f"{name}.")
        if entry["class_name"] == "Lambda":
            raise self._refusal(entry, name, "is not supported: it holds Python code, which is never run")
        self._require(entry, kind_of(entry) in self.known, name)
        _check_calls(entry.get("inbound_nodes", []))
        options = self._options(entry["config"], name)
        if kind_of(entry).startswith(("Depthwise", "Separable")):
            options.pop("groups", None)  # Keras 2 wrote it, Keras 3 does not know it: always 1
        if options.get("activation") == "softmax_v2":  # Keras 2 for tf.nn.softmax
            options["activation"] = "softmax"
        return _entry(entry) | {"config": options}

    def _options(self, config: Json, name: str) -> dict[str, Any]:
        """Return a layer's settings; of objects only its type of numbers may be among them."""
        kept = {key: value for key, value in config.items() if not key.endswith(_UNNEEDED)}
        for key, value in kept.items():
            kind = _object_of(value)
            if key == "dtype" and kind == "DTypePolicy":
                kept[key] = str(value["config"]["name"])
            elif key == "dtype" and kind is not None:
                raise IntarsiaError(f"{self.source}: {name!r} is quantized by Keras ({kind}), which is not supported.")
            elif kind is not None:
                raise IntarsiaError(f"{self.source}: {name!r} has the {key} {kind}, which is not supported.")
        return kept

    def _require(self, entry: Json, known: bool, name: str) -> None:
        registered = entry.get("registered_name")
        module = entry.get("module", "keras")
        of_keras = registered in (None, entry["class_name"]) and str(module).split(".", maxsplit=1)[0] == "keras"
        if not of_keras or ">" in entry["class_name"]:  # package>class
            raise self._refusal(entry, name, "is a class of the user's own; only layers of Keras can be read")
        if not known:
            why = "is a function, which .h5 files cannot hold; save the model as .keras"  # not even Keras reads it
            function = "module" not in entry and f"ops.{entry['class_name']}" in self.known
            raise self._refusal(entry, name, why if function else "is not supported")

    def _refusal(self, entry: Json, name: str, why: str) -> IntarsiaError:
        return IntarsiaError(
            f"{self.source}: layer {' '.join(str(entry['class_name']).rpartition('>')[2].split())} of {name!r} {why}."
        )


def _entry(entry: Json) -> dict[str, Any]:
    """Return how a layer is made and called, without its settings."""
    return {
        key: entry[key]
        for key in ("module", "class_name", "registered_name", "build_config", "name", "inbound_nodes")
        if key in entry
    }


def _object_of(value: Any) -> str | None:
    """Return the class of the first object in a setting, None if there is none."""
    if isinstance(value, list):
        return next((kind for part in value if (kind := _object_of(part)) is not None), None)
    if not isinstance(value, dict):
        return None
    if "class_name" in value:
        config = value.get("config")
        return str(config if value["class_name"] == "function" else value["class_name"])
    return "function" if "value" in value else _object_of(list(value.values()))


def _check_calls(calls: Any) -> None:
    """Refuse objects among the arguments of calls, except tensors."""
    if isinstance(calls, dict):
        if "class_name" in calls and calls["class_name"] not in _VALUES:
            raise ValueError(f"{calls['class_name']} among the arguments")
        calls = list(calls.values())
    if isinstance(calls, list):
        for part in calls:
            _check_calls(part)
