# SPDX-License-Identifier: Apache-2.0
"""Designs and kept results that several tests of this room share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from intarsia.engine.sources import write_sources
from intarsia.synthesize.yosys import Design

RTL = Path(__file__).with_name("rtl")


@pytest.fixture(scope="session")
def mac_array() -> Callable[..., Design]:
    """The test array of multiply-accumulate cells behind a memory, with parameters."""
    sources = (RTL / "mac_array.sv", RTL / "mac_cell.sv", RTL / "intarsia_memory.sv")
    return lambda **parameters: Design(sources, "mac_array", parameters)


@pytest.fixture(scope="session")
def engine_sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The engine's SystemVerilog files."""
    return tuple(write_sources(tmp_path_factory.mktemp("engine")))
