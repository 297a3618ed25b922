# SPDX-License-Identifier: Apache-2.0
"""The commands, given the options of a command line."""

import argparse
import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from intarsia.cli.options import EXPORT_C, ON_FILES, OUT, SYSTEM, Told, takes
from intarsia.engine import EngineConfig
from intarsia.engine.units import Superposition, unit_named
from intarsia.errors import IntarsiaError
from intarsia.flow import BENCHMARKS, Settings, last_settings, network_file, report, run, run_stage
from intarsia.flow.api import quantized_network
from intarsia.flow.inputs import inputs_of
from intarsia.flow.names import MODELS, named
from intarsia.flow.results import scored
from intarsia.flow.system import SYSTEM_IMAGES, SystemOptions, require_system
from intarsia.integer import file
from intarsia.integer.zoo import frozen_names, read_card
from intarsia.packages import require
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.scheme_text import normalized
from intarsia.recipes import benchmark_of
from intarsia.report.metrics import ACCURACY
from intarsia.report.study import Design
from intarsia.synthesize.pdk import VARIABLE, default_root, pdk_root
from intarsia.synthesize.pdk_download import LIBRARIES, fetch_pdk
from intarsia.system.manifests import write_rtl
from intarsia.text import escaped


def dispatch(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Do what a command line says; return the exit status.

    Raises:
        IntarsiaError: it cannot be done.
    """
    if options.command == "networks":
        return _networks()
    if options.command == "rtl":
        for path in _rtl(options):
            print(escaped(str(path)))
        return 0
    if options.command == "pdk":
        print(escaped(_pdk(options.folder, progress=sys.stderr.isatty() and not options.quiet)))
        return 0
    told = {name: value for name, value in vars(options).items() if name not in ("command", "network", "quiet")}
    say = _Say(options.quiet)
    if options.command == "explore":
        print(_explore(told, say))
        return 0
    progress = sys.stderr.isatty() and not options.quiet
    if options.command in ON_FILES and _is_file(options.network):
        print(_on_file(options.command, Path(options.network), told, say, progress=progress))
        return 0
    return _on_network(options.command, options.network, told, arguments, say, progress=progress)


def _rtl(options: argparse.Namespace) -> list[Path]:
    """Write what `rtl` is asked for: for the engine of a network, with its program, or for the default one."""
    told = {name: value for name in ("unit", "lanes", "block") if (value := getattr(options, name)) is not None}
    config = _engine(told)
    if options.network is None:
        return write_rtl(options.folder, config)
    program = network_file.program_of(options.network, config)
    return write_rtl(options.folder, program.config, program)


def _networks() -> int:
    width = max(map(len, BENCHMARKS))
    for name, benchmark in BENCHMARKS.items():
        print(f"{name:<{width}}  {benchmark.title} ({benchmark.weights})")
        if name in frozen_names():
            print(f"{'':<{width}}  frozen, with --zoo: {scored(read_card(name))}")
    return 0


def _pdk(folder: Path | None, *, progress: bool) -> str:
    """Fetch the PDK's libraries; return where they are, and what has to be done so that they are used."""
    target = default_root() if folder is None else folder.absolute()
    fetch_pdk(target, progress=progress)
    used = pdk_root()
    remedy = "" if used is not None and used.absolute() == target else f"; set {VARIABLE}={target} to use them"
    if folder is None and remedy:
        remedy = f"; unset {VARIABLE} to use them instead of {used}"
    return f"{len(LIBRARIES)} libraries in {target}{remedy}"


def _on_network(
    command: str, network: str, told: Told, arguments: Sequence[str], say: "_Say", *, progress: bool
) -> int:
    force = told.get("force", False)
    before = None
    if command == "report" and not told.keys() - {"out", "data"}:
        name, model = named(network, own_folder="out" in told)
        before = last_settings(told.get("out", OUT) / name, model=model, data_dir=told.get("data"))
    settings = before or settings_of(command, network, told, shlex.join(["intarsia", *arguments]))
    if command == EXPORT_C:
        network_file.require_c_output(told.get("output"))  # before long work
        path = quantized_network(settings, force=force, say=say, progress=progress)
        print(escaped(_export_c(path, told)))
        return 0
    if command == SYSTEM:
        options, output = _system_options(told), network_file.require_json(told.get("json"))
        path = quantized_network(settings, force=force, say=say, progress=progress)
        images = inputs_of(settings, file.load(path), told.get("images", SYSTEM_IMAGES), progress=progress)
        print(network_file.system(path, images, settings.engine, options, output, say=say))
        return 0
    if command in ("run", "report"):
        work = command == "run"
        outcome = run(settings, force=force, say=say, progress=progress) if work else report(settings)
        blank = "\n" if work else ""
        print(f"{blank}{outcome.table}\n\nreport: {escaped(str(outcome.page))}")
        return 0
    for name, record in run_stage(settings, command, force=force, say=say, progress=progress).items():
        print(escaped(f"{name}: {record.result.summary}"))
    return 0


def _explore(told: Told, say: "_Say") -> str:
    """Run a study; return the table of its Pareto front."""
    for package in ("optuna", "yaml", "plotly", "torch"):
        require(package, "explore")
    if "ray" in told:
        require("ray", "cluster")
    from intarsia.explore.options import StudyOptions  # noqa: PLC0415 (an optional part, and heavy)
    from intarsia.explore.run import explore  # noqa: PLC0415
    from intarsia.report.study_page import study_table  # noqa: PLC0415

    known = ("storage", "device", "workers", "threads", "heartbeat", "ray")
    given = {name: told[name] for name in known if name in told}
    study = StudyOptions(
        told.get("out", OUT), told.get("study", told["space"].stem), data_dir=told.get("data"), **given
    )
    results = explore(told["space"], study, say=say)
    return f"{study_table(results)}\n\nreport: {escaped(str(study.home / 'study.html'))}"


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """A design on a study's Pareto front as options of a run."""

    scheme: str
    transforms: str
    unit: str
    baselines: tuple[str, ...]


def _of_study(network: str, told: Told) -> _Chosen:
    """Return a design on a study's Pareto front as options of a run.

    Raises:
        IntarsiaError: a scheme is given as well, or there is no such study or design.
    """
    from intarsia.report.study import read_results  # noqa: PLC0415 (only here)

    if "from_study" not in told:
        raise IntarsiaError("--design is a number on the Pareto front of a study; give the study with --from-study.")
    for name in ("scheme", "transforms", "zoo"):
        if name in told:
            raise IntarsiaError(f"--{name} cannot be combined with --from-study.")
    results = read_results(told["from_study"])
    if results.network != network and Path(results.network).resolve() != Path(network).resolve():
        raise IntarsiaError(f"the study in {told['from_study']} is of {results.network}, not of {network}.")
    designs = results.front
    number = told.get("design", _most_accurate(designs))
    if not 1 <= number <= len(designs):
        raise IntarsiaError(f"the Pareto front has designs 1 to {len(designs)}, not {number}; correct --design.")
    chosen = designs[number - 1]
    # In full: a shorthand means for a network's run what is best for that network, for a study the same everywhere.
    scheme = str(Scheme.parse(chosen.scheme))
    name, model = named(network, own_folder="out" in told)
    usual = benchmark_of(name, model).baselines
    baselines = tuple(kind for kind in usual if kind != normalized(chosen.scheme))
    return _Chosen(scheme, chosen.transforms, chosen.unit or chosen.measured_on, baselines)


def _most_accurate(designs: Sequence[Design]) -> int:
    numbers = range(1, len(designs) + 1)
    return max(numbers, key=lambda number: designs[number - 1].metrics[ACCURACY.name] or 0.0, default=0)


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


def _on_file(command: str, path: Path, told: Told, say: "_Say", *, progress: bool) -> str:
    """Do what a command says with the file of an integer network; return what is to be printed."""
    if useless := sorted(told.keys() - ON_FILES[command]):
        raise IntarsiaError(f"{_flag(useless[0])} is not supported by {command} with a network file; leave it out.")
    output, config = told.get("output"), _engine(told)
    if command == SYSTEM:
        chosen, to = _system_options(told), network_file.require_json(told.get("json"))
        images = network_file.images_of(path, told.get("input"), told.get("images"))
        return network_file.system(path, images, config, chosen, to, say=say)
    if command == EXPORT_C:
        text = _export_c(path, told)
    elif command == "execute":
        if "input" not in told:
            raise IntarsiaError("a network file needs images to execute; give them with --input IMAGES.npy.")
        text = network_file.execute(path, told["input"], told.get("labels"), output)
    elif command == "export-onnx":
        text = network_file.export_onnx(path, output, told.get("onnx_images", 100))
    elif command == "compile":
        text = network_file.compile_file(path, output, config)
    else:
        text = network_file.simulate(path, told.get("input"), told.get("images"), config, progress=progress)
    return escaped(text)


def _system_options(told: Told) -> SystemOptions:
    given: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for option, field in (("core", "cores"), ("software", "software"), ("compiler", "compiler"), ("waves", "waves"))
        if (value := told.get(option)) is not None
    }
    options = SystemOptions(**given)
    require_system(options)
    return options


