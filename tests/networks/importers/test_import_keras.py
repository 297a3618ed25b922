# SPDX-License-Identifier: Apache-2.0
"""Keras files against Keras' own predictions."""

import json
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intarsia.errors import IntarsiaError
from intarsia.networks.importers import ImportedModel, import_float
from intarsia.networks.importers._keras_file import import_keras

h5py = pytest.importorskip("h5py")
if find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)

keras = import_keras()  # with PyTorch behind it, and without writing to the user's home
layers, ops = keras.layers, keras.ops
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside Keras


def residual() -> Any:
    """Normalization behind activations and before them, additions, pools with odd borders."""
    i = keras.Input((9, 8, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1)(i)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(max_value=6)(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    y = layers.BatchNormalization(scale=False)(y)
    y = layers.Conv2D(8, (2, 1), padding="same", dilation_rate=2, groups=4, name="second")(y)
    x = layers.Activation("relu")(layers.Add()([x, y, layers.Conv2D(8, 1)(x)]))
    x = layers.MaxPooling2D(2, padding="same")(layers.ZeroPadding2D(((1, 0), (0, 2)))(x))
    x = layers.GlobalAveragePooling2D()(layers.SpatialDropout2D(0.2)(x))
    return keras.Model(i, layers.Dense(4, activation="softmax", name="classes")(x), name="residual")


def separable() -> Any:
    """As MobileNet, with a multiplier of channels; flattened in Keras' order."""
    return keras.Sequential(
        [
            keras.Input((10, 9, 2)),
            layers.RandomFlip("horizontal"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu6"),
            layers.SeparableConv2D(6, 3, strides=2, padding="same", depth_multiplier=2),
            layers.BatchNormalization(center=False),
            layers.AveragePooling2D((2, 1)),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(5, activation="relu"),
            layers.GaussianNoise(0.1),
            layers.Dense(3),
        ]
    )


def table() -> Any:
    """Features of different size; one output for two classes."""
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal([3, -100, 0.1], [1, 50, 0.01], (200, 3)).astype(np.float32))
    i = keras.Input((3,))
    x = layers.Dense(8, activation="relu")(normalization(i))
    x = layers.add([x, layers.Dense(8)(x)])
    return keras.Model(i, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.5)(x)))


