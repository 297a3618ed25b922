# SPDX-License-Identifier: Apache-2.0
"""The page of operators says what the code does."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("tflite")

ROOT = Path(__file__).parent.parent


def test_the_page_of_operators_is_what_the_code_says() -> None:
    """Each kind of operator is quantized, frozen and compiled for it."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "operators.py"))
    assert (ROOT / "docs" / "operators.md").read_text(encoding="utf-8") == script["page"](), (
        "run: python benchmarks/operators.py"
    )
