# SPDX-License-Identifier: Apache-2.0
"""The integer network: its arithmetic, its executor, its file format and its export to ONNX."""

from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat
from intarsia.integer.layers import (
    Add,
    AveragePool,
    Conv2d,
    Layer,
    Linear,
    MaxPool,
    Plane,
    Requantization,
    Residual,
    Tensor,
    WeightLayer,
    weight_matrix,
)
from intarsia.integer.network import IntegerNetwork

__all__ = [
    "ActivationFormat",
    "Add",
    "AveragePool",
    "Conv2d",
    "IntegerNetwork",
    "Layer",
    "Linear",
    "MaxPool",
    "Pattern",
    "Plane",
    "Requantization",
    "Residual",
    "Tensor",
    "WeightFormat",
    "WeightLayer",
    "weight_matrix",
]
