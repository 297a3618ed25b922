# SPDX-License-Identifier: Apache-2.0
"""Files as real exporters write them: onnxruntime's quantizer, Brevitas, torch.onnx."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType
from quantized_by_onnxruntime import differences, exported, quantized, run
from torch import nn

from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.networks.importers import content, data_files, import_float, import_integer

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters about themselves


def outputs(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        found: NDArray[np.float32] = import_float(path).module(torch.from_numpy(images)).numpy()
    return found


def integer_outputs(network: IntegerNetwork, images: NDArray[np.float32]) -> NDArray[np.float64]:
    form = network.input.format
    integers = np.clip(np.rint(images / network.input.scale), form.lo, form.hi).astype(np.int64)
    found: NDArray[np.float64] = Executor(network).run(integers) * network.output.scale
    return found


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_networks_quantized_by_onnxruntime(first: int, tmp_path: Path) -> None:
    """200 of them. A tie, or a multiplier of 16 bits, may round a value the other way, which later layers spread."""
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = differences(seed, folder)
        assert found.float_file < 1e-4, seed
        assert found.quantized_as_float < 2, seed
        assert found.integer_steps < 2.01, seed
        assert found.beyond_a_step < 0.01, seed


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_a_relu_that_lives_in_a_range_stays(kind: QuantType, form: QuantFormat, tmp_path: Path) -> None:
    """By default onnxruntime removes each ReLU: what its quantizer holds begins at 0."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(128, 10)
    )
    with torch.no_grad():
        model[5].weight.uniform_(-1, 1)  # type: ignore[union-attr]
    images = np.random.default_rng(0).uniform(size=(200, 1, 8, 8)).astype(np.float32)
    source = exported(model.eval(), (1, 8, 8), tmp_path / "f.onnx")
    path = quantized(
        source, images, tmp_path / "q.onnx", activation_type=kind, weight_type=QuantType.QInt8, quant_format=form
    )
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert not kinds & {"Relu", "Clip"}
    wanted, found = run(path, images), outputs(path, images)
    assert np.abs(found - wanted).max() < 0.05 * np.ptp(wanted)
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.95
    assert np.abs(integer_outputs(import_integer(path), images) - wanted).max() < 0.05 * np.ptp(wanted)


def brevitas_network(weight_bits: int, activation_bits: int) -> nn.Module:
    qnn = pytest.importorskip("brevitas.nn")
    torch.manual_seed(0)
    options = {"bit_width": activation_bits, "return_quant_tensor": True}
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        qnn.QuantConv2d(1, 8, 3, padding=1, weight_bit_width=weight_bits),
        nn.BatchNorm2d(8),
        qnn.QuantReLU(**options),
        nn.MaxPool2d(2),
        qnn.QuantConv2d(8, 8, 3, groups=8, bias=False, weight_bit_width=weight_bits),
        qnn.QuantIdentity(**options),  # its clip is all that bounds the tensor
        nn.Flatten(),
        qnn.QuantLinear(32, 5, bias=True, weight_bit_width=weight_bits),
        qnn.QuantIdentity(bit_width=8),
    )


def trained(model: nn.Module, images: NDArray[np.float32]) -> nn.Module:
    """Let quantizers and normalization see data, which is what sets their scales."""
    model.train()
    with torch.no_grad():
        for _ in range(10):
            model(torch.from_numpy(images))
    return model.eval()


def brevitas_file(model: nn.Module, images: NDArray[np.float32], form: str, path: Path) -> Path:
    export = pytest.importorskip("brevitas.export")
    write: Callable[..., object] = {"qcdq": export.export_onnx_qcdq, "qonnx": export.export_qonnx}[form]
    logging.disable(logging.WARNING)
    try:
        write(model, args=torch.from_numpy(images[:1]), export_path=str(path))
    finally:
        logging.disable(logging.NOTSET)
    return path


@pytest.mark.parametrize("form", ["qcdq", "qonnx"])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(2, 2), (3, 8), (4, 4), (8, 8)])
def test_what_brevitas_exports(form: str, weight_bits: int, activation_bits: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(64, 1, 8, 8)).astype(np.float32)
    model = trained(brevitas_network(weight_bits, activation_bits), images)
    path = brevitas_file(model, images, form, tmp_path / "b.onnx")
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    network = import_integer(path)
    steps = np.abs(integer_outputs(network, images) - wanted) / network.output.scale
    assert (steps > 0.5).mean() < 0.02  # a tie, or a multiplier of 16 bits
    assert {str(layer.output.format)[-1] for layer in network.layers[:2]} == {str(activation_bits)}
    if activation_bits == 8:
        assert np.abs(outputs(path, images) - wanted).max() < 0.05 * np.ptp(wanted)
    limit = (1 << (activation_bits - 1)) * network.layers[2].output.scale  # the identity quantizer's range
    tensors = dict(import_float(path).module.named_modules())
    clips = [m for m in tensors.values() if isinstance(m, nn.Hardtanh) and m.min_val < 0]
    assert clips
    assert min(-m.min_val for m in clips) <= limit * 1.001


