# SPDX-License-Identifier: Apache-2.0
"""A few damaged files for every reader; `make fuzz` tries fifty thousand."""

from pathlib import Path

import pytest

from fuzz.formats import FORMATS
from fuzz.trial import fault

_SLOW = {"keras": 8, "pt2": 20}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    for number in range(_SLOW.get(name, 60)):
        assert not fault(name, number, tmp_path), f"python -m fuzz --format {name} --first {number} --count 1"
