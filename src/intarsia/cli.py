# SPDX-License-Identifier: Apache-2.0
"""The command line: thin, one command a stage, and `run` for the whole path."""

import argparse
import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, get_args

from tqdm import tqdm

from intarsia import __version__
from intarsia.console import accept_any_text
from intarsia.engine import EngineConfig
from intarsia.engine.sources import write_sources
from intarsia.errors import INTERRUPTED, IntarsiaError
from intarsia.flow import BASELINES, DEFAULTS, STAGES, Settings, last_settings, network_file, report, run, run_stage
from intarsia.flow.settings import MODEL_FILE, MODELS, Budget, Defaults, named
from intarsia.packages import require
from intarsia.quantize.recipes import QUANTIZATION_RECIPES
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.scheme_text import normalized
from intarsia.text import escaped

EXAMPLES = """examples:
  intarsia run digits                                  the whole path, from training to the report
  intarsia run resnet8 --seeds 0 1 2 --data ~/data     three seeds on CIFAR-10, from the zoo's float weights
  intarsia run resnet8 --scheme ternary+2:16xint8 --slots 2
  intarsia run model.tflite --data data.npz            your own trained network, with inputs x and labels y
  intarsia fit model.tflite --data data.npz            whether the engine takes it, before it is trained
  intarsia simulate digits --images 300                one stage and its unfinished prerequisites
  intarsia simulate network.safetensors --input images.npy
  intarsia export-onnx network.safetensors --output network.onnx
  intarsia rtl rtl/                                    the engine's SystemVerilog
  intarsia explore space.yaml --workers 2              a study of many schemes; run it again to go on
  intarsia run resnet8 --from-study runs/studies/space  a design of its front, through to hardware
"""

#: Stages that also take a network file, with the options for that; they need no training stack.
_ON_FILES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "execute": frozenset({"input", "labels", "output"}),
        "export-onnx": frozenset({"onnx_images", "output"}),
        "compile": frozenset({"lanes", "slots", "output"}),
        "simulate": frozenset({"input", "images", "lanes", "slots"}),
    }
)

