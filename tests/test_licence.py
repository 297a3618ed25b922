# SPDX-License-Identifier: Apache-2.0
"""Every source file says its licence in its first line."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = "SPDX-License-Identifier: Apache-2.0"
#: By the ending of a file: what begins a comment.
COMMENTS = {".py": "#", ".sv": "//", ".cpp": "//", ".h": "//", ".c": "//", ".S": "//"}
FOLDERS = ("src", "tests", "benchmarks", "examples", "docs")


def test_the_licence_is_the_one_that_files_name() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0" in text


@pytest.mark.parametrize("folder", FOLDERS)
def test_source_files_begin_with_their_licence(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in COMMENTS]
    assert files
    without = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.read_text(encoding="utf-8").split("\n", 1)[0] != f"{COMMENTS[path.suffix]} {LINE}"
    ]
    assert not without, f"these files need {LINE!r} in their first line: {', '.join(without)}"
