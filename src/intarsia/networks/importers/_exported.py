# SPDX-License-Identifier: Apache-2.0
"""From an exported program in memory to a `Program`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._aten import read_program
from intarsia.networks.importers._graph import Graph
from intarsia.networks.importers._program import (
    Argument,
    Call,
    Kind,
    Program,
    Ref,
    Stored,
    module_path,
    plain_operator,
)


def read_exported(program: ExportedProgram, name: str) -> Graph:
    """Read an exported program.

    Raises:
        IntarsiaError: it has several inputs or results, a dynamic size, or an operator that is not supported.
    """
    return read_program(_program(program, name))


def _program(program: ExportedProgram, name: str) -> Program:
    signature = program.graph_signature
    nodes = list(program.graph.nodes)
    inputs, stored = [], {}
    for spec in signature.input_specs:
        key = str(getattr(spec.arg, "name", ""))
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(key)
        elif spec.kind != InputKind.TOKEN:
            stored[key] = _stored(program, str(spec.target), name)
    names = _names(nodes)
    kinds = {key: kind for node, key in names.items() if (kind := _kind(node.meta.get("val"))) is not None}
    by_name = {node.name: key for node, key in names.items()}
    outputs = [spec.arg.name for spec in signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    results = [by_name.get(output, "a constant") for output in outputs]
    calls = [_call(node, names) for node in nodes if node.op == "call_function" and not _takes(node)]
    return Program(name, tuple(inputs), stored, tuple(calls), tuple(results), kinds)


def _stored(program: ExportedProgram, target: str, name: str) -> Stored:
    found = program.state_dict.get(target, program.constants.get(target))
    if not isinstance(found, torch.Tensor):
        raise IntarsiaError(f"{name}: constant {target!r} is not a tensor.")
    return Stored(target, found.detach().to(torch.float32).cpu().numpy())


def _takes(node: fx.Node) -> bool:
    """Whether a node takes one of several results."""
    return getattr(node.target, "__name__", "") == "getitem"


def _names(nodes: Sequence[fx.Node]) -> dict[fx.Node, str]:
    """Return every node's name; what takes the same one of several results has the same."""
    names: dict[fx.Node, str] = {}
    for node in nodes:
        names[node] = f"{node.args[0]}[{node.args[1]}]" if _takes(node) else node.name
    return names


def _kind(value: Any) -> Kind | None:
    if not isinstance(value, torch.Tensor):
        return None
    sizes = tuple(int(size) if isinstance(size, int) else None for size in value.shape)
    return Kind(sizes, value.dtype.is_floating_point)


def _call(node: fx.Node, names: Mapping[fx.Node, str]) -> Call:
    packet = getattr(node.target, "overloadpacket", node.target)
    schema = getattr(node.target, "_schema", None)
    given = [argument.name for argument in schema.arguments] if schema is not None else []
    given += [f"argument {number}" for number in range(len(given), len(node.args))]
    arguments = {key: _argument(value, names) for key, value in zip(given, node.args, strict=False)}
    arguments |= {key: _argument(value, names) for key, value in node.kwargs.items()}
    value = node.meta.get("val")
    results: tuple[str, ...] = (node.name,)
    if isinstance(value, tuple | list):
        results = tuple(f"{node.name}[{number}]" for number in range(len(value)))
    path, module = _module(node)
    operator = plain_operator(str(getattr(packet, "__name__", packet)))
    return Call(operator, arguments, () if value is None else results, path, module)


def _argument(value: Any, names: Mapping[fx.Node, str]) -> Argument:
    if isinstance(value, fx.Node):
        return Ref(names[value])
    if isinstance(value, list | tuple):
        return tuple(_argument(part, names) for part in value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _module(node: fx.Node) -> tuple[str, str]:
    """Return the path and the class of the module that calls a node; the class of PyTorch's own modules only."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    known = str(kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}")
    return module_path(str(path)), known.rpartition(".")[2] if known.startswith("torch.nn.") else ""
