# SPDX-License-Identifier: Apache-2.0
"""A network that Brevitas trained with few bits, as it exports it, on the simulated engine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxoptimizer")
pytest.importorskip("brevitas")

from brevitas import nn as qnn  # noqa: E402
from brevitas.export import export_qonnx  # noqa: E402
from brevitas.quant import Int8ActPerTensorFloat  # noqa: E402

from engine_configs import WIDE  # noqa: E402
from intarsia.engine import compile_network  # noqa: E402
from intarsia.integer.executor import Executor  # noqa: E402
from intarsia.networks.importers import import_integer  # noqa: E402
from intarsia.simulate import SimulatedEngine  # noqa: E402
from random_networks import random_images  # noqa: E402


def few_bits(bits: int) -> Any:
    """A small CNN with hidden linear layers, weights of so many bits and activations of four."""
    torch.manual_seed(0)

    def quantized(kind: Any, *sizes: int, **more: Any) -> Any:
        return kind(*sizes, bias=False, weight_bit_width=bits, **more)

    model = torch.nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat),
        quantized(qnn.QuantConv2d, 1, 16, 3, padding=1),
        qnn.QuantReLU(bit_width=4),
        torch.nn.MaxPool2d(2),
        quantized(qnn.QuantConv2d, 16, 32, 3, padding=1),
        qnn.QuantReLU(bit_width=4),
        torch.nn.Flatten(),
        quantized(qnn.QuantLinear, 32 * 16, 20),
        qnn.QuantReLU(bit_width=4),
        quantized(qnn.QuantLinear, 20, 10),
        qnn.QuantIdentity(bit_width=8),
    )
    for _ in range(10):
        model.train()(torch.randn(8, 1, 8, 8))  # its scales follow the data
    return model.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("bits", "digits"), [(2, 1), (4, 3)])
def test_weights_of_few_bits_run_as_digits(bits: int, digits: int, tmp_path: Path) -> None:
    path = tmp_path / "few.onnx"
    export_qonnx(few_bits(bits), torch.zeros(1, 1, 8, 8), path)
    network = import_integer(path)
    program = compile_network(network, WIDE)
    assert {layer.descriptor.digits for layer in program.layers if layer.macs} == {digits}
    images = random_images(np.random.default_rng(0), network, 3)
    expected = Executor(network).trace(images)
    with SimulatedEngine(program) as engine:
        for number, image in enumerate(images):
            for name, values in engine.run(image, trace=True).values.items():
                assert np.array_equal(values, expected[name][number]), name
