# SPDX-License-Identifier: Apache-2.0
"""PyTorch networks, and the zoo of trained float weights.

from intarsia.networks import build, load_zoo
model = load_zoo("resnet8")
"""

from intarsia.networks.registry import NETWORKS, NetworkSpec, build, network_spec
from intarsia.networks.weights import WeightsCard, load_weights, load_zoo, save_weights, zoo_card, zoo_path

__all__ = [
    "NETWORKS",
    "NetworkSpec",
    "WeightsCard",
    "build",
    "load_weights",
    "load_zoo",
    "network_spec",
    "save_weights",
    "zoo_card",
    "zoo_path",
]
