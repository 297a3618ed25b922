# SPDX-License-Identifier: Apache-2.0
"""From a Keras model to its calls of layers, in order, networks within networks unfolded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._arithmetic import Operand
from intarsia.networks.importers._graph import Floats
from intarsia.networks.importers._keras_file import NETWORKS, Json, kind_of


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer, or of a function like `keras.ops.relu`.

    Attributes:
        kind: its class, see `kind_of`.
        name: with those of the networks that it is in: `backbone.conv2d_1`.
        config: its settings.
        weights: by the names that its class gives them: `kernel`, `bias`.
        operands: tensors by name, and constants.
        result: name of what it makes.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    weights: Mapping[str, Floats]
    operands: tuple[Operand, ...]
    result: str

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors among the operands."""
        return tuple(operand for operand in self.operands if isinstance(operand, str))


@dataclass(frozen=True)
class Network:
    """A model's calls in order of execution.

    Attributes:
        inputs: names, and shapes without the batch; open sizes are None.
        calls: of layers.
        results: what it returns.
    """

    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    calls: tuple[Call, ...]
    results: tuple[str, ...]


def unfold(model: Any, source: str) -> Network:
    """Return the calls of a Keras model; `source` is its file, for messages."""
    unfolding = _Unfolding(source)
    results = unfolding.network(type(model).__name__, model.get_config(), model, None)
    return Network(tuple(unfolding.inputs), tuple(unfolding.calls), tuple(results))


class _Unfolding:
    def __init__(self, source: str) -> None:
        self.source = source
        self.inputs: list[tuple[str, tuple[int | None, ...]]] = []
        self.calls: list[Call] = []

    def network(
        self, kind: str, config: Json, model: Any, given: list[str] | None, *, path: str = "", scope: str = ""
    ) -> list[str]:
        """Add a network's calls and return its results.

        Args:
            kind: Functional or Sequential.
            config: its settings.
            model: the Keras object.
            given: its inputs; None if it is the whole model.
            path: before the names of its layers.
            scope: before the names of its tensors, which differ between two calls of one network.
        """
        if kind == "Sequential":
            return self._sequential(config, model, given, path, scope)
        return self._functional(config, model, given, path, scope)

    def _sequential(self, config: Json, model: Any, given: list[str] | None, path: str, scope: str) -> list[str]:
        present = given
        for entry in config["layers"]:
            if entry["class_name"] == "InputLayer":
                present = present or [self._input(entry, scope)]
                continue
            if present is None:
                raise IntarsiaError(f"{self.source} has no input shape; give it a keras.Input before saving.")
            present = self._call(entry, model, tuple(present), path, f"{scope}{entry['config']['name']}")
        return present or []

    def _functional(self, config: Json, model: Any, given: list[str] | None, path: str, scope: str) -> list[str]:
        tensors: dict[tuple[str, int, int], str] = {}
        layers = {str(entry["name"]): entry for entry in config["layers"]}
        for number, place in enumerate(_places(config["input_layers"])):
            tensors[place] = given[number] if given is not None else self._input(layers[place[0]], scope)
        waiting = [
            (entry, number, node)
            for entry in config["layers"]
            for number, node in enumerate(entry.get("inbound_nodes", []))
        ]
        while waiting:
            ready = [one for one in waiting if all(place in tensors for place in _read_by(one[2]))]
            for entry, number, node in ready:
                operands = tuple(_operands([node["args"], node["kwargs"]], tensors))
                name = str(entry["name"])
                made = self._call(entry, model, operands, path, f"{scope}{name}:{number}")
                tensors |= {(name, number, i): tensor for i, tensor in enumerate(made)}
            if not ready:
                raise IntarsiaError(f"{self.source} is damaged: its layers wait for each other.")
            waiting = [one for one in waiting if all(one is not done for done in ready)]
        return [tensors[place] for place in _places(config["output_layers"])]

    def _input(self, entry: Json, scope: str) -> str:
        config = entry["config"]
        name = f"{scope}{config['name']}"
        self.inputs.append((name, tuple(config["batch_shape"][1:])))
        return name

    def _call(self, entry: Json, model: Any, operands: tuple[Operand, ...], path: str, result: str) -> list[str]:
        kind, config = kind_of(entry), entry["config"]
        name = str(config["name"])
        layer = next((layer for layer in model.layers if layer.name == name), None)
        if kind in NETWORKS:
            tensors = [operand for operand in operands if isinstance(operand, str)]
            return self.network(kind, config, layer, tensors, path=f"{path}{name}.", scope=f"{result}.")
        weights = {variable.name: _values(variable) for variable in getattr(layer, "weights", [])}
        self.calls.append(Call(kind, f"{path}{name}", config, weights, operands, result))
        return [result]


def _values(variable: Any) -> Floats:
    return np.asarray(variable.numpy(), np.float32)


def _places(value: Any) -> list[tuple[str, int, int]]:
    """Return the places of tensors, (layer, call, result), in `[…]`, `[[…], …]` or a mapping of these."""
    if isinstance(value, Mapping):
        return [place for part in value.values() for place in _places(part)]
    if isinstance(value[0], str):
        return [(str(value[0]), int(value[1]), int(value[2]))]
    return [place for part in value for place in _places(part)]


def _read_by(arguments: Any) -> list[tuple[str, int, int]]:
    """Return the places of the tensors among a call's arguments."""
    if isinstance(arguments, Mapping):
        if arguments.get("class_name") == "__keras_tensor__":
            return _places(arguments["config"]["keras_history"])
        arguments = list(arguments.values())
    return [place for part in arguments for place in _read_by(part)] if isinstance(arguments, list | tuple) else []


def _operands(arguments: Any, tensors: Mapping[tuple[str, int, int], str]) -> list[Operand]:
    """Return the tensors and constants among a call's arguments, in order."""
    if isinstance(arguments, Mapping):
        kind = arguments.get("class_name")
        if kind == "__keras_tensor__":
            return [tensors[place] for place in _read_by(arguments)]
        if kind in ("__numpy__", "__tensor__"):
            return [np.asarray(arguments["config"]["value"], np.float32)]
        arguments = list(arguments.values())
    if isinstance(arguments, list | tuple):
        return [operand for part in arguments for operand in _operands(part, tensors)]
    number = isinstance(arguments, int | float) and not isinstance(arguments, bool)
    return [np.array(arguments, np.float32)] if number else []
