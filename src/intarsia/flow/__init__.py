# SPDX-License-Identifier: Apache-2.0
"""All stages of a network's run in order: run, kept, skipped and resumed task by task.

from intarsia.flow import Settings, run
run(Settings("digits", Path("runs/digits")))
"""

from intarsia.flow.api import Outcome, last_settings, report, run, run_stage
from intarsia.flow.learning_settings import BASELINES
from intarsia.flow.settings import Settings
from intarsia.flow.stages import STAGES, Stage
from intarsia.recipes import BENCHMARKS, Benchmark

__all__ = [
    "BASELINES",
    "BENCHMARKS",
    "STAGES",
    "Benchmark",
    "Outcome",
    "Settings",
    "Stage",
    "last_settings",
    "report",
    "run",
    "run_stage",
]