def test_a_bipolar_network_of_brevitas_is_exact(tmp_path: Path) -> None:
    """FINN's TFC: weights and activations of −1 and 1, also the input's; normalization becomes thresholds."""
    qnn = pytest.importorskip("brevitas.nn")
    from brevitas.core.quant import QuantType as Kind  # noqa: PLC0415
    from brevitas.core.restrict_val import RestrictValueType  # noqa: PLC0415
    from brevitas.core.scaling import ScalingImplType  # noqa: PLC0415
    from brevitas.core.zero_point import ZeroZeroPoint  # noqa: PLC0415
    from brevitas.inject import ExtendedInjector  # noqa: PLC0415
    from brevitas.quant.solver import ActQuantSolver, WeightQuantSolver  # noqa: PLC0415

    class Signs(ExtendedInjector):  # type: ignore[misc]
        quant_type, bit_width, narrow_range, signed = Kind.BINARY, 1, True, True
        scaling_impl_type, restrict_scaling_type = ScalingImplType.CONST, RestrictValueType.FP
        zero_point_impl, scaling_per_output_channel = ZeroZeroPoint, False

    class WeightSigns(Signs, WeightQuantSolver):  # type: ignore[misc]
        scaling_const = 1.0

    class ActivationSigns(Signs, ActQuantSolver):  # type: ignore[misc]
        min_val, max_val = -1.0, 1.0

    def sign() -> nn.Module:
        layer: nn.Module = qnn.QuantIdentity(act_quant=ActivationSigns)
        return layer

    def linear(inputs: int, results: int) -> nn.Module:
        layer: nn.Module = qnn.QuantLinear(inputs, results, bias=False, weight_quant=WeightSigns)
        return layer

    torch.manual_seed(0)
    hidden = [linear(64, 32), nn.BatchNorm1d(32), sign(), linear(32, 32), nn.BatchNorm1d(32), sign()]
    model = nn.Sequential(sign(), nn.Flatten(), *hidden, linear(32, 10))
    images = np.random.default_rng(0).normal(size=(200, 1, 8, 8)).astype(np.float32)
    path = brevitas_file(trained(model, images), images, "qonnx", tmp_path / "tfc.onnx")
    network = import_integer(path)
    assert "−1 for what is below 0" in network.metadata["input"]
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    found = Executor(network).run(np.where(images >= 0, 1, -1)) * network.output.scale
    assert np.abs(found - wanted).max() < network.output.scale
    with pytest.raises(IntarsiaError, match=r"leaves only the signs.*import_integer"):
        import_float(path)


class Preactivated(nn.Module):
    """A pre-activation residual block, a convolution in groups, one with gaps, and a head behind a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.norm, self.conv = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.groups, self.head = nn.Conv2d(8, 12, 3, stride=2, groups=4), nn.Linear(12 * 9, 16)
        self.last = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x / 255.0 - 0.5)
        x = x + self.conv(torch.relu(self.norm(x)))
        x = torch.clamp(self.groups(x), -1.5, 2.0)
        return torch.softmax(self.last(torch.relu(self.head(x.flatten(1)))), 1)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("batch", ["open", "one", "three"])
def test_what_torch_exports(dynamo: bool, batch: str, tmp_path: Path) -> None:
    """By default the weights of torch.onnx.export lie in a file of their own."""
    torch.manual_seed(0)
    model, path = Preactivated().eval(), tmp_path / "m.onnx"
    images = torch.rand(3, 2, 8, 8) * 255
    example = images[:1] if batch == "one" else images
    options: dict[str, object] = {}
    if batch == "open":
        options = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(model, (example,), path, dynamo=dynamo, input_names=["x"], external_data=True, **options)
    found = import_float(path)
    assert found.dropped == ("Softmax at the end",)
    with torch.no_grad():
        torch.testing.assert_close(found.module(images).softmax(1), model(images))
    assert len(data_files(path)) == dynamo
    copy = tmp_path / "elsewhere" / "m.onnx"
    copy.parent.mkdir()
    copy.write_bytes(content(path))
    assert data_files(copy) == ()
    with torch.no_grad():
        torch.testing.assert_close(import_float(copy).module(images), found.module(images))
    for file in data_files(path):
        file.unlink()
        with pytest.raises(IntarsiaError, match=r"m\.onnx"):
            import_float(path)
        with pytest.raises(IntarsiaError, match=r"m\.onnx\.data, which is missing"):
            data_files(path)