def _export_c(path: Path, told: Told) -> str:
    output = network_file.require_c_output(told.get("output"))
    return network_file.export_c(path, output, told.get("kernels", "int8"), told.get("name"))


def settings_of(command: str, network: str, told: Told, line: str) -> Settings:
    """Return the settings that the options of a command say; what they do not say is as `Settings` has it.

    Raises:
        IntarsiaError: they contradict each other, or say what there is not.
    """
    known = {field.name for field in dataclasses.fields(Settings)}
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if name in known
    }
    if "data" in told:
        fields["data_dir"] = told["data"]
    if not takes(command, "baselines"):
        fields["baselines"] = ()
    if not takes(command, "energy"):  # it needs a trained network, where synthesis needs none
        fields["energy"] = "none"
    if "from_study" in told or "design" in told:
        chosen = _of_study(network, told)
        fields = {"baselines": chosen.baselines} | fields | {"scheme": chosen.scheme, "transforms": chosen.transforms}
        fields |= {"unit": chosen.unit} if chosen.unit and "unit" not in told else {}
    name, model = named(network, own_folder="out" in told)
    folder = told.get("out", OUT) / name
    synthesis = not told.get("skip_synthesis", False)
    settings = Settings(name, folder, model=model, synthesis=synthesis, command=line, **fields)
    if foreign := [option for option in ("input", "labels", "output") if option in told and command != EXPORT_C]:
        raise IntarsiaError(f"{_flag(foreign[0])} goes with a network file (.safetensors), not with {name}.")
    return settings


def _engine(told: Told) -> EngineConfig:
    """Return the engine that the options say."""
    lanes = told.get("lanes", EngineConfig.lanes)
    unit = unit_named(told.get("unit", Superposition.name), lanes)
    return EngineConfig(unit=unit, lanes=lanes, block=told.get("block", lanes))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
