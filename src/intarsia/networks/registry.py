# SPDX-License-Identifier: Apache-2.0
"""The built-in networks as PyTorch modules; `intarsia.recipes` says what their runs do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.networks.autoencoder import AutoEncoder
from intarsia.networks.digits import DigitsNet
from intarsia.networks.dscnn import DSCNN
from intarsia.networks.mobilenet import MobileNetV1
from intarsia.networks.resnet8 import ResNet8


@dataclass(frozen=True)
class NetworkSpec:
    """A network of the registry.

    Attributes:
        shape: (channels, height, width) of its input.
        builder: makes the network with fresh random weights.
    """

    shape: tuple[int, int, int]
    builder: Callable[[], nn.Module]


#: By the name that users type.
NETWORKS: Mapping[str, NetworkSpec] = MappingProxyType(
    {
        "digits": NetworkSpec((1, 8, 8), DigitsNet),
        "resnet8": NetworkSpec((3, 32, 32), ResNet8),
        "dscnn": NetworkSpec((1, 49, 10), DSCNN),
        "mobilenet": NetworkSpec((3, 96, 96), MobileNetV1),
        "autoencoder": NetworkSpec((640, 1, 1), AutoEncoder),
    }
)


def network_spec(name: str) -> NetworkSpec:
    """Return a network of the registry.

    Raises:
        IntarsiaError: the name is unknown.
    """
    if name not in NETWORKS:
        raise IntarsiaError(f"there is no network {name!r}; choose one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def build(name: str, seed: int = 0) -> nn.Module:
    """Build a network with random weights that follow from `seed` alone; the caller's random state is left
    as it was.

    Raises:
        IntarsiaError: the name is unknown.
    """
    spec = network_spec(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.builder()
