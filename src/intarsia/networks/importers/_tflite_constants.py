# SPDX-License-Identifier: Apache-2.0
"""The tensors of a .tflite file: constants in real units, and what integers stand for."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._flatbuffer import FileModel, FileOperator, FileTensor
from intarsia.networks.importers._graph import Floats, Quantization, Weights

INTEGERS: Mapping[str, tuple[int, int]] = MappingProxyType({"INT8": (-128, 127), "UINT8": (0, 255)})


class Constants:
    """Reads constants, with checks of their quantization.

    `unpacked` holds those that an operator of the file makes of stored ones (DEQUANTIZE).
    """

    def __init__(self, model: FileModel, builder: GraphBuilder) -> None:
        self.model, self.builder = model, builder
        self.unpacked: dict[int, Weights] = {}

    def quantization(self, tensor: FileTensor) -> Quantization | None:
        """Return how integers stand for a computed tensor; None for floats."""
        if tensor.dtype == "FLOAT32":
            return None
        if tensor.dtype not in INTEGERS:
            kind = "int16x8 quantization" if tensor.dtype == "INT16" else "activations"
            raise self.builder.fail(f"has activations of type {tensor.dtype}, but {kind} of that type is not supported")
        if tensor.scales.size != 1:
            count = tensor.scales.size
            raise self.builder.fail(f"has {count} scales for its activations instead of 1 (field quantization)")
        scale, zero = float(tensor.scales[0]), int(tensor.zero_points[0])
        lo, hi = INTEGERS[tensor.dtype]
        if not (math.isfinite(scale) and scale > 0 and lo <= zero <= hi):
            raise self.builder.fail(f"has a scale of {scale} and a zero-point of {zero} (field quantization)")
        return Quantization(scale, zero, lo, hi)

    def weights(self, index: int, layout: tuple[int, ...], axis: int) -> Weights:
        """Return a constant, its axes rearranged to `layout`; `axis` of the file has the output channels."""
        tensor = self.tensor(index)
        if index in self.unpacked:
            found = self.unpacked[index]
            return Weights(found.values.transpose(layout))
        if not tensor.constant:
            raise self.builder.fail(f"takes its weights {tensor.name!r} from another operator, not from the file")
        stored = self.stored(tensor)
        if stored.ndim != len(layout):
            raise self.builder.fail(f"has weights of shape {stored.shape}, which need {len(layout)} axes")
        if tensor.dtype == "FLOAT32":
            return Weights(self.finite(stored).transpose(layout))
        if tensor.dtype not in INTEGERS:
            raise self.builder.fail(f"has weights of type {tensor.dtype}")
        integers = self._centered(tensor, stored, axis)
        scales = np.broadcast_to(tensor.scales, stored.shape[axis])
        along = np.moveaxis(integers, axis, 0)
        real = np.moveaxis(along * scales.reshape(-1, *[1] * (stored.ndim - 1)), 0, axis)
        return Weights(self.finite(real).transpose(layout), integers.transpose(layout), scales)

    def _centered(self, tensor: FileTensor, stored: NDArray[Any], axis: int) -> NDArray[np.int16]:
        """Return stored integers less their zero-point, after a check of the quantization."""
        count = tensor.scales.size
        if count not in (1, stored.shape[axis]) or (count > 1 and tensor.axis != axis):
            raise self.builder.fail(f"has {count} scales for its weights along axis {tensor.axis} (field quantization)")
        if not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
            raise self.builder.fail("has a weight scale that is not above 0 (field quantization)")
        if count > 1 and tensor.zero_points.any():
            raise self.builder.fail("has weights with a zero-point for each channel, which is not supported")
        if np.abs(tensor.zero_points).max() > 255:
            raise self.builder.fail(f"has the weight zero-point {tensor.zero_points[0]} (field quantization)")
        centered: NDArray[np.int16] = (stored.astype(np.int64) - tensor.zero_points[0]).astype(np.int16)
        return centered

    def bias(self, op: FileOperator, scales: NDArray[np.float64] | None) -> Floats | None:
        """Return the bias in real units; `scales` are those of its integers."""
        if len(op.inputs) < 3 or op.inputs[2] < 0:
            return None
        tensor = self.tensor(op.inputs[2])
        if op.inputs[2] in self.unpacked:
            return self.unpacked[op.inputs[2]].values
        if not tensor.constant:
            raise self.builder.fail("takes its bias from another operator, not from the file")
        stored = self.stored(tensor).reshape(-1)
        if tensor.dtype == "FLOAT32":
            return self.finite(stored)
        own = tensor.scales if scales is None else scales  # kernels add the integers, whatever scale is written there
        if tensor.dtype != "INT32" or own is None or own.size not in (1, stored.size):
            raise self.builder.fail(f"has a bias of type {tensor.dtype}, whose scale is not known")
        return self.finite(stored * own)

    def constant(self, index: int) -> NDArray[Any]:
        tensor = self.tensor(index)
        if not tensor.constant or tensor.dtype not in ("INT32", "INT64"):
            raise self.builder.fail(f"takes sizes from {tensor.name!r}, which is not a constant of the file")
        return self.stored(tensor)

    def stored(self, tensor: FileTensor) -> NDArray[Any]:
        try:
            return tensor.values()
        except ValueError as error:
            raise self.builder.fail(f"has a constant {tensor.name[:80]!r} that {error}") from error

    def finite(self, values: NDArray[Any]) -> Floats:
        result = np.asarray(values, np.float32)
        if not np.isfinite(result).all():
            raise self.builder.fail("has a weight or bias that is not finite")
        return result

    def tensor(self, index: int) -> FileTensor:
        if index < 0:
            raise self.builder.fail("lacks an input")
        return self.model.tensors[index]

    def by_channel(self, index: int) -> Floats:
        """Return a constant with one value, or one per channel, in real units."""
        tensor = self.tensor(index)
        stored = self.stored(tensor) if tensor.constant else np.zeros(0, np.float32)
        if stored.size == 0 or math.prod(stored.shape[:-1]) != 1:
            raise self.builder.fail("has a second input that is not one constant per channel")
        if tensor.dtype in INTEGERS and tensor.scales.size == 1:
            return self.finite(self._centered(tensor, stored.reshape(-1), 0) * tensor.scales[0])
        if tensor.dtype != "FLOAT32":
            raise self.builder.fail(f"has a constant of type {tensor.dtype}")
        return self.finite(stored.reshape(-1))
