# SPDX-License-Identifier: Apache-2.0
"""Which networks there are, and what each is trained on."""

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
        name: as users type it.
        title: one line for people.
        dataset: name in `intarsia.datasets`.
        shape: (channels, height, width) of its input.
        builder: makes the network with fresh random weights.
        in_zoo: whether trained float weights ship with the package.
    """

    name: str
    title: str
    dataset: str
    shape: tuple[int, int, int]
    builder: Callable[[], nn.Module]
    in_zoo: bool


NETWORKS: Mapping[str, NetworkSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            NetworkSpec(
                "digits", "depthwise-separable CNN on 8×8 digits", "digits", (1, 8, 8), DigitsNet, in_zoo=False
            ),
            NetworkSpec("resnet8", "MLPerf Tiny ResNet-8 on CIFAR-10", "cifar10", (3, 32, 32), ResNet8, in_zoo=True),
            NetworkSpec(
                "dscnn", "MLPerf Tiny DS-CNN, keyword spotting", "speech_commands", (1, 49, 10), DSCNN, in_zoo=False
            ),
            NetworkSpec(
                "mobilenet",
                "MLPerf Tiny MobileNetV1-0.25, visual wake words",
                "visual_wake_words",
                (3, 96, 96),
                MobileNetV1,
                in_zoo=False,
            ),
            NetworkSpec(
                "autoencoder",
                "MLPerf Tiny FC-AutoEncoder, anomaly detection",
                "toycar",
                (640, 1, 1),
                AutoEncoder,
                in_zoo=False,
            ),
        )
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
