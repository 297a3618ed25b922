# SPDX-License-Identifier: Apache-2.0
"""Each command takes the options that change what it does, and no others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from intarsia import cli
from intarsia.cli.commands import settings_of
from intarsia.cli.options import FILE_OPTIONS, OPTIONS, takes
from intarsia.cli.parser import parse
from intarsia.flow import STAGES, Settings
from intarsia.flow.stages import tasks_until

LAYERWISE: Mapping[str, Any] = {"baselines": ("layerwise", "ternary")}
CYCLES = {**LAYERWISE, "layerwise_budget": "cycles"}
#: Another value for each option that changes a result; with the settings under which it shows, if not the default ones.
CHANGES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"seeds": (1,)}, "digits", {}),
    ({"scheme": "digits2"}, "digits", {}),
    ({"transforms": "widen1.5"}, "digits", {}),
    ({"epochs": 3}, "digits", {}),
    ({"recipe": "resnet8"}, "digits", {}),
    ({"rate": 0.02}, "digits", {}),
    ({"baselines": ("int8",)}, "digits", {}),
    ({"layerwise_formats": ("int8", "int2")}, "digits", CYCLES),
    ({"layerwise_budget": "cycles"}, "digits", LAYERWISE),
    ({"baseline_epochs": 3}, "digits", {}),
    ({"retrain": True}, "resnet8", {}),
    ({"float_epochs": 3}, "digits", {}),
    ({"lanes": 8}, "digits", CYCLES),
    ({"unit": "dense"}, "digits", CYCLES),
    ({"block": 16}, "digits", CYCLES | {"lanes": 8}),
    ({"images": 3}, "digits", {}),
    ({"onnx_images": 3}, "digits", {}),
    ({"route": "engine"}, "digits", {}),
    ({"route_seconds": 3.0}, "digits", {"route": "lane"}),
    ({"energy": "full"}, "digits", {}),
]
#: Options that say where and how, not what; and where a run starts, see `tests/flow/test_runs_of_the_zoo.py`.
HOW = {"zoo", "out", "force", "data", "device", "from_study", "design", "skip_synthesis"}


def work(stage: str, network: str, settings: dict[str, Any]) -> object:
    """Everything that a command does, as keys of tasks."""
    fields = settings if takes(stage, "baselines") else {**settings, "baselines": ()}
    fields = fields if takes(stage, "energy") else {**fields, "energy": "none"}
    tasks = tasks_until(Settings(network, Path(), **fields), stage)
    return [(task.id, task.parameters, task.needs) for task in tasks]


@pytest.mark.parametrize(("change", "network", "under"), CHANGES, ids=[next(iter(change)) for change, *_ in CHANGES])
@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_a_command_takes_an_option_if_it_changes_what_the_command_does(
    stage: str, change: dict[str, Any], network: str, under: dict[str, Any]
) -> None:
    [name] = change
    changes = work(stage, network, under) != work(stage, network, under | change)
    assert takes(stage, name) == changes


def test_every_option_is_tested_here() -> None:
    assert {option.name for option in OPTIONS} == {name for change, *_ in CHANGES for name in change} | HOW
    assert all(
        takes(command, option.name) for option in OPTIONS for command in ("run", "report") if option.name != "force"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["simulate", "digits", "--route", "lane"], "--route is not an option of simulate; leave it out."),
        (["train", "digits", "--epochs=3"], "--epochs is not an option of train; leave it out."),
        (["fit", "--seed", "3", "digits"], "--seed is not an option of fit; leave it out."),
        (["report", "digits", "--force"], "--force is not an option of report; leave it out."),
        (["explore", "space.yaml", "--epochs", "3"], "--epochs is not an option of explore; leave it out."),
        (["run", "digits", "--workers", "2"], "--workers is not an option of run; leave it out."),
        (["simulate", "digits", "--labels", "x.npy"], "--labels is not an option of simulate; leave it out."),
    ],
)
def test_an_option_of_another_command_is_refused_in_one_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"intarsia: error: {message}\n"


def test_an_option_of_no_command_is_refused_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["run", "digits", "--colour", "red"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --colour red" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "report", *(stage.name for stage in STAGES)])
def test_help_shows_the_options_of_its_command_only(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    text = capsys.readouterr().out.partition("examples:")[0]
    shown: Callable[[str], bool] = lambda flag: f" {flag} " in text or f"[{flag}" in text  # noqa: E731
    for option in (*OPTIONS, *FILE_OPTIONS):
        assert shown(option.flag) == (command in option.commands), option.flag


@pytest.mark.parametrize(
    ("command", "words", "energy"),
    [
        ("run", [], "sampled"),
        ("run", ["--energy", "full"], "full"),
        ("report", ["--energy", "none"], "none"),
        ("synthesize", [], "none"),
    ],
)
def test_energy_is_sampled_in_a_run_unless_told_otherwise(command: str, words: list[str], energy: str) -> None:
    options = vars(parse([command, "digits", *words]))
    told = {name: value for name, value in options.items() if name not in ("command", "network", "quiet")}
    assert settings_of(command, "digits", told, "").energy == energy
