# SPDX-License-Identifier: Apache-2.0
"""The options of the commands that run stages, declared once: what each is called, and which commands take it.

A command takes an option if its stage, or a stage that it depends on, does something else because of it.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from intarsia.flow import BASELINES, BENCHMARKS, STAGES, Benchmark
from intarsia.flow.energy import SAMPLED_CYCLES
from intarsia.flow.hardware_settings import EnergyExtent
from intarsia.flow.learning_settings import Budget
from intarsia.recipes import QUANTIZATION_RECIPES, Route
from intarsia.system.layout import CORES
from intarsia.system.software import KERNELS
from intarsia.system.toolchain import Compiler

#: What was given on the command line, by the name of the option; the values have the types that the parser made.
Told = Mapping[str, Any]

OUT = Path("runs")

#: A command after the stages: it needs a quantized network, and is not a part of a run.
EXPORT_C = "export-c"
#: Likewise.
SYSTEM = "system"

_EVERY = frozenset({"run", "report", EXPORT_C, SYSTEM, *(stage.name for stage in STAGES)})
_WHOLE = frozenset({"run", "report"})
_QUANTIZED = _WHOLE | {"quantize", "execute", "export-onnx", "compile", "simulate", EXPORT_C, SYSTEM}
_TRAINED = _QUANTIZED | {"train"}
_SCHEME = _QUANTIZED | {"fit", "synthesize"}
_COMPARED = _WHOLE | {"quantize", "execute", "compile"}
#: A budget of cycles lets the engine decide what the layer-wise baseline is.
_ENGINE = _COMPARED | {"fit", "simulate", "synthesize", SYSTEM}


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes:
        flag: as it is typed, `--name`.
        commands: that take it.
        help: for people.
        group: heading in the help; empty for what comes before all groups.
        alias: another flag.
        metavar: what stands for the value in the help; empty for a switch.
        type: makes the value from its text.
        nargs: how many values, as argparse takes it; None for one.
        choices: that the value must be one of.
    """

    flag: str
    commands: frozenset[str]
    help: str
    group: str = ""
    alias: str = ""
    metavar: str = ""
    type: Callable[[str], object] = str
    nargs: str | None = None
    choices: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """In what the parser returns."""
        return self.flag.removeprefix("--").replace("-", "_")

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Let a parser know this option."""
        flags = [self.flag, self.alias] if self.alias else [self.flag]
        if not self.metavar and self.choices is None:
            parser.add_argument(*flags, action="store_true", help=self.help)
            return
        metavar = self.metavar or None
        parser.add_argument(
            *flags, type=self.type, nargs=self.nargs, choices=self.choices, metavar=metavar, help=self.help
        )


def _own_defaults(read: Callable[[Benchmark], str], usual: str) -> str:
    """Return the networks whose default differs from the usual one, each with its own."""
    own = {network: read(benchmark) for network, benchmark in BENCHMARKS.items()}
    return ", ".join(f"{network}: {value}" for network, value in own.items() if value != usual)


_LEARNING, _HARDWARE = "learning", "hardware"

OPTIONS: tuple[Option, ...] = (
    Option("--out", _EVERY, f"artifacts go to DIR/NETWORK (default: {OUT})", metavar="DIR", type=Path),
    Option("--force", _EVERY - {"report"}, "re-run even if up to date"),
    Option(
        "--data",
        _EVERY,
        "folder of data sets (default: INTARSIA_DATA); with your own network, its .npz file or folder of them",
        metavar="DIR",
        type=Path,
    ),
    Option(
        "--zoo",
        _SCHEME - {"quantize"},
        "start at the frozen network of the zoo: nothing is trained, and data is not needed",
    ),
    Option(
        "--seeds",
        _TRAINED,
        "one network of each kind per seed; the first is compiled to hardware (default: 0; "
        f"{_own_defaults(lambda benchmark: ' '.join(map(str, benchmark.seeds)), '0')})",
        _LEARNING,
        alias="--seed",
        metavar="N",
        type=int,
        nargs="+",
    ),
    Option(
        "--scheme",
        _SCHEME,
        "superposition (default), or planes like ternary+2:16xint8",
        _LEARNING,
        metavar="TEXT",
    ),
    Option(
        "--from-study",
        _SCHEME,
        "take scheme and transforms of a design on a study's Pareto front",
        _LEARNING,
        metavar="DIR",
        type=Path,
    ),
    Option(
        "--design",
        _SCHEME,
        "number of that design, counted from 1, the smallest (default: the most accurate)",
        _LEARNING,
        metavar="N",
        type=int,
    ),
    Option(
        "--transforms",
        _SCHEME,
        "of the float network first: equalize, widen1.25, permute, joined by +, or none (default: none; with its own "
        f"scheme {_own_defaults(lambda benchmark: benchmark.transforms, 'none')})",
        _LEARNING,
        metavar="TEXT",
    ),
    Option(
        "--epochs",
        _QUANTIZED,
        "QAT epochs; 0 = post-training quantization only",
        _LEARNING,
        metavar="N",
        type=int,
    ),
    Option(
        "--recipe",
        _QUANTIZED,
        f"training recipe, named after the network that it was made for: {', '.join(QUANTIZATION_RECIPES)} (default: "
        "that of the network; own for your own)",
        _LEARNING,
        metavar="NAME",
    ),
    Option(
        "--rate",
        _QUANTIZED,
        "peak learning rate of quantization-aware training, relative to each weight tensor's root mean square: 0.001 "
        "is cautious, 0.01 fast (default: the recipe's)",
        _LEARNING,
        metavar="R",
        type=float,
    ),
    Option(
        "--baselines",
        _COMPARED | {"fit"},
        f"of {', '.join(BASELINES)} (default: ternary int8)",
        _LEARNING,
        metavar="NAME",
        nargs="*",
    ),
    Option(
        "--layerwise-formats",
        _COMPARED | {"fit"},
        "formats that layerwise chooses from for each layer, best first, like 'int4 a4' (default: int8 int4 int2)",
        _LEARNING,
        metavar="TEXT",
        nargs="+",
    ),
    Option(
        "--layerwise-budget",
        _COMPARED | {"fit"},
        "budget of the layer-wise baseline, taken from the main scheme: effective bits (default) or cycles",
        _LEARNING,
        choices=get_args(Budget),
    ),
    Option("--baseline-epochs", _COMPARED, "QAT epochs of the baselines", _LEARNING, metavar="N", type=int),
    Option("--retrain", _TRAINED, "train the float network from scratch", _LEARNING),
    Option("--float-epochs", _TRAINED, "epochs of training from scratch", _LEARNING, metavar="N", type=int),
    Option("--device", _TRAINED, "where PyTorch trains: cpu (default), cuda, mps", _LEARNING, metavar="NAME"),
    Option(
        "--unit",
        _ENGINE,
        "what a lane multiplies with: superposition (default); dense, as wide as the widest weights; dense2 to dense8, "
        "which run wider ones in passes; mixed_rows, lanes of 8, 4 and 2 bits; sum_together, 16-bit multipliers for "
        "operands of 16, 8 or 4 bits; or sum_together8 and sum_together16, for operands of at least so many bits",
        _HARDWARE,
        metavar="NAME",
    ),
    Option("--lanes", _ENGINE, "output channels per cycle, 8 or 16 (default)", _HARDWARE, metavar="N", type=int),
    Option(
        "--block",
        _ENGINE,
        "input channels per cycle, 8 or 16, at least --lanes (default: as many)",
        _HARDWARE,
        metavar="N",
        type=int,
    ),
    Option(
        "--images", _WHOLE | {"simulate", SYSTEM}, "images for the simulated engine", _HARDWARE, metavar="N", type=int
    ),
    Option(
        "--onnx-images",
        _WHOLE | {"export-onnx"},
        "images for onnxruntime (default: 1000)",
        _HARDWARE,
        metavar="N",
        type=int,
    ),
    Option("--skip-synthesis", _WHOLE, "no area, no FPGA, no energy", _HARDWARE),
    Option(
        "--energy",
        _WHOLE,
        "cycles of an inference that run on the netlist for the estimate of energy and timing: the first "
        f"{SAMPLED_CYCLES} of each layer (sampled, default), all (full: slow), or none; needs cell libraries",
        _HARDWARE,
        choices=get_args(EnergyExtent),
    ),
    Option(
        "--route",
        _WHOLE | {"synthesize"},
        "what nextpnr places and routes; none also leaves out the resources that the engine takes on FPGAs; routing "
        "the whole engine is slow (default: the engine; "
        f"{_own_defaults(lambda benchmark: benchmark.route, 'engine')})",
        _HARDWARE,
        choices=get_args(Route),
    ),
    Option(
        "--route-seconds",
        _WHOLE | {"synthesize"},
        "its time limit (default: 1800)",
        _HARDWARE,
        metavar="S",
        type=float,
    ),
)

#: Options for the file of an integer network instead of a network's name.
_FILE, _LIBRARY = "with a network file", "C library"
FILE_OPTIONS: tuple[Option, ...] = (
    Option(
        "--input",
        frozenset({"execute", "simulate", SYSTEM}),
        "images (N, C, H, W), integers",
        _FILE,
        metavar="FILE.npy",
        type=Path,
    ),
    Option(
        "--labels", frozenset({"execute"}), "classes (N,), to measure accuracy", _FILE, metavar="FILE.npy", type=Path
    ),
    Option(
        "--output",
        frozenset({"execute", "export-onnx", "compile"}),
        "where to write (default: execute writes nothing, others next to the network file, unless another program's "
        "file is there)",
        _FILE,
        metavar="PATH",
        type=Path,
    ),
)

#: Options of the C library.
EXPORT_C_OPTIONS: tuple[Option, ...] = (
    Option("--output", frozenset({EXPORT_C}), "folder of the C files", _LIBRARY, metavar="FOLDER", type=Path),
    Option(
        "--kernels",
        frozenset({EXPORT_C}),
        "of weight layers: int8 (default), one multiplication per weight; packed, two products per multiplication; "
        "ternary, lists of additions for ternary planes; sum-together, the Sum-Together multiplier in C",
        _LIBRARY,
        choices=KERNELS,
    ),
    Option(
        "--name",
        frozenset({EXPORT_C}),
        "prefix of the C names, an identifier (default: the network's name)",
        _LIBRARY,
        metavar="NAME",
    ),
)

#: Options of the system.
_SYSTEM = "system"
SYSTEM_OPTIONS: tuple[Option, ...] = (
    Option(
        "--core",
        frozenset({SYSTEM}),
        "processors, one after the other (default: both)",
        _SYSTEM,
        nargs="+",
        choices=CORES,
    ),
    Option(
        "--software",
        frozenset({SYSTEM}),
        "kernels of the software that the accelerator is compared with, for one image (default: int8 ternary; without "
        "a name: none)",
        _SYSTEM,
        nargs="*",
        choices=KERNELS,
    ),
    Option(
        "--compiler",
        frozenset({SYSTEM}),
        "of firmware and software: zig, of the package ziglang (default), or gcc, riscv64-unknown-elf-gcc",
        _SYSTEM,
        choices=get_args(Compiler),
    ),
    Option(
        "--waves",
        frozenset({SYSTEM}),
        "write the waveforms of the first core with the accelerator; they take much space",
        _SYSTEM,
        metavar="FILE.vcd",
        type=Path,
    ),
    Option("--json", frozenset({SYSTEM}), "also write all figures to a file", _SYSTEM, metavar="FILE", type=Path),
)

#: Stages that also take a network file, with the options that they take then; they need no training stack.
ON_FILES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "execute": frozenset({"input", "labels", "output"}),
        "export-onnx": frozenset({"onnx_images", "output"}),
        "compile": frozenset({"unit", "lanes", "block", "output"}),
        "simulate": frozenset({"input", "images", "unit", "lanes", "block"}),
        EXPORT_C: frozenset(option.name for option in EXPORT_C_OPTIONS),
        SYSTEM: frozenset({"input", "images", "unit", "lanes", "block", *(option.name for option in SYSTEM_OPTIONS)}),
    }
)


def takes(command: str, name: str) -> bool:
    """Whether a command that runs stages takes the option of that name."""
    return any(option.name == name and command in option.commands for option in OPTIONS)
