# SPDX-License-Identifier: Apache-2.0
"""What a run may be told, and each network's defaults."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from intarsia.engine import EngineConfig
from intarsia.errors import IntarsiaError
from intarsia.files import require_readable
from intarsia.flow.schemes import INT8, LAYERWISE, SUPERPOSITION, TERNARY, scheme_text, slots_for
from intarsia.processes import LONGEST_TIMEOUT_S
from intarsia.quantize.recipes import LARGEST_SEED, QUANTIZATION_RECIPES, QuantizationRecipe, recipe_of
from intarsia.quantize.scheme import LayerScheme, Scheme
from intarsia.quantize.scheme_text import normalized
from intarsia.quantize.transforms.settings import Transforms

Route = Literal["engine", "lane", "none"]
#: What the layer-wise baseline must not cost more of than the network it is beside.
Budget = Literal["bits", "cycles"]

#: The folder of all studies, among those of runs.
STUDIES = "studies"

#: What the file of a float network to import ends in.
MODELS = (".tflite", ".onnx", ".pt2", ".keras", ".h5")
MODEL_FILE = f"a {', '.join(MODELS[:-1])} or {MODELS[-1]} file"

#: What runs report beside the scheme that was asked for; `layerwise` has one format per layer, searched.
BASELINES = ("ternary", "int8", "int4", "int2", "layerwise")


@dataclass(frozen=True)
class Defaults:
    """What a network's run does unless told otherwise.

    Attributes:
        title: one line for people.
        dataset: name in `intarsia.datasets`; empty for a user's own.
        retrain: whether the float network is trained from scratch; else the weights of the zoo are taken.
        reference: where it is imported from instead, a file in the folder of data sets.
        images: test images for the simulated engine.
        official: whether its test set is the official one; else some of the inputs were held out.
        scheme: what `superposition` means for this network, as text.
        transforms: that the float network goes through before that.
        route: what is placed and routed on an FPGA; the engine takes nextpnr long, a lane takes it seconds.
        threads: of PyTorch; a network whose steps take milliseconds learns fastest on one. None is PyTorch's choice.
    """

    title: str
    dataset: str
    retrain: bool
    images: int
    reference: str = ""
    official: bool = True
    scheme: str = SUPERPOSITION
    transforms: str = "none"
    route: Route = "engine"
    threads: int | None = None


#: By name in `intarsia.networks`; known here as well, so that a misspelt name is refused without loading PyTorch.
DEFAULTS: Mapping[str, Defaults] = MappingProxyType(
    {
        "digits": Defaults(
            "depthwise-separable CNN on 8×8 digits",
            "digits",
            retrain=True,
            images=100,
            official=False,
            route="lane",
            threads=1,
        ),
        "resnet8": Defaults(
            "MLPerf Tiny ResNet-8 on CIFAR-10",
            "cifar10",
            retrain=False,
            images=100,
            scheme="ternary+1:16xint5",
        ),
        "dscnn": Defaults(
            "MLPerf Tiny DS-CNN, keyword spotting",
            "speech_commands",
            retrain=False,
            images=20,
            reference="mlperf_tiny/kws_ref_model_float32.tflite",
            scheme="ternary+1:16/4xint4, first=digits2, last=ternary, depthwise=digits2, depthwise_conv2d_3=ternary, "
            "conv2d_2=digits2, conv2d_4=ternary, scales=5",
            transforms="equalize",
            route="lane",
        ),
        "mobilenet": Defaults(
            "MLPerf Tiny MobileNetV1-0.25, visual wake words",
            "visual_wake_words",
            retrain=False,
            images=20,
            reference="mlperf_tiny/vww_96_float.tflite",
            scheme="ternary+2:16xint5, first=digits2, last=default, depthwise=digits2, conv2d_1=digits2, "
            "conv2d_2=digits2, conv2d_5=digits2, conv2d_7=digits2, conv2d_12=ternary+1:16xint5, "
            "conv2d_13=ternary+1:16xint5",
            route="lane",
        ),
        "autoencoder": Defaults(
            "MLPerf Tiny FC-AutoEncoder, anomaly detection",
            "toycar",
            retrain=False,
            images=20,
            reference="mlperf_tiny/ad01_fp32.tflite",
            scheme="ternary+2:16xint4, first=default, last=default",
            route="lane",
        ),
    }
)

#: Of a network of the user's own. Nobody has tuned a scheme for it, so three times as many weights are precise as
#: ResNet-8 needs; each of 16 takes half a bit per weight and a slot. Trained on 8,000 images, the zoo's ResNet-8 loses
#: on its validation images 1.4 to 1.9 points with one precise weight of 16, 0.6 to 1.1 with two, 0.3 to 0.8 with three.
_OWN = Defaults("", "", retrain=False, images=20, official=False, scheme="ternary+3:16xint4")


def defaults_of(network: str, model: Path | None = None) -> Defaults:
    """Return a network's defaults; with `model`, those of a network of the user's own, imported from that file.

    Raises:
        IntarsiaError: the name is unknown.
    """
    if model is not None:
        return replace(_OWN, title=f"imported from {model.name}")
    if network not in DEFAULTS:
        raise IntarsiaError(f"there is no network {network!r}; choose one of {', '.join(DEFAULTS)}.")
    return DEFAULTS[network]


def named(network: str, *, alone: bool = False) -> tuple[str, Path | None]:
    """Return what a network's run is called, and the file that it is imported from, if it is.

    Args:
        network: a name, or the path of a file that ends in one of `MODELS`.
        alone: whether the run has a folder of its own choice, where it cannot meet a network that is built in.

    Raises:
        IntarsiaError: it is another kind of file, is called as a network that is built in, or its name cannot be that
            of a folder.
    """
    path = Path(network)
    if not network.strip("."):
        raise IntarsiaError(f"{network!r} is not a network; give one that `intarsia networks` lists, or {MODEL_FILE}.")
    if path.suffix.lower() not in MODELS:
        if network not in DEFAULTS and (path.suffix or os.sep in network):
            raise IntarsiaError(
                f"{network} is not a float network; give one that `intarsia networks` lists, or {MODEL_FILE} (execute, "
                "export-onnx, compile and simulate also take the .safetensors file of an integer network)."
            )
        return network, None
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    if not name.strip("."):
        raise IntarsiaError(f"{path} has no name that a folder could have; rename the file.")
    if name == STUDIES and not alone:
        raise IntarsiaError(
            f"{path} would share the folder of all studies; rename the file (or, for a run, choose another folder with "
            "--out)."
        )
    if name in DEFAULTS and not alone:
        raise IntarsiaError(
            f"{path} would share the folder of the network {name} that is built in; rename the file (or, for a run, "
            "choose another folder with --out)."
        )
    return name, path


@dataclass(frozen=True)
class Settings:
    """One run. What changes a result is a field, and enters the key of the tasks that it changes.

    The rest says where and how: `folder`; `data_dir`, for what enters the keys of tasks is which files were found there
    (nothing where checksums pin them, so that they are the same anywhere); `command`; and
    `device`, although sums of floating-point numbers round differently there, so that a network trained on another
    device is another one of the same quality: give `--force` to train it again.

    Attributes:
        network: name in `intarsia.networks`; for a user's own, whatever it is called.
        model: file of a user's own network to import, see `MODELS`; its data is at `data_dir`.
        folder: where the artifacts of this network go.
        data_dir: folder of data sets; None looks at INTARSIA_DATA and the cache.
        scheme: preset or text, see `intarsia.quantize.scheme`.
        transforms: that the float network goes through before it is quantized, see `intarsia.quantize.transforms`; None
            is the network's default with its default scheme, and none with another. int8 is never equalized.
        seeds: of quantization-aware training, one network each; the first one is built in hardware.
        epochs: of quantization-aware training; None is the recipe's, 0 is post-training quantization only.
        recipe: of quantization-aware training, by the name of the data set that it was made for, see
            `intarsia.quantize.recipes`; None is that of the network's data, `own` for a user's.
        rate: its peak learning rate, a part of each tensor's size; None is the recipe's.
        baselines: to report beside the scheme, of `BASELINES`; for the first seed.
        layerwise_formats: what the layer-wise baseline chooses from for each layer, the best first.
        layerwise_budget: what it must not cost more of than the network that is built.
        baseline_epochs: of their training, but int8's, which needs none; None is as many as `epochs`.
        retrain: whether to train the float network from scratch; None is the network's default.
        float_epochs: of that training; None is the recipe's.
        device: where PyTorch trains.
        images: test images for the simulated engine; None is the network's default.
        onnx_images: test images for the exported graph in onnxruntime.
        lanes: of the engine to compile for.
        slots: of a lane and block; None is as many as the scheme needs.
        synthesis: whether to synthesize.
        route: what is placed and routed on an FPGA; None is the network's default.
        route_seconds: time limit of each tool of that; past it the report says so.
        command: the command line, for the report.
    """

    network: str
    folder: Path
    model: Path | None = None
    data_dir: Path | None = None
    scheme: str = "superposition"
    transforms: str | None = None
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    recipe: str | None = None
    rate: float | None = None
    baselines: tuple[str, ...] = (TERNARY, INT8)
    layerwise_formats: tuple[str, ...] = ("int8", "int4", "int2")
    layerwise_budget: Budget = "bits"
    baseline_epochs: int | None = None
    retrain: bool | None = None
    float_epochs: int | None = None
    device: str = "cpu"
    images: int | None = None
    onnx_images: int = 1000
    lanes: int = EngineConfig.lanes
    slots: int | None = None
    synthesis: bool = True
    route: Route | None = None
    route_seconds: float = 1800.0
    command: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scheme", normalized(self.scheme))
        own = self.defaults.transforms if self.scheme == SUPERPOSITION else "none"
        object.__setattr__(
            self, "transforms", str(Transforms.parse(own if self.transforms is None else self.transforms))
        )
        self._check_source()
        within = all(0 <= seed <= LARGEST_SEED for seed in self.seeds)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or not within:
            raise IntarsiaError(f"the seeds must be different numbers from 0 to {LARGEST_SEED}, not {self.seeds}.")
        self._check_baselines()
        self._check_recipe()
        for name in ("epochs", "baseline_epochs"):
            if (getattr(self, name) or 0) < 0:
                raise IntarsiaError(f"{name.replace('_', ' ')} must be 0 or more, not {getattr(self, name)}.")
        for name in ("float_epochs", "images", "onnx_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise IntarsiaError(f"{name.replace('_', ' ')} must be 1 or more, not {value}.")
        if self.float_epochs is not None and not self.from_scratch:
            if self.model or self.defaults.reference:
                raise IntarsiaError(
                    f"{self.network} is imported with its float weights, which are not trained; leave out "
                    "--float-epochs."
                )
            raise IntarsiaError(
                f"float epochs are of training from scratch, but {self.network} takes its float weights from the zoo; "
                "add --retrain."
            )
        _ = self.engine  # says what is wrong with the scheme and with its numbers
        if not 0 < self.route_seconds <= LONGEST_TIMEOUT_S:
            raise IntarsiaError(
                f"the time limit of place and route must be above 0 and at most {LONGEST_TIMEOUT_S:,.0f} seconds, not "
                f"{self.route_seconds:g}."
            )

    def _check_baselines(self) -> None:
        if unknown := [name for name in self.baselines if name not in BASELINES]:
            raise IntarsiaError(f"there is no baseline {unknown[0]!r}; choose of {', '.join(BASELINES)}.")
        if len(set(self.baselines)) != len(self.baselines):
            raise IntarsiaError(f"the baselines must be different ones, not {' '.join(self.baselines)}.")
        if self.scheme in self.baselines:
            raise IntarsiaError(
                f"{self.scheme} is already in --baselines; choose another scheme or remove the baseline."
            )
        if not self.layerwise_formats:
            raise IntarsiaError("a layer-wise network chooses from at least one format; give --layerwise-formats.")
        for text in self.layerwise_formats:
            LayerScheme.parse(text)
        if self.layerwise_budget not in get_args(Budget):
            raise IntarsiaError(f"there is no budget {self.layerwise_budget!r}; choose bits or cycles.")
        if self.scheme == LAYERWISE:
            raise IntarsiaError("layerwise is a baseline, with the bits of the scheme; give --baselines layerwise.")

    def _check_recipe(self) -> None:
        if self.recipe is not None and self.recipe not in QUANTIZATION_RECIPES:
            raise IntarsiaError(f"there is no recipe {self.recipe!r}; choose one of {', '.join(QUANTIZATION_RECIPES)}.")
        wanted, found = recipe_of(self.defaults.dataset).training.objective, self.quantization_recipe.training.objective
        if found != wanted:
            raise IntarsiaError(
                f"the recipe {self.recipe} trains for {found}, but {self.network} is a network for {wanted}; choose "
                "another --recipe."
            )
        if self.rate is not None and not 0 < self.rate <= 1:
            raise IntarsiaError(
                f"the rate is a part of each weight tensor's size, above 0 and at most 1, not {self.rate:g}: "
                "0.001 is cautious, 0.01 fast."
            )

    def _check_source(self) -> None:
        if self.model is not None:
            require_readable(self.model, f"give the path of {MODEL_FILE}")
        if self.model is not None and self.data_dir is None:
            raise IntarsiaError(
                f"{self.model} needs data; give an .npz file of x and y, or a folder of them, with --data."
            )
        imported = self.model or self.defaults.reference
        if imported and self.retrain:
            raise IntarsiaError(
                f"{self.network} is imported from {imported} and not trained from scratch; leave out --retrain."
            )

    @property
    def defaults(self) -> Defaults:
        """What this network's run does unless told otherwise."""
        return defaults_of(self.network, self.model)

    @property
    def engine(self) -> EngineConfig:
        """The engine to compile for."""
        plain = EngineConfig(lanes=self.lanes)  # refuses lanes that no engine has
        scheme = Scheme.parse(self.scheme_text(self.scheme))
        return replace(plain, slots=slots_for(scheme, plain.lanes) if self.slots is None else self.slots)

    def scheme_text(self, kind: str) -> str:
        """Return the planes that a user's name for a scheme means for this network."""
        return scheme_text(self.defaults.scheme, kind)

    @property
    def imported(self) -> Path | None:
        """The file that the float network is imported from, if it is.

        Raises:
            IntarsiaError: it is one of the folder of data sets, and there is none.
        """
        if self.model is not None or not self.defaults.reference:
            return self.model
        folder = self.data_dir or (Path(os.environ["INTARSIA_DATA"]) if os.environ.get("INTARSIA_DATA") else None)
        if folder is None or not (folder / self.defaults.reference).is_file():
            raise IntarsiaError(
                f"{self.network} is MLPerf Tiny's reference model; put {self.defaults.reference} into the folder of "
                "data sets (--data or INTARSIA_DATA): it is in github.com/mlcommons/tiny."
            )
        return folder / self.defaults.reference

    @property
    def from_scratch(self) -> bool:
        """Whether the float network is trained here."""
        return self.defaults.retrain if self.retrain is None else self.retrain

    @property
    def quantization_recipe(self) -> QuantizationRecipe:
        """How the quantized networks are trained, but for numbers of epochs."""
        return recipe_of(self.recipe or self.defaults.dataset).with_rate(self.rate)

    @property
    def routed(self) -> Route:
        """What is placed and routed."""
        return self.route or self.defaults.route

    @property
    def simulated_images(self) -> int:
        """How many test images run on the simulated engine."""
        return self.defaults.images if self.images is None else self.images

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values, without the folder: a run may be moved. Paths are absolute."""
        fields = asdict(self)
        del fields["folder"]
        paths = {name: fields[name] for name in ("model", "data_dir")}
        return fields | {name: None if path is None else str(path.absolute()) for name, path in paths.items()}

    @classmethod
    def from_json(cls, fields: Any, folder: Path) -> "Settings":
        """Return the settings that `as_json` gave, for a run in `folder`.

        Raises:
            IntarsiaError: these are not settings of this version.
        """
        try:
            for name, value in fields.items():
                if type(value) not in _TYPES.get(name, ()):
                    raise IntarsiaError(f"{name} is {value!r}")
            read = {name: _READERS.get(name, lambda value: value)(value) for name, value in fields.items()}
            return cls(folder=folder, **read)
        except (AttributeError, TypeError, ValueError, OverflowError, IntarsiaError) as error:
            reason = str(error).rstrip(".")
            raise IntarsiaError(
                f"the settings of the run in {folder} cannot be read ({reason}); run it again."
            ) from error


_NONE = type(None)
#: What `Settings.as_json` gives, by field.
_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("network", "scheme", "device", "command", "layerwise_budget", "transforms"), (str,)),
        **dict.fromkeys(("model", "data_dir", "route", "recipe"), (str, _NONE)),
        **dict.fromkeys(("seeds", "baselines", "layerwise_formats"), (list, tuple)),
        **dict.fromkeys(("epochs", "baseline_epochs", "float_epochs", "images"), (int, _NONE)),
        "retrain": (bool, _NONE),
        "rate": (int, float, _NONE),
        "onnx_images": (int,),
        "lanes": (int,),
        "slots": (int, _NONE),
        "synthesis": (bool,),
        "route_seconds": (int, float),
    }
)
_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "model": lambda text: None if text is None else Path(text),
        "data_dir": lambda text: None if text is None else Path(text),
        "seeds": tuple,
        "baselines": tuple,
        "layerwise_formats": tuple,
    }
)