def audio() -> Any:
    """1-D convolutions, one of which sees the past alone."""
    return keras.Sequential(
        [
            keras.Input((40, 2)),
            layers.Normalization(mean=[0.5, -1], variance=[2, 0.25]),
            layers.Conv1D(6, 5, strides=2, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
            layers.BatchNormalization(),
            layers.Activation("hard_tanh"),
            layers.SeparableConv1D(4, 3),
            layers.Dense(5, activation="relu"),
            layers.ZeroPadding1D((1, 2)),
            layers.AveragePooling1D(2),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


def nested() -> Any:
    """A network within a network, used twice; pixels as a table, rescaled before they are an image."""
    i = keras.Input((48,))
    x = layers.Reshape((4, 4, 3))(layers.Rescaling(1 / 255)(i))
    inner = keras.Input((4, 4, 3))
    body = keras.Model(inner, layers.Conv2D(3, 1, activation="relu", name="conv")(inner), name="body")
    head = keras.Sequential([layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(2, name="fc")], name="head")
    return keras.Model(i, head(body(body(x))))


def functions() -> Any:
    """Arithmetic and functions in place of layers."""
    i = keras.Input((6, 5, 3))
    x = (i / 255.0 - np.array([0.1, 0.2, 0.3], np.float32)) * 2.0
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = ops.clip(1.0 - x, -1, 1) + (-keras.activations.relu(x, max_value=0.5))
    x = ops.relu6(x) - 0.5 * ops.relu(x)
    x = ops.reshape(ops.transpose(ops.mean(x, axis=1, keepdims=True), (0, 2, 1, 3)), (-1, 12))
    return keras.Model(i, ops.sigmoid(layers.Dense(2)(x)))


def picture() -> Any:
    """A picture without an axis of channels, flattened at once."""
    return keras.Sequential(
        [keras.Input((4, 5)), layers.Flatten(), layers.Dense(3, activation="relu"), layers.Dense(2)]
    )


CASES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "residual": (residual, (3, 9, 8)),
    "separable": (separable, (2, 10, 9)),
    "table": (table, (3, 1, 1)),
    "audio": (audio, (2, 1, 40)),
    "nested": (nested, (3, 4, 4)),
    "functions": (functions, (3, 6, 5)),
    "picture": (picture, (1, 4, 5)),
}


def randomized(model: Any) -> Any:
    random = np.random.default_rng(1)
    for variable in model.weights:
        if variable.name in ("gamma", "beta", "bias", "moving_mean"):
            variable.assign(random.normal(0.2, 0.5, variable.shape))
        if variable.name == "moving_variance":
            variable.assign(random.uniform(0.5, 2, variable.shape))
    return model


def compare(model: Any, found: ImportedModel, seed: int = 3) -> None:
    x = np.random.default_rng(seed).normal(0, 2, (4, *model.input_shape[1:])).astype(np.float32)
    own = torch.from_numpy(x)
    if x.ndim == 4 and found.shape == (x.shape[3], *x.shape[1:3]):
        own = own.permute(0, 3, 1, 2)
    elif x.ndim == 3 and found.shape == (x.shape[2], 1, x.shape[1]):
        own = own.permute(0, 2, 1)
    elif x.ndim == 2 and found.shape[1] > 1:  # pixels as Keras stores them
        own = own.reshape(4, *found.shape[1:], found.shape[0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        result = found.module(own.reshape(4, *found.shape)).double()
    if "Softmax at the end" in found.dropped:
        result = result.softmax(1)
    if "Sigmoid at the end" in found.dropped:
        result = result.sigmoid()
    expected = torch.from_numpy(np.asarray(model.predict(x, verbose=0))).double()
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_an_imported_model_computes_what_keras_predicts(name: str, ending: str, tmp_path: Path) -> None:
    if (name, ending) == ("functions", "h5"):
        pytest.skip("Keras itself does not read functions from .h5 files")
    make, shape = CASES[name]
    model = randomized(make())
    model.save(tmp_path / f"model.{ending}")
    found = import_float(tmp_path / f"model.{ending}")
    assert found.shape == shape
    compare(model, found)


def test_channels_first_is_read_too(tmp_path: Path) -> None:
    first = {"data_format": "channels_first"}
    model = keras.Sequential(
        [
            keras.Input((3, 6, 5)),
            layers.Conv2D(4, 3, strides=2, padding="same", **first),
            layers.BatchNormalization(axis=1),
            layers.MaxPooling2D((2, 1), **first),
            layers.Flatten(**first),
            layers.Dense(2),
        ]
    )
    randomized(model).save(tmp_path / "model.keras")
    found = import_float(tmp_path / "model.keras")
    assert found.shape == (3, 6, 5)
    compare(model, found)


def as_keras_2(layer: dict[str, Any]) -> None:
    """Describe a layer as TensorFlow's Keras 2 did."""
    config = layer["config"]
    if layer["class_name"] == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    if layer["class_name"] == "DepthwiseConv2D":
        config["groups"] = 1
    if config.get("activation") == "softmax":
        config["activation"] = "softmax_v2"
    config["dtype"] = "float32"
    calls = [node["args"] for node in layer.get("inbound_nodes", [])]
    read = [call[0] if isinstance(call[0], list) else call for call in calls]
    layer["inbound_nodes"] = [[[*tensor["config"]["keras_history"], {}] for tensor in call] for call in read]


@pytest.mark.parametrize("name", ["residual", "separable"])
def test_files_of_keras_2_are_read(name: str, tmp_path: Path) -> None:
    model = randomized(CASES[name][0]())
    if name == "separable":  # as a functional network
        model = keras.Model(model.inputs, model.outputs)
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        description = json.loads(file.attrs["model_config"])
        for layer in description["config"]["layers"]:
            as_keras_2(layer)
        for key in ("input_layers", "output_layers"):
            description["config"][key] = [description["config"][key]]
        file.attrs["model_config"] = json.dumps(description)
    compare(model, import_float(tmp_path / "model.h5"))


def test_what_training_alone_needs_is_left_out(tmp_path: Path) -> None:
    """Losses and regularizers of the user's own, and types of numbers, do not matter to inference."""

    @keras.saving.register_keras_serializable(package="own")
    class Regularizer(keras.regularizers.Regularizer):  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            return ops.sum(x)

        def get_config(self) -> dict[str, Any]:
            return {}

    def loss(expected: Any, found: Any) -> Any:
        return ops.mean(expected - found)

    first = layers.Dense(3, kernel_regularizer=Regularizer(), name="first")
    body = keras.Sequential([keras.Input((4,)), first], name="body")
    body.compile("adam", loss=loss)
    last = layers.Dense(2, dtype="mixed_float16", use_bias=False, name="last")
    model = keras.Sequential([keras.Input((4,)), body, last])
    model.compile("adam", loss=loss)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"model.{ending}")
        found = dict(import_float(tmp_path / f"model.{ending}").module.named_parameters())
        assert set(found) == {"body.first.weight", "body.first.bias", "last.weight"}
        np.testing.assert_array_equal(found["body.first.weight"].detach().numpy().T, first.get_weights()[0])


@keras.saving.register_keras_serializable(package="own")
class Own(layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x * 2


def doubled(x: Any) -> Any:
    return x * 2


IMAGE, FLAT, SIGNAL = (6, 6, 2), (5,), (8, 2)


@pytest.mark.parametrize(
    ("shape", "layer", "says"),
    [
        (IMAGE, layers.LeakyReLU(name="leaky"), "layer LeakyReLU of 'leaky' is not supported"),
        (IMAGE, layers.PReLU(name="p"), "layer PReLU of 'p' is not supported"),
        (IMAGE, layers.Cropping2D(1, name="crop"), "layer Cropping2D of 'crop' is not supported"),
        (IMAGE, layers.Conv2DTranspose(2, 3, name="up"), "layer Conv2DTranspose of 'up' is not supported"),
        (SIGNAL, layers.LSTM(3, name="lstm"), "layer LSTM of 'lstm' is not supported"),
        (IMAGE, layers.LayerNormalization(name="norm"), "layer LayerNormalization of 'norm' is not supported"),
        (IMAGE, Own(name="mine"), "layer Own of 'mine' is a class of the user's own"),
        (FLAT, layers.Dense(2, activation="gelu", name="fc"), "operator Dense of 'fc' has the activation 'gelu'"),
        (FLAT, layers.Dense(2, activation=doubled, name="fc"), "'fc' has the activation doubled"),
        (FLAT, layers.Dense(2, activation=layers.LeakyReLU(), name="fc"), "'fc' has the activation LeakyReLU"),
        (IMAGE, layers.Activation("swish", name="a"), "'a' has the activation 'silu'"),
        (IMAGE, layers.ReLU(negative_slope=0.1, name="r"), "'r' has a slope or a threshold"),
        (IMAGE, layers.AveragePooling2D(3, 2, padding="same", name="pool"), "'pool' has padding that does not count"),
        (IMAGE, layers.Reshape((3, 12, 2), name="shape"), "makes the shape"),
        (IMAGE, layers.Softmax(axis=1, name="soft"), "another axis than that of the classes"),
        ((None, None, 2), layers.Conv2D(2, 3), "has a dynamic shape"),
        ((4, 4, 4, 2), layers.Conv3D(2, 3, name="c3"), "layer Conv3D of 'c3' is not supported"),
    ],
)
def test_what_is_not_supported_is_named(shape: tuple[int, ...], layer: Any, says: str, tmp_path: Path) -> None:
    i = keras.Input(shape)
    x = layer(i)
    model = keras.Model(i, layers.Dense(2)(layers.Flatten()(x)) if None not in shape else x)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"model.{ending}")
        with pytest.raises(IntarsiaError, match=says) as caught:
            import_float(tmp_path / f"model.{ending}")
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"model.{ending}")


def test_networks_of_several_inputs_results_and_orders_are_refused(tmp_path: Path) -> None:
    i, j = keras.Input((4, 4, 2)), keras.Input((4, 4, 2))
    conv = layers.Conv2D(2, 1, name="conv")
    first = layers.Conv2D(2, 1, data_format="channels_first")
    cases = {
        "several inputs": keras.Model([i, j], conv(layers.Add()([i, j]))),
        "2 outputs": keras.Model(i, [conv(i), conv(i)]),
        "channels first and others": keras.Model(i, first(conv(i))),
    }
    for says, model in cases.items():
        model.save(tmp_path / "model.keras")
        with pytest.raises(IntarsiaError, match=says):
            import_float(tmp_path / "model.keras")
    quantized = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    quantized.quantize("int8")
    quantized.save(tmp_path / "model.keras")
    with pytest.raises(IntarsiaError, match="quantized by Keras"):
        import_float(tmp_path / "model.keras")


# Files that mean harm, and files that are damaged.


def with_config(path: Path, change: Callable[[Any], object], to: Path) -> Path:
    """Copy a .keras file with another description."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return to


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    randomized(separable()).save(path)
    return path


def test_code_in_a_file_is_never_run(file: Path, tmp_path: Path) -> None:
    sprung = str(tmp_path / "sprung")
    trap = layers.Lambda(lambda x: (__import__("pathlib").Path(sprung).touch(), x)[1], name="trap")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.add(trap)
    Path(sprung).unlink(missing_ok=True)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"trap.{ending}")
        with pytest.raises(IntarsiaError, match="layer Lambda of 'trap' is not supported: it holds Python code"):
            import_float(tmp_path / f"trap.{ending}")
    gadget = {"module": "os", "class_name": "system", "config": {"command": f"touch {sprung}"}, "registered_name": None}
    called = {"module": "pathlib", "class_name": "function", "config": "Path.touch", "registered_name": "function"}

    def place(key: str, value: Any) -> Callable[[Any], object]:
        return lambda config: config["config"]["layers"][2]["config"].update({key: value})

    changes: dict[str, Callable[[Any], object]] = {
        "a class of the user's own": lambda config: config["config"]["layers"].insert(1, gadget),
        "the activation system": place("activation", gadget),
        "the activation Path.touch": place("activation", called),
        "quantized by Keras": place("dtype", gadget),
        "the name system": place("name", gadget),
    }
    for says, change in changes.items():
        with pytest.raises(IntarsiaError, match=says):
            import_float(with_config(file, change, tmp_path / "gadget.keras"))
    import_float(with_config(file, place("depthwise_initializer", gadget), tmp_path / "gadget.keras"))
    import_float(with_config(file, lambda config: config.update(compile_config=gadget), tmp_path / "gadget.keras"))
    assert not Path(sprung).exists()


def test_foreign_and_damaged_files_are_refused_in_one_sentence(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    paths = {name: tmp_path / name for name in ("empty.keras", "short.keras", "text.h5", "zip.h5", "weights.h5")}
    paths["empty.keras"].write_bytes(b"")
    paths["short.keras"].write_bytes(content[: len(content) // 2])
    paths["text.h5"].write_text("a model")
    paths["zip.h5"].write_bytes(content)
    separable().save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.weights.h5").rename(paths["weights.h5"])
    for name, path in paths.items():
        says = "holds weights without a network" if name == "weights.h5" else f"{name} is damaged"
        with pytest.raises(IntarsiaError, match=says) as caught:
            import_float(path)
        assert "\n" not in str(caught.value)


def test_a_description_with_any_change_is_read_or_refused(file: Path, tmp_path: Path) -> None:
    chosen = np.random.default_rng(0)
    odd: list[Any] = [
        None,
        -1,
        0,
        3,
        10**9,
        0.5,
        "",
        "same",
        [],
        {},
        True,
        [2, 2],
        {"class_name": "Dense", "config": {}},
    ]

    def places(value: Any) -> list[tuple[Any, Any]]:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        nested = [place for key in keys if isinstance(value[key], dict | list) for place in places(value[key])]
        return [(value, key) for key in keys] + nested

    def change(config: Any) -> None:
        found = places(config["config"])
        holder, key = found[chosen.integers(len(found))]
        holder[key] = odd[chosen.integers(len(odd))]

    for _ in range(25):
        try:
            import_float(with_config(file, change, tmp_path / "changed.keras"))
        except IntarsiaError as error:
            assert "\n" not in str(error)


def test_a_missing_or_old_keras_names_the_extra_that_brings_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(IntarsiaError, match=r"keras is missing; install it with: pip install 'intarsia\[keras\]'"):
        import_float(file)
    old = types.ModuleType("keras")
    old.__version__ = "2.15.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", old)
    with pytest.raises(IntarsiaError, match=r"Keras 3, not 2.15.0; install it with: pip install 'intarsia\[keras\]'"):
        import_float(file)


def test_nothing_is_written_to_the_home_or_printed(file: Path, tmp_path: Path) -> None:
    """In a process of its own, which imports Keras first with this package, the settings of another backend around."""
    code = (
        "import sys; from pathlib import Path; from intarsia.networks.importers import import_float;"
        "import_float(Path(sys.argv[1])); import os; assert os.environ['KERAS_BACKEND'] == 'tensorflow';"
        "assert 'KERAS_HOME' not in os.environ; import keras; assert keras.backend.backend() == 'torch'"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "KERAS_BACKEND": "tensorflow"}
    environment.pop("KERAS_HOME", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []
