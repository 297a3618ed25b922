# SPDX-License-Identifier: Apache-2.0
"""The command line's grammar: one command per stage, `run` for all of them, and a few more."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from intarsia import __version__
from intarsia.cli.options import (
    EXPORT_C,
    EXPORT_C_OPTIONS,
    FILE_OPTIONS,
    ON_FILES,
    OPTIONS,
    OUT,
    SYSTEM,
    SYSTEM_OPTIONS,
    Option,
)
from intarsia.errors import IntarsiaError
from intarsia.flow import STAGES
from intarsia.flow.names import MODEL_FILE
from intarsia.text import escaped

EXAMPLES = """examples:
  intarsia run digits                                  all stages, from training to the report
  intarsia run resnet8 --seeds 0 1 2 --data ~/data     three seeds on CIFAR-10, from the zoo's float weights
  intarsia run dscnn --zoo                             a trained network of the zoo, without data and PyTorch
  intarsia run resnet8 --scheme int8 --unit dense
  intarsia run model.tflite --data data.npz            your own trained network, with inputs x and labels y
  intarsia fit model.tflite --data data.npz            check before training whether the engine takes it
  intarsia simulate digits --images 300                one stage and its unfinished prerequisites
  intarsia simulate network.safetensors --input images.npy
  intarsia export-onnx network.safetensors --output network.onnx
  intarsia export-c network.safetensors --output c     a C library for a microcontroller
  intarsia system network.safetensors --core ibex      on a RISC-V processor with the accelerator, and without
  intarsia rtl rtl/ --network network.safetensors      the accelerator's SystemVerilog
  intarsia pdk                                         fetch cell libraries, for areas in gates and mm²
  intarsia explore space.yaml --workers 2              a study of many schemes; run it again to continue
  intarsia run resnet8 --from-study runs/studies/space  a design of its Pareto front, through to hardware
"""

_STUDY_OPTIONS: tuple[Option, ...] = tuple(
    Option(flag, frozenset({"explore"}), text, metavar=metavar, type=kind)
    for flag, metavar, kind, text in (
        ("--study", "NAME", str, "name of the study (default: that of the file)"),
        ("--out", "DIR", Path, f"goes to DIR/studies/NAME (default: {OUT})"),
        ("--data", "DIR", Path, "folder of data sets (default: INTARSIA_DATA)"),
        ("--storage", "URL", str, "database that workers share (default: SQLite in the study's folder)"),
        ("--workers", "N", int, "processes (default: 1); 0 only writes the report"),
        ("--threads", "N", int, "of each worker (default: 1)"),
        ("--ray", "ADDRESS", str, "workers run on a Ray cluster, `auto` or HOST:PORT; needs --storage"),
        ("--heartbeat", "S", int, "seconds between heartbeats of a worker; three missed: dead (default: 10)"),
        ("--device", "NAME", str, "where PyTorch trains: cpu (default), cuda"),
    )
)


class _Parser(argparse.ArgumentParser):
    """A parser whose messages show what it was given as one line."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser`."""
        super().error(escaped(message))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Raises:
        IntarsiaError: the command does not take an option that another one takes.
        SystemExit: the command line is malformed, or asks for help.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = {
            flag
            for option in (*OPTIONS, *FILE_OPTIONS, *EXPORT_C_OPTIONS, *SYSTEM_OPTIONS, *_STUDY_OPTIONS)
            for flag in (option.flag, option.alias)
        }
        foreign = next((word for text in unknown if (word := text.partition("=")[0]) in flags), None)
        if foreign is None:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        raise IntarsiaError(f"{foreign} is not an option of {options.command}; leave it out.")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="intarsia",
        description="From a trained network to a verified accelerator of ternary and sparse high-precision planes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"intarsia {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, title: str, network: str) -> None:
        # An option that is not given leaves no trace: whoever reads the options knows what was asked for.
        made = commands.add_parser(
            name,
            help=title,
            argument_default=argparse.SUPPRESS,
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("network", metavar="NETWORK", help=network)
        _add(made, name, (*OPTIONS, *FILE_OPTIONS, *EXPORT_C_OPTIONS, *SYSTEM_OPTIONS))

    command("run", "run all stages and write the report", f"network that `intarsia networks` lists, or {MODEL_FILE}")
    for stage in STAGES:
        file = ", or the file of an integer network (.safetensors)" if stage.name in ON_FILES else ""
        command(stage.name, stage.title, f"network, or {MODEL_FILE}{file}")
    network_file = "the file of an integer network (.safetensors)"
    command(EXPORT_C, "write the quantized network as a C99 library", f"network, {MODEL_FILE}, or {network_file}")
    command(
        SYSTEM, "run it from firmware in a RISC-V system, and in software", f"network, {MODEL_FILE}, or {network_file}"
    )
    command("report", "write the report of finished stages, by default with the options of the last run", "network")
    study = commands.add_parser(
        "explore", help="evaluate many schemes of a network: a study", argument_default=argparse.SUPPRESS
    )
    study.add_argument("space", type=Path, metavar="SPACE.yaml", help="the design space, see docs/explore.md")
    _add(study, "explore", _STUDY_OPTIONS)
    sources = commands.add_parser(
        "rtl", help="write the accelerator's SystemVerilog, manifests, and the driver for a network"
    )
    sources.add_argument("folder", type=Path, help="where to write them")
    text = "also write the driver and program.c for an integer network (.safetensors), and its engine's instance"
    sources.add_argument("--network", type=Path, metavar="FILE", help=text)
    for option in OPTIONS:
        if option.name in ("unit", "lanes", "block"):
            option.add_to(sources)
    libraries = commands.add_parser("pdk", help="fetch the cell and SRAM libraries of IHP's open 130 nm PDK")
    libraries.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help="where to put them (default: the cache, where they are found; use another folder by setting PDK_ROOT)",
    )
    libraries.add_argument("--quiet", action="store_true", default=False, help="print results only")
    commands.add_parser("networks", help="list the networks")
    return parser


def _add(parser: argparse.ArgumentParser, command: str, options: Sequence[Option]) -> None:
    """Add the options that a command takes, each to its group, and `--quiet`."""
    parser.add_argument("--quiet", action="store_true", default=False, help="print results only")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for option in options:
        if command in option.commands:
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            option.add_to(groups[option.group])