_OUT = Path("runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 2 for a user's mistake, 130 for an interrupt."""
    accept_any_text()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _dispatch(_parser().parse_args(arguments), arguments)
        sys.stdout.flush()
        return status
    except IntarsiaError as error:
        return _complain(f"intarsia: error: {error}", 2)
    except KeyboardInterrupt:
        return _complain(INTERRUPTED, 130)
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _complain("intarsia: error: out of memory; close other programs or use fewer --images.", 2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _complain(f"intarsia: error: the system refuses{where}: {error.strerror or error}.", 2)


def _complain(text: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(escaped(text), file=sys.stderr, flush=True)
    return status


def _dispatch(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    if options.command == "networks":
        width = max(map(len, DEFAULTS))
        for name, entry in DEFAULTS.items():
            weights = "trained from scratch" if entry.retrain else "float weights in the zoo"
            weights = "imported from MLPerf Tiny's reference" if entry.reference else weights
            print(f"{name:<{width}}  {entry.title} ({weights})")
        return 0
    if options.command == "rtl":
        for path in write_sources(options.folder):
            print(escaped(str(path)))
        return 0
    told = {name: value for name, value in vars(options).items() if name not in ("command", "network", "quiet")}
    if options.command == "explore":
        print(_explore(told, _say(options)))
        return 0
    progress = sys.stderr.isatty() and not options.quiet
    if options.command in _ON_FILES and _is_file(options.network):
        print(escaped(_on_file(options.command, Path(options.network), told, progress=progress)))
        return 0
    force = told.pop("force", False)
    if "from_study" in told or "design" in told:
        told |= _of_study(options.network, told)
    before = None
    if options.command == "report" and not told.keys() - {"out", "data"}:
        name, model = named(options.network, alone="out" in told)
        before = last_settings(told.get("out", _OUT) / name, model=model, data_dir=told.get("data"))
    settings = before or _settings(options.network, told, shlex.join(["intarsia", *arguments]))
    if options.command == "run":
        outcome = run(settings, force=force, say=_say(options), progress=progress)
        print(f"\n{outcome.table}\n\nreport: {escaped(str(outcome.page))}")
    elif options.command == "report":
        outcome = report(settings)
        print(f"{outcome.table}\n\nreport: {escaped(str(outcome.page))}")
    else:
        records = run_stage(settings, options.command, force=force, say=_say(options), progress=progress)
        for name, record in records.items():
            print(escaped(f"{name}: {record.result.get('summary', 'done')}"))
    return 0


def _explore(told: Mapping[str, Any], say: "_Say") -> str:
    """Run a study; return the table of its front."""
    for package in ("optuna", "yaml", "plotly", "torch"):
        require(package, "explore")
    if "ray" in told:
        require("ray", "cluster")
    from intarsia.explore.options import StudyOptions  # noqa: PLC0415 (an optional part, and heavy)
    from intarsia.explore.run import explore  # noqa: PLC0415
    from intarsia.report.study_page import study_table  # noqa: PLC0415

    given = {name: told[name] for name in ("storage", "device", "workers", "threads", "beat", "ray") if name in told}
    study = StudyOptions(
        told.get("out", _OUT), told.get("study", told["space"].stem), data_dir=told.get("data"), **given
    )
    results = explore(told["space"], study, say=say)
    return f"{study_table(results)}\n\nreport: {escaped(str(study.home / 'study.html'))}"


def _of_study(network: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a design of a study's front means.

    Raises:
        IntarsiaError: a scheme is given as well, or there is no such study or design.
    """
    from intarsia.report.study import read_results  # noqa: PLC0415 (only here)

    if "from_study" not in told:
        raise IntarsiaError("--design is a number in the front of a study; give the study with --from-study.")
    for name in ("scheme", "transforms"):
        if name in told:
            raise IntarsiaError(f"--{name} cannot be combined with --from-study.")
    results = read_results(told["from_study"])
    if results.network != network and Path(results.network).resolve() != Path(network).resolve():
        raise IntarsiaError(f"the study in {told['from_study']} is of {results.network}, not of {network}.")
    designs = results.front
    number = told.get("design", _most_accurate(designs))
    if not 1 <= number <= len(designs):
        raise IntarsiaError(f"the front has designs 1 to {len(designs)}, not {number}; correct --design.")
    chosen = designs[number - 1]
    # In full: a shorthand means for a network's run what is best for that network, for a study the same everywhere.
    found: dict[str, Any] = {"scheme": str(Scheme.parse(chosen.scheme)), "transforms": chosen.transforms}
    if "baselines" not in told:  # a design that is one of them needs it not beside itself
        found["baselines"] = [name for name in Settings.baselines if name != normalized(chosen.scheme)]
    return found


def _most_accurate(designs: Sequence[Any]) -> int:
    return max(range(1, len(designs) + 1), key=lambda number: designs[number - 1].metrics["accuracy"], default=0)


def _say(options: argparse.Namespace) -> "_Say":
    return _Say(options.quiet)


class _Say:
    """Prints the progress of a run on the error stream, line by line, above any bar."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def __call__(self, text: str) -> None:
        if not self.quiet:
            tqdm.write(escaped(text), file=sys.stderr)
            sys.stderr.flush()


def _is_file(network: str) -> bool:
    """Whether a network is given as the file of an integer network."""
    return network.endswith(".safetensors") or (os.sep in network and Path(network).suffix.lower() not in MODELS)


def _on_file(command: str, path: Path, told: Mapping[str, Any], *, progress: bool) -> str:
    if useless := sorted(told.keys() - _ON_FILES[command]):
        raise IntarsiaError(f"{_flag(useless[0])} is not supported by {command} with a network file; leave it out.")
    output, config = told.get("output"), _engine(told)
    if command == "execute":
        if "input" not in told:
            raise IntarsiaError("a network file needs images to execute; give them with --input IMAGES.npy.")
        return network_file.execute(path, told["input"], told.get("labels"), output)
    if command == "export-onnx":
        return network_file.export_onnx(path, output, told.get("onnx_images", 100))
    if command == "compile":
        return network_file.compile_file(path, output, config)
    return network_file.simulate(path, told.get("input"), told.get("images"), config, progress=progress)


def _settings(network: str, told: Mapping[str, Any], command: str) -> Settings:
    """Return the settings that the options say; what they do not say is as `Settings` has it."""
    known = {entry.name for entry in dataclasses.fields(Settings)}
    fields: dict[str, Any] = {name: value for name, value in told.items() if name in known}
    if "data" in told:
        fields["data_dir"] = told["data"]
    for name in ("seeds", "baselines", "layerwise_formats"):
        if name in told:
            fields[name] = tuple(told[name])
    network, fields["model"] = named(network, alone="out" in told)
    folder = told.get("out", _OUT) / network
    synthesis = not told.get("skip_synthesis", False)
    settings = Settings(network, folder, synthesis=synthesis, command=command, **fields)
    if foreign := [name for name in ("input", "labels", "output") if name in told]:
        raise IntarsiaError(f"{_flag(foreign[0])} goes with a network file (.safetensors), not with {network}.")
    return settings


def _engine(told: Mapping[str, Any]) -> EngineConfig:
    """Return the engine that the options say."""
    return EngineConfig(**{name: told[name] for name in ("lanes", "slots") if name in told})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    """A parser whose messages show what it was given as one line."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser`."""
        super().error(escaped(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="intarsia",
        description="From a trained network to a verified accelerator of ternary and sparse high-precision planes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"intarsia {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, title: str, network: str) -> argparse.ArgumentParser:
        # An option that is not given leaves no trace: whoever reads the options knows what was asked for.
        made = commands.add_parser(name, help=title, argument_default=argparse.SUPPRESS)
        _run_options(made, network)
        return made

    walk = command(
        "run",
        "walk the whole path and write the report",
        f"network that `intarsia networks` lists, or {MODEL_FILE}",
    )
    _force_option(walk)
    for stage in STAGES:
        on_file = stage.name in _ON_FILES
        what = f"network, or {MODEL_FILE}" + (", or the file of an integer network (.safetensors)" if on_file else "")
        made = command(stage.name, stage.title, what)
        _force_option(made)
        if on_file:
            _file_options(made, stage.name)
    command("report", "write the report of finished stages, by default with the options of the last run", "network")
    _explore_command(commands)
    sources = commands.add_parser("rtl", help="write the engine's SystemVerilog sources")
    sources.add_argument("folder", type=Path, help="where to write them")
    commands.add_parser("networks", help="list the networks")
    return parser


def _run_options(parser: argparse.ArgumentParser, network: str) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("network", metavar="NETWORK", help=network)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"artifacts go to DIR/NETWORK (default: {_OUT})")
    parser.add_argument("--quiet", action="store_true", default=False, help="print results only")
    learning = parser.add_argument_group("learning")
    learning.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of data sets (default: INTARSIA_DATA); with your own network, its .npz file or folder of them",
    )
    learning.add_argument(
        "--seeds",
        "--seed",
        type=int,
        nargs="+",
        metavar="N",
        help="one network per seed; the first is compiled to hardware (default: 0)",
    )
    learning.add_argument("--scheme", metavar="TEXT", help="superposition (default), or planes like ternary+2:16xint8")
    learning.add_argument(
        "--from-study", type=Path, metavar="DIR", help="the scheme and transforms of a design of a study's front"
    )
    learning.add_argument(
        "--design", type=int, metavar="N", help="which one, from 1, the smallest (default: the most accurate)"
    )
    learning.add_argument(
        "--transforms",
        metavar="TEXT",
        help="of the float network first: equalize, widen1.25, permute, joined by +, or none (default: none; with its "
        f"own scheme {_own_defaults('transforms')})",
    )
    learning.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="QAT epochs; 0 = post-training quantization only",
    )
    learning.add_argument(
        "--recipe",
        metavar="NAME",
        help="how to train: the recipe made for one of the data sets "
        f"{', '.join(QUANTIZATION_RECIPES)} (default: that of the network's data; own for your own)",
    )
    learning.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="peak learning rate of quantization-aware training, as a part of each weight tensor's root mean square: "
        "0.001 is cautious, 0.01 fast (default: the recipe's)",
    )
    learning.add_argument(
        "--baselines", nargs="*", metavar="NAME", help=f"of {', '.join(BASELINES)} (default: ternary int8)"
    )
    learning.add_argument(
        "--layerwise-formats",
        nargs="+",
        metavar="TEXT",
        help="what layerwise chooses from for each layer, best first, like 'int4 a4' (default: int8 int4 int2)",
    )
    learning.add_argument(
        "--layerwise-budget",
        choices=get_args(Budget),
        help="budget of the layer-wise baseline, taken from the main scheme: effective bits (default) or cycles",
    )
    learning.add_argument("--baseline-epochs", type=int, metavar="N", help="QAT epochs of the baselines")
    learning.add_argument("--retrain", action="store_true", help="train the float network from scratch")
    learning.add_argument("--float-epochs", type=int, metavar="N", help="epochs of training from scratch")
    learning.add_argument("--device", metavar="NAME", help="where PyTorch trains: cpu (default), cuda, mps")
    hardware = parser.add_argument_group("hardware")
    hardware.add_argument("--lanes", type=int, metavar="N", help="lanes of the engine, 8 or 16 (default)")
    hardware.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="sparse weights per lane and block, 1 to 4 (default: as many as the scheme needs)",
    )
    hardware.add_argument("--images", type=int, metavar="N", help="images for the simulated engine")
    hardware.add_argument("--onnx-images", type=int, metavar="N", help="images for onnxruntime (default: 1000)")
    hardware.add_argument("--skip-synthesis", action="store_true", help="no area, no FPGA")
    hardware.add_argument(
        "--route",
        choices=("engine", "lane", "none"),
        help="what nextpnr places and routes; routing the whole engine is slow (default: the engine, and a lane for "
        f"{', '.join(name for name, entry in DEFAULTS.items() if entry.route == 'lane')})",
    )
    hardware.add_argument("--route-seconds", type=float, metavar="S", help="its time limit (default: 1800)")


def _own_defaults(name: str) -> str:
    """Return the networks whose default differs from that of all others, each with its own."""
    usual = next(entry.default for entry in dataclasses.fields(Defaults) if entry.name == name)
    own = {network: getattr(entry, name) for network, entry in DEFAULTS.items()}
    return ", ".join(f"{network}: {value}" for network, value in own.items() if value != usual)


def _explore_command(commands: Any) -> None:
    parser = commands.add_parser(
        "explore", help="evaluate many schemes of a network: a study", argument_default=argparse.SUPPRESS
    )
    parser.add_argument("space", type=Path, metavar="SPACE.yaml", help="the design space, see docs/explore.md")
    parser.add_argument("--study", metavar="NAME", help="name of the study (default: that of the file)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"goes to DIR/studies/NAME (default: {_OUT})")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of data sets (default: INTARSIA_DATA)")
    parser.add_argument(
        "--storage", metavar="URL", help="database that workers share (default: SQLite in the study's folder)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: 1); 0 only writes the report")
    parser.add_argument("--threads", type=int, metavar="N", help="of each worker (default: 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="workers run on a Ray cluster, `auto` or HOST:PORT; give --storage, too"
    )
    parser.add_argument(
        "--beat",
        type=int,
        metavar="S",
        help="seconds between signs of life of a worker; three missed: dead (default: 10)",
    )
    parser.add_argument("--device", metavar="NAME", help="where PyTorch trains: cpu (default), cuda")
    parser.add_argument("--quiet", action="store_true", default=False, help="print results only")


def _force_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="re-run even if up to date")


def _file_options(parser: argparse.ArgumentParser, stage: str) -> None:
    group = parser.add_argument_group("with a network file")
    if stage in ("execute", "simulate"):
        group.add_argument("--input", type=Path, metavar="FILE.npy", help="images (N, C, H, W), integers")
    if stage == "execute":
        group.add_argument("--labels", type=Path, metavar="FILE.npy", help="classes (N,), to measure accuracy")
    if stage != "simulate":
        default = "" if stage == "execute" else " (default: beside the network file, if nothing of another's is there)"
        group.add_argument("--output", type=Path, metavar="PATH", help=f"where to write{default}")


if __name__ == "__main__":
    sys.exit(main())
