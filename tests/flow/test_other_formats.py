# SPDX-License-Identifier: Apache-2.0
"""Networks in the formats of PyTorch and Keras go the way of any other, from the command line to the integers."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from intarsia import cli  # noqa: E402


def write_pt2(path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3), nn.Softmax(1))
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 1, 6, 6),)), path)


def write_keras(path: Path) -> None:
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    from intarsia.networks.importers._keras_file import import_keras  # noqa: PLC0415

    keras = import_keras()
    layers = keras.layers
    first = layers.Conv2D(4, 3, padding="same", activation="relu")
    last = layers.Dense(3, activation="softmax")
    keras.Sequential([keras.Input((6, 6, 1)), first, layers.Flatten(), last]).save(path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("ending", ["pt2", "keras", "h5"])
def test_a_network_of_another_format_is_run(
    ending: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (write_pt2 if ending == "pt2" else write_keras)(Path(f"small.{ending}"))
    pixels = np.random.default_rng(1).integers(0, 200, (60, 1, 6, 6)).astype(np.uint8)
    np.savez("data.npz", x=pixels, y=np.arange(60) % 3)
    capsys.readouterr()
    options = ["--data", "data.npz", "--epochs", "0", "--baselines", "--quiet"]
    assert cli.main(["execute", f"small.{ending}", *options]) == 0
    assert Path(f"runs/small/train/float.{ending}").read_bytes() == Path(f"small.{ending}").read_bytes()
    text = "".join(capsys.readouterr())
    assert "execute/superposition" in text
    assert "Traceback" not in text
    Path(f"small.{ending}").write_bytes(b"damaged")
    assert cli.main(["execute", f"small.{ending}", *options]) == 2
    text = "".join(capsys.readouterr())
    assert f"small.{ending} is damaged" in text
    assert "Traceback" not in text
