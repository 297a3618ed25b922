# SPDX-License-Identifier: Apache-2.0
"""Additions that weight layers take over as their residual."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from frozen_networks import assert_integers_are_their_model
from intarsia.integer import Add, Conv2d, Linear
from intarsia.quantize import attach
from network_kinds import SCHEME, Net, conv, inputs, quantized

SHAPE = (4, 6, 6)


def body(compute: Any, **parts: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return Net(compute, stem=conv(padding=1), **parts, fc=nn.Linear(4, 3))


def end(net: Any, x: Any) -> Any:
    return net.fc(functional.relu(x).mean((2, 3)))


FUSED = {
    "after the branch": body(lambda n, x: end(n, n.stem(x) + n.one(n.stem(x))), one=conv(padding=1)),
    "before the branch": body(lambda n, x: end(n, n.one(x) + x), one=conv(padding=1)),
    "both weight layers": body(lambda n, x: end(n, n.one(x) + n.two(x)), one=conv(kernel=1), two=conv(padding=1)),
    "depthwise": body(lambda n, x: end(n, x + n.one(functional.relu(x))), one=conv(padding=1, groups=4)),
    "clipped sum": body(lambda n, x: end(n, functional.hardtanh(x + n.one(x), -0.2, 0.3)), one=conv(padding=1)),
}
KEPT = {
    "clipped before": body(lambda n, x: end(n, x + functional.relu(n.one(x))), one=conv(padding=1)),
    "the same twice": body(lambda n, x: end(n, (y := n.one(x)) + y), one=conv(padding=1)),
    "read twice": body(
        lambda n, x: end(n, (y := n.one(x)) + x + n.pool(y)), one=conv(padding=1), pool=nn.MaxPool2d(3, 1, 1)
    ),
    "a pool": body(lambda n, x: end(n, n.pool(x) + x), pool=nn.AvgPool2d(3, 1, 1)),
}


@pytest.mark.parametrize("kind", [*FUSED, *KEPT])
def test_sums_go_into_the_weight_layer_before_them_where_nothing_else_reads_it(kind: str) -> None:
    model = (FUSED | KEPT)[kind].eval()
    module, network = quantized(model, SHAPE)
    additions = [layer for layer in network.layers if isinstance(layer, Add)]
    residuals = [layer for layer in network.layers if isinstance(layer, Conv2d | Linear) and layer.residual]
    assert bool(residuals) == (kind in FUSED)
    assert (kind in KEPT) == any(step.kind == "add" for step in module.steps) == bool(additions)
    x = inputs(SHAPE)
    with torch.no_grad():
        assert float((module(x) - model(x)).abs().max()) < 0.5 * float(model(x).std()) + 0.5
    images = (inputs(SHAPE, 16) * 64).numpy().astype(np.int64)
    assert_integers_are_their_model(module, network, images)


def test_a_chain_of_additions_goes_into_a_chain_of_layers() -> None:
    chain = body(
        lambda n, x: end(n, (y := x + n.one(x)) + n.two(functional.relu(y))), one=conv(padding=1), two=conv(padding=1)
    )
    steps = attach(chain, SCHEME, SHAPE, 1 / 64).steps
    assert [step.kind for step in steps] == ["conv", "average", "conv", "average", "linear"]
    assert [step.residual for step in steps if step.module is not None] == ["input", "one", None]
