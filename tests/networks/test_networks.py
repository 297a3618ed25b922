# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import fx, nn  # noqa: E402

from intarsia.errors import IntarsiaError  # noqa: E402
from intarsia.networks import (  # noqa: E402
    NETWORKS,
    WeightsCard,
    build,
    load_weights,
    load_zoo,
    save_weights,
    zoo_card,
    zoo_path,
)

#: Input shape and outputs.
SHAPES = {
    "digits": ((1, 8, 8), 10),
    "resnet8": ((3, 32, 32), 10),
    "dscnn": ((1, 49, 10), 12),
    "mobilenet": ((3, 96, 96), 2),
    "autoencoder": ((640, 1, 1), 640),
}
ZOO = [name for name in NETWORKS if zoo_path(name).is_file()]
CARD = WeightsCard("digits", "intarsia train digits --seed 3", 3, 2, "Recipe()", 0.5, 0.25, "2", {"a": "b"})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_maps_inputs_to_its_outputs_and_can_be_traced(name: str) -> None:
    shape, outputs = SHAPES[name]
    model, x = build(name).eval(), torch.randn(2, *shape)
    assert model(x).shape == (2, outputs)
    assert torch.equal(fx.symbolic_trace(model)(x), model(x))


def test_resnet8_is_that_of_mlperf_tiny() -> None:
    shapes = [tuple(p.shape) for p in build("resnet8").parameters() if p.dim() > 1]
    assert sum(torch.Size(shape).numel() for shape in shapes) == 77_360
    assert shapes[0] == (16, 3, 3, 3)
    assert shapes[-1] == (10, 64)
    assert [shape for shape in shapes if shape[2:] == (1, 1)] == [(32, 16, 1, 1), (64, 32, 1, 1)]


def test_depthwise_kernels_of_digits_fill_the_lanes() -> None:
    depthwise = [m for m in build("digits").modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert depthwise
    for layer in depthwise:
        taps = layer.weight[0].numel()
        assert taps / -(-taps // 16) >= 9


def test_the_seed_decides_the_weights_and_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (build("digits", seed).stem.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_unknown_network_lists_the_known_ones() -> None:
    for call in (build, load_zoo):
        with pytest.raises(IntarsiaError, match=r"no network 'resnet9'; choose one of digits, resnet8"):
            call("resnet9")


def test_weights_and_card_come_back(tmp_path: Path) -> None:
    model = build("digits", seed=5).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", model, CARD)
    loaded, card = load_weights(tmp_path / "w.safetensors")
    assert card == CARD
    assert not loaded.training
    assert all(torch.equal(a, loaded.state_dict()[name]) for name, a in model.state_dict().items())


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(IntarsiaError, match="there is no file"):
        load_weights(path)
    save_weights(path, build("digits"), CARD)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(IntarsiaError, match="cannot be read"):
        load_weights(path)
    tensors = {"x": torch.zeros(1)}
    save_file(tensors, path)
    with pytest.raises(IntarsiaError, match="format 'none'"):
        load_weights(path)
    header = {"format": "intarsia-float-weights-1"}
    save_file(tensors, path, metadata={**header, "card": json.dumps({"network": "digits"})})
    with pytest.raises(IntarsiaError, match=r"card in .* is damaged"):
        load_weights(path)
    save_file(tensors, path, metadata={**header, "card": json.dumps(vars(CARD))})
    with pytest.raises(IntarsiaError, match="do not fit the network 'digits'"):
        load_weights(path)


def test_a_network_outside_the_zoo_says_so() -> None:
    with pytest.raises(IntarsiaError, match="only for resnet8; train it"):
        load_zoo("digits")


@pytest.mark.parametrize("name", ZOO)
def test_zoo_weights_are_small_and_say_how_they_were_made(name: str) -> None:
    card = zoo_card(name)
    assert card.network == name
    assert card.command == f"intarsia train {name} --retrain --seed {card.seed}"
    assert len(card.data_checksums) == 6
    assert zoo_path(name).stat().st_size < 400_000
    assert all(torch.isfinite(value).all() for value in load_file(zoo_path(name)).values())


@pytest.mark.data
def test_resnet8_of_the_zoo_is_as_accurate_as_its_card_says() -> None:
    if "INTARSIA_DATA" not in os.environ:
        pytest.skip("needs INTARSIA_DATA")
    from intarsia.datasets import load_dataset  # noqa: PLC0415
    from intarsia.quantize.training import evaluate  # noqa: PLC0415

    data = load_dataset("cifar10", splits=("test",))
    accuracy = evaluate(load_zoo("resnet8"), data.test, data.scaling)
    assert accuracy >= 0.87
    assert accuracy == pytest.approx(zoo_card("resnet8").test_accuracy, abs=3e-4)  # float sums in another order
