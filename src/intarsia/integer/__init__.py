# SPDX-License-Identifier: Apache-2.0
"""The integer network: its arithmetic, its executor, its file format and its export to ONNX."""

from intarsia.integer.formats import ActivationFormat, Pattern, WeightFormat
from intarsia.integer.network import (
    Add,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    MaxPool,
    Plane,
    Requantization,
    Tensor,
    WeightLayer,
)

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
    "Tensor",
    "WeightFormat",
    "WeightLayer",
]
