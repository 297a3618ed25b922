# SPDX-License-Identifier: Apache-2.0
"""From a module to an FX graph that is ready to read: shapes and constants known, nothing computed in place."""

import copy
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import fx, nn
from torch.nn import functional

from intarsia.errors import IntarsiaError
from intarsia.quantize.operators import (
    Target,
    arguments,
    layer_name,
    name_of,
    operator_of,
    refused,
    unsupported,
)
from intarsia.quantize.step import Shape

#: Inputs of the run that finds shapes: more than one, so that it shows where a view joins them.
BATCH = 7

_ROWS = (nn.Conv1d, nn.AvgPool1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)


@dataclass(frozen=True, eq=False)
class Traced:
    """A graph and what a run of it has shown.

    Attributes:
        nodes: in order.
        shapes: of tensors, the batch of `BATCH` inputs first.
        constants: tensors and numbers that do not depend on the input.
        plain: nodes whose value is not a tensor, but a size, say.
        faithful: whether the graph computes what the module does. FX does not see all: it misses `y += x` where `y` has
            a second name, and random numbers.
    """

    nodes: tuple[fx.Node, ...]
    modules: dict[str, nn.Module]
    shapes: dict[fx.Node, tuple[int, ...]]
    constants: dict[fx.Node, torch.Tensor]
    plain: frozenset[fx.Node]
    faithful: bool

    def target(self, node: fx.Node) -> Target | nn.Module:
        """Return the module, function or method that a node calls."""
        return _target(self.modules, node)

    def constant(self, value: Any) -> torch.Tensor | None:
        """Return an argument as a tensor if it does not depend on the input, else None."""
        if isinstance(value, fx.Node):
            return self.constants.get(value)
        return torch.tensor(float(value), dtype=torch.float64) if isinstance(value, int | float) else None

    def number(self, value: Any) -> float | None:
        """Return an argument as a number if it is a constant one, else None."""
        found = self.constant(value)
        return float(found) if found is not None and found.numel() == 1 else None

    def weights(self, node: fx.Node, given: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the weight and the bias among the arguments of a function.

        Raises:
            IntarsiaError: they depend on the input.
        """
        weight, bias = self.constant(given["weight"]), self.constant(given.get("bias"))
        if weight is None or (bias is None and given.get("bias") is not None):
            raise unsupported(node, f"{name_of(node.target)} with weights that depend on the input")
        return weight, bias


def trace(model: nn.Module, shape: Shape) -> Traced:
    """Return the graph of a module in evaluation mode; the module is not changed.

    Args:
        model: a network whose forward FX can trace.
        shape: (channels, height, width) of its input.

    Raises:
        IntarsiaError: it cannot be traced or run, or calls a layer that is not supported.
    """
    _require_plain(model)
    own = copy.deepcopy(model).cpu().eval()
    graph = _graph(own)
    modules = dict(graph.named_modules(remove_duplicate=False))
    if len([node for node in graph.graph.nodes if node.op == "placeholder"]) != 1:
        raise IntarsiaError("the network has several inputs; give it one.")
    for node in graph.graph.nodes:
        if node.op == "call_module" and operator_of(modules[str(node.target)]) is None:
            raise refused(node, modules[str(node.target)])
    run, x = _Run(graph, modules), torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        faithful = _same(run.run(x.clone()), own(x))
    _settle(graph.graph, modules, run)
    nodes = tuple(_used(graph.graph, modules))
    return Traced(nodes, modules, run.shapes, run.constants, frozenset(run.plain), faithful)


def _require_plain(model: nn.Module) -> None:
    """Refuse layers that compute something else than their kind says, and values that are not numbers."""
    for name, module in model.named_modules():
        where = f"layer {name or type(module).__name__}"
        if module._forward_hooks or module._forward_pre_hooks:
            raise IntarsiaError(
                f"{where} has hooks, which may change what it computes; remove them (of pruning with "
                "torch.nn.utils.prune.remove, of weight_norm with torch.nn.utils.remove_weight_norm)."
            )
        if not isinstance(module, fx.GraphModule) and "forward" in vars(module):
            raise IntarsiaError(f"{where} has a forward of its own, set on it alone; write a module class instead.")
        values = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for parameter, value in values:
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise IntarsiaError(f"{where}: its {parameter} is not finite; train the network again.")


def _target(modules: dict[str, nn.Module], node: fx.Node) -> Target | nn.Module:
    return modules[str(node.target)] if node.op == "call_module" else node.target


def _same(found: Any, wanted: Any) -> bool:
    if not (isinstance(found, torch.Tensor) and isinstance(wanted, torch.Tensor)):
        return True  # not a network of one output, which whoever reads the graph says
    most = float(wanted.nan_to_num(0.0, 0.0, 0.0).abs().max()) if wanted.numel() else 0.0
    return found.shape == wanted.shape and torch.allclose(found, wanted, 1e-3, 1e-3 * most, equal_nan=True)


def _graph(own: nn.Module) -> fx.GraphModule:
    if _is_traced(own):
        return own
    try:
        return fx.symbolic_trace(own)
    except Exception as error:  # FX raises many kinds, from inside the user's forward
        for name, module in own.named_modules():
            if _computes(module) and operator_of(module) is None:
                raise refused(name, module) from error
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise IntarsiaError(
            f"cannot trace {type(own).__name__} ({first}); write its forward without branches on tensors."
        ) from error


def _computes(module: nn.Module) -> bool:
    """Whether a module is a layer of PyTorch, not one of the user's, a container or a loss."""
    containers = (
        nn.Sequential,
        nn.ModuleList,
        nn.ModuleDict,
        nn.ParameterList,
        nn.ParameterDict,
        nn.modules.loss._Loss,
    )
    return type(module).__module__.startswith("torch") and not isinstance(module, containers)


def _is_traced(model: nn.Module) -> TypeGuard[fx.GraphModule]:
    """Whether a module is a graph of layers already, as an import is; tracing it again would lose its names."""
    if not isinstance(model, fx.GraphModule):
        return False
    called = [model.get_submodule(str(n.target)) for n in model.graph.nodes if n.op == "call_module"]
    return all(fx.Tracer().is_leaf_module(module, "") for module in called)


class _Run(fx.Interpreter):
    """Runs the graph once and notes what every node is."""

    def __init__(self, graph: fx.GraphModule, modules: dict[str, nn.Module]) -> None:
        super().__init__(graph)
        self.extra_traceback = False  # FX would append pages to the one sentence that an IntarsiaError is
        self.known = modules
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.constants: dict[fx.Node, torch.Tensor] = {}
        self.plain: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note whether its value is a constant, a tensor or neither."""
        try:
            value = super().run_node(n)
        except Exception as error:  # of PyTorch, as many kinds as it has operators
            raise self._failure(n, error) from error
        own = n.op not in ("placeholder", "output")
        constant = own and all(source in self.constants for source in n.all_input_nodes)
        if constant and isinstance(value, torch.Tensor | int | float):
            self.constants[n] = torch.as_tensor(value).detach().clone()
        if isinstance(value, torch.Tensor):
            self.shapes[n] = tuple(value.shape)
        elif own and not _holds_tensor(value) and (value is not None or n.target is torch._assert):
            self.plain.add(n)
        return value

    def _failure(self, node: fx.Node, error: Exception) -> IntarsiaError:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        advice = ""
        if node.op == "call_module" and isinstance(self.known[str(node.target)], _ROWS):
            advice = "; inputs are (N, C, 1, L) for a network over rows (N, C, L): put nn.Flatten(2) before it"
        return IntarsiaError(f"the network does not accept this input at layer {layer_name(node)}: {first}{advice}.")


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds_tensor(item) for item in value)
    return isinstance(value, torch.Tensor)


def _used(graph: fx.Graph, modules: dict[str, nn.Module]) -> Iterator[fx.Node]:
    """Drop supported operators whose result nobody reads; return what is left, in order."""
    for node in reversed(graph.nodes):
        pure = node.op == "get_attr" or (node.op.startswith("call") and operator_of(_target(modules, node)) is not None)
        if pure and not node.users:
            graph.erase_node(node)
    return iter(graph.nodes)


def _settle(graph: fx.Graph, modules: dict[str, nn.Module], run: _Run) -> None:
    """Let whatever reads a tensor after it was changed in place read the result of that change."""
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        source = node.args[0] if node.args else None
        if node not in run.shapes or not isinstance(source, fx.Node) or not _in_place(node, _target(modules, node)):
            continue
        for name in _same_memory(source, modules, run):
            for user in [user for user in name.users if order[user] > order[node]]:
                if run.shapes[name] != run.shapes[node]:
                    raise unsupported(node, "an operator in place on a tensor that is read again in another shape")
                user.replace_input_with(name, node)


def _in_place(node: fx.Node, what: Target | nn.Module) -> bool:
    if isinstance(what, nn.Module):
        return bool(getattr(what, "inplace", False)) and not _is_layout(what)
    if what in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
        return True
    names = ("min_val", "max_val", "inplace") if what is functional.hardtanh else ("inplace",)
    given = arguments(node, *names).get("inplace") if what in _TAKES_INPLACE else node.kwargs.get("inplace")
    name = what if isinstance(what, str) else str(getattr(what, "__name__", ""))
    return given is True or (name.endswith("_") and not name.endswith("__"))


_TAKES_INPLACE = (functional.relu, functional.relu6, functional.hardtanh)


def _is_layout(what: Target | nn.Module) -> bool:
    found = operator_of(what)
    return found is not None and found.reading == "layout"


def _same_memory(source: fx.Node, modules: dict[str, nn.Module], run: _Run) -> list[fx.Node]:
    """Return the nodes that name a tensor or a view of it."""
    found, waiting = {source: None}, [source]
    while waiting:
        node = waiting.pop()
        near = [user for user in node.users if user in run.shapes and _shares(user, node, modules)]
        if node.args and isinstance(node.args[0], fx.Node) and _shares(node, node.args[0], modules):
            near.append(node.args[0])
        waiting += [other for other in near if other not in found]
        found |= dict.fromkeys(near)
    return list(found)


def _shares(node: fx.Node, source: fx.Node, modules: dict[str, nn.Module]) -> bool:
    what = _target(modules, node)
    return node.op.startswith("call") and node.args[0] is source and what != "clone" and _is_layout(what)
