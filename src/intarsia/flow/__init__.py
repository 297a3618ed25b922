# SPDX-License-Identifier: Apache-2.0
"""The whole path of a network as a list of stages: run, kept, skipped and resumed task by task.

from intarsia.flow import Settings, run
run(Settings("digits", Path("runs/digits")))
"""

from intarsia.flow.api import Outcome, last_settings, report, run, run_stage
from intarsia.flow.settings import BASELINES, DEFAULTS, Defaults, Settings
from intarsia.flow.stages import STAGES, Stage

__all__ = [
    "BASELINES",
    "DEFAULTS",
    "STAGES",
    "Defaults",
    "Outcome",
    "Settings",
    "Stage",
    "last_settings",
    "report",
    "run",
    "run_stage",
]
