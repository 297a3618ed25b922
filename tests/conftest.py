# SPDX-License-Identifier: Apache-2.0
"""What the tests of several packages share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from intarsia.integer.runtime import switch_telemetry_off
from intarsia.synthesize.pdk import Pdk, load_pdk

switch_telemetry_off()  # tests use onnxruntime themselves

# Nothing is timed in a test: a busy machine must not make a property fail. In CI, the parent draws the same examples
# each time.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def pdk() -> Pdk:
    """The PDK that PDK_ROOT names."""
    root = os.environ.get("PDK_ROOT")
    if not root:
        pytest.skip("PDK_ROOT is not set")
    return load_pdk(Path(root))
