# SPDX-License-Identifier: Apache-2.0
"""From an .onnx file to a `Graph`: float networks, QONNX, quantize and dequantize pairs, and layers on integers."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from intarsia.networks.importers._graph import Graph, Quantization, Shape
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported, permutation
from intarsia.networks.importers._onnx_constants import QUANTIZERS, fold
from intarsia.networks.importers._onnx_file import OnnxFile, read_file
from intarsia.networks.importers._onnx_layers import LAYERS
from intarsia.networks.importers._onnx_quantizers import LINEAR, linear
from intarsia.networks.importers._onnx_shapes import SHAPES, TO_FIRST
from intarsia.networks.importers._onnx_state import Handler, State

#: Every operator that an import reads of a network's activations.
HANDLERS: Mapping[str, Handler] = MappingProxyType({**LAYERS, **SHAPES, **LINEAR})

#: What may stand between an input and the transpose that says how it is laid out.
_SAME_ORDER = (*QUANTIZERS, "BipolarQuant", "QuantizeLinear", "DequantizeLinear", "Identity")


def read_onnx(path: Path) -> Graph:
    """Read an .onnx file.

    Raises:
        IntarsiaError: the file is damaged, or has an operator, a shape or a quantization that is not supported.
    """
    return _Importer(path.name, read_file(path)).graph()


class _Importer:
    def __init__(self, source: str, file: OnnxFile) -> None:
        self.file, self.state = file, State(source, file)
        self.builder = self.state.builder

    def graph(self) -> Graph:
        try:
            self._input()
        except Unsupported as error:
            raise self.builder.fail(str(error)) from error
        for node in self.file.nodes:
            output = node.output[0] if node.output else ""
            self.builder.enter(node.op_type, node.name or output)
            if not output:
                raise self.builder.fail("has no output")
            try:
                self._read(node, Attributes(node))
            except Unsupported as error:
                raise self.builder.fail(str(error)) from error
        return self.builder.finish(self.file.output)

    def _read(self, node: Any, attributes: Attributes) -> None:
        constants, handler = self.state.constants, HANDLERS.get(node.op_type)
        if handler is not None and node.domain not in handler.domains:
            raise Unsupported(
                f"is of the operator set {node.domain!r}, where it may mean anything; it is not supported"
            )
        if all(name in constants for name in node.input if name) and any(node.input):
            inputs = [constants[name] if name else None for name in node.input]
            constants[node.output[0]] = fold(node.op_type, attributes, inputs, self.state.budget)
        elif handler is not None and node.input:
            handler.read(self.state, node, attributes)
        else:
            raise Unsupported(f"is not supported; supported are {', '.join(sorted(HANDLERS))}")

    def _input(self) -> None:
        name, shape = self.file.input, self.file.shape
        self.builder.enter("input", name)
        if len(shape) not in (2, 3, 4):
            raise Unsupported(f"has {len(shape)} axes; (N, features), (N, C, L) and (N, C, H, W) are supported")
        if min(shape[1:]) < 1:
            raise Unsupported("has a dynamic shape; export the network with fixed sizes (the batch may be open)")
        coding = self._coding(name) if self.file.integers else None
        if coding is not None:
            self.state.coded[name] = coding
        if len(shape) == 2:
            self._table(name, shape[1], coding)
            return
        sizes = shape[1:]
        last = self._transposed(name)
        if last:
            sizes = (sizes[-1], *sizes[:-1])
            self.state.channels_last.add(name)
            order = "(channels, height, width)" if len(shape) == 4 else "(channels, length)"
            self.builder.dropped.append(f"a transpose of the input, which is now {order}")
        if len(shape) == 3:
            self.state.signals.add(name)
        found: Shape = (sizes[0], 1, sizes[1]) if len(shape) == 3 else (sizes[0], sizes[1], sizes[2])
        self.builder.input(name, found, coding)

    def _table(self, name: str, features: int, coding: Quantization | None) -> None:
        """Declare an input (N, features), which a reshape may make an image of."""
        inner = (name, "as an image")
        self.builder.input(inner, (features, 1, 1), coding)
        if all(node.op_type in ("Reshape", "Unsqueeze") for node in self.file.nodes if name in node.input):
            self.builder.alias(inner, name)
        else:
            self.builder.flatten(inner, name)

    def _coding(self, name: str) -> Quantization:
        """Return what the integers of an input stand for: its reader says it."""
        readers = [node for node in self.file.nodes if name in node.input]
        if len(readers) != 1 or readers[0].input[0] != name or readers[0].op_type not in HANDLERS:
            raise Unsupported("has integers whose scale no single reader states")
        if not readers[0].op_type.startswith(("DequantizeLinear", "QLinear", "QGemm")):
            raise Unsupported(f"has integers that {readers[0].op_type} reads; only quantized tensors are supported")
        scale, zero = self.state.constant(readers[0], 1, "scale"), self.state.given(readers[0], 2)
        return linear(scale, zero)

    def _transposed(self, name: str) -> bool:
        """Whether an input has its channels last: its only reader, after quantizers, transposes it."""
        for _ in self.file.nodes:
            readers = [node for node in self.file.nodes if name in node.input]
            if len(readers) != 1 or not readers[0].output:
                return False
            if readers[0].op_type == "Transpose":
                return permutation(readers[0]) in TO_FIRST
            if readers[0].op_type not in _SAME_ORDER:
                return False
            name = readers[0].output[0]
        return False
