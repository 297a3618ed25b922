# SPDX-License-Identifier: Apache-2.0
"""The built-in networks: all that a run of each one needs to know, declared once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from intarsia.errors import IntarsiaError
from intarsia.flow.schemes import INT8, SUPERPOSITION, TERNARY
from intarsia.quantize.recipes import OWN

Route = Literal["engine", "lane", "none"]


@dataclass(frozen=True)
class Benchmark:
    """A network with its data, and what its run does unless told otherwise.

    Attributes:
        title: one line for people.
        dataset: name in `intarsia.datasets`; empty for a user's own.
        recipe: of quantization-aware training, by name in `QUANTIZATION_RECIPES`.
        retrain: whether the float network is trained from scratch; else the weights of the zoo are taken.
        reference: where it is imported from instead, a file in the folder of data sets.
        images: test images for the simulated engine.
        official: whether its test set is the official one; else some of the inputs were held out.
        scheme: what `superposition` means for this network, as text.
        transforms: of the float network before it is quantized with that scheme.
        baselines: kinds of networks to report in addition.
        seeds: of quantization-aware training, one network of each kind for each.
        route: what is placed and routed on an FPGA; nextpnr takes long for the engine, seconds for a lane.
        threads: of PyTorch; one is fastest for a network whose iterations take milliseconds. None is PyTorch's choice.
    """

    title: str
    dataset: str
    recipe: str
    images: int
    retrain: bool = False
    reference: str = ""
    official: bool = True
    scheme: str = SUPERPOSITION
    transforms: str = "none"
    baselines: tuple[str, ...] = (TERNARY, INT8)
    seeds: tuple[int, ...] = (0,)
    route: Route = "engine"
    threads: int | None = None

    @property
    def weights(self) -> str:
        """Where the float weights come from, for people."""
        if self.reference:
            return "imported from MLPerf Tiny's reference"
        return "trained from scratch" if self.retrain else "float weights in the zoo"


#: By name in `intarsia.networks`, which builds them.
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "digits": Benchmark(
            "depthwise-separable CNN on 8×8 digits",
            dataset="digits",
            recipe="digits",
            images=100,
            scheme="ternary+2:16xint5, first=digits2, last=default, depthwise=digits2",
            seeds=(0, 1, 2),
            retrain=True,
            official=False,
            route="lane",
            threads=1,
        ),
        "resnet8": Benchmark(
            "MLPerf Tiny ResNet-8 on CIFAR-10",
            dataset="cifar10",
            recipe="cifar10",
            images=100,
            scheme="ternary+1:16xint5, first=digits2",
        ),
        "dscnn": Benchmark(
            "MLPerf Tiny DS-CNN, keyword spotting",
            dataset="speech_commands",
            recipe="speech_commands",
            images=20,
            reference="mlperf_tiny/kws_ref_model_float32.tflite",
            scheme="ternary+1:16xint4, first=digits2, last=ternary, depthwise=digits2, conv2d_2=ternary+3:16xint4, "
            "conv2d_4=ternary, scales=5",
            transforms="equalize",
            route="lane",
        ),
        "mobilenet": Benchmark(
            "MLPerf Tiny MobileNetV1-0.25, visual wake words",
            dataset="visual_wake_words",
            recipe="visual_wake_words",
            images=20,
            reference="mlperf_tiny/vww_96_float.tflite",
            scheme="ternary+2:16xint5, first=digits2, last=default, depthwise=digits2, conv2d_1=digits2, "
            "conv2d_2=digits2, conv2d_5=ternary+3:16xint5, conv2d_7=ternary+3:16xint5, "
            "conv2d_12=ternary+1:16xint5, conv2d_13=ternary+1:16xint5",
            route="lane",
        ),
        "autoencoder": Benchmark(
            "MLPerf Tiny FC-AutoEncoder, anomaly detection",
            dataset="toycar",
            recipe="toycar",
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
_OWN = Benchmark("", dataset="", recipe=OWN, images=20, official=False, scheme="ternary+3:16xint4")


def benchmark_of(network: str, model: Path | None = None) -> Benchmark:
    """Return a built-in network; with `model`, what a run of a user's own network does, imported from that file.

    Raises:
        IntarsiaError: the name is unknown.
    """
    if model is not None:
        return replace(_OWN, title=f"imported from {model.name}")
    if network not in BENCHMARKS:
        raise IntarsiaError(f"there is no network {network!r}; choose one of {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[network]
