# SPDX-License-Identifier: Apache-2.0
"""The networks of MLPerf Tiny have the shapes of the reference models."""

import pytest

torch = pytest.importorskip("torch")

from torch import fx, nn  # noqa: E402

from intarsia.networks.autoencoder import AutoEncoder  # noqa: E402
from intarsia.networks.dscnn import DSCNN  # noqa: E402
from intarsia.networks.mobilenet import MobileNetV1  # noqa: E402


def _weights(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in model.parameters() if p.dim() > 1]


def _maps(model: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes that the convolutions make."""
    seen: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[1:])))
    model.eval()(torch.zeros(1, *shape))
    return seen


@pytest.mark.parametrize(
    ("build", "shape", "outputs", "weights"),
    [
        (DSCNN, (1, 49, 10), 12, 22_016),
        (MobileNetV1, (3, 96, 96), 2, 208_112),
        (AutoEncoder, (640, 1, 1), 640, 264_192),
    ],
)
def test_weights_outputs_and_tracing(
    build: type[nn.Module], shape: tuple[int, ...], outputs: int, weights: int
) -> None:
    model = build().eval()
    x = torch.randn(2, *shape)
    assert model(x).shape == (2, outputs)
    assert torch.equal(fx.symbolic_trace(model)(x), model(x))
    assert sum(torch.Size(each).numel() for each in _weights(model)) == weights


def test_dscnn() -> None:
    model = DSCNN()
    assert _weights(model)[0] == (64, 1, 10, 4)
    assert _weights(model)[1:3] == [(64, 1, 3, 3), (64, 64, 1, 1)]
    assert set(_maps(model, (1, 49, 10))) == {(64, 25, 5)}


def test_mobilenet() -> None:
    model = MobileNetV1()
    pointwise = [shape[:2] for shape in _weights(model) if shape[2:] == (1, 1)]
    assert pointwise == [
        *((16, 8), (32, 16), (32, 32), (64, 32), (64, 64), (128, 64)),
        *((128, 128),) * 5,
        *((256, 128), (256, 256)),
    ]
    sides = [shape[1] for shape in _maps(model, (3, 96, 96))]
    assert sides == [48, *(48, 48), *(24,) * 4, *(12,) * 4, *(6,) * 12, *(3,) * 4]


@pytest.mark.parametrize("build", [DSCNN, MobileNetV1])
def test_padding_is_that_of_keras(build: type[nn.Module]) -> None:
    """SAME: as much below and right as above and left, or one more."""
    pads = [m for m in build().modules() if isinstance(m, nn.ZeroPad2d)]
    assert pads
    for left, right, top, bottom in (pad.padding for pad in pads):
        assert 0 <= right - left <= 1
        assert 0 <= bottom - top <= 1


def test_autoencoder() -> None:
    sizes = [shape[1] for shape in _weights(AutoEncoder())] + [640]
    assert sizes == [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
