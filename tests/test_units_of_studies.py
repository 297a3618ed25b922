# SPDX-License-Identifier: Apache-2.0
"""A design of a study is built on the execution unit that its cycles and area were measured on."""

from dataclasses import replace
from pathlib import Path

import pytest

from intarsia.cli.commands import settings_of
from intarsia.files import write_json
from intarsia.report.study import Design, StudyResults
from intarsia.typed_json import to_json

DESIGN = Design(
    "int4, first=digits4", "none", "", {}, 0, (0,), {"accuracy": 0.9, "bits": 4.1}, (0.9,), (0.9,), "", on_front=True
)


@pytest.mark.parametrize(
    ("design", "told", "unit"),
    [
        (DESIGN, {}, "superposition"),  # not known
        (replace(DESIGN, measured_on="dense"), {}, "dense"),
        (replace(DESIGN, unit="dense4", measured_on="dense"), {}, "dense4"),
        (replace(DESIGN, measured_on="dense"), {"unit": "mixed_rows"}, "mixed_rows"),
    ],
)
def test_the_unit_of_a_design_that_is_built(design: Design, told: dict[str, str], unit: str, tmp_path: Path) -> None:
    results = StudyResults("small", "digits", ("accuracy", "bits"), (0,), (design,), {}, (), 1.0)
    write_json(tmp_path / "results.json", to_json(results))
    assert settings_of("compile", "digits", {"from_study": tmp_path, **told}, "").unit == unit
