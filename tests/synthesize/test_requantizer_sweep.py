# SPDX-License-Identifier: Apache-2.0
"""The area of the requantizer by the width of its multipliers."""

from pathlib import Path

import pytest

from intarsia.errors import IntarsiaError
from intarsia.synthesize.pdk import Pdk
from intarsia.synthesize.requantizer_sweep import requantizer_areas


def test_a_narrower_multiplier_takes_less_area(engine_sources: tuple[Path, ...]) -> None:
    narrow, middle, wide = requantizer_areas(engine_sources, (2, 8, 16))
    assert (narrow.scale_bits, middle.scale_bits, wide.scale_bits) == (2, 8, 16)
    assert 0 < narrow.transistors < middle.transistors < wide.transistors
    [without] = requantizer_areas(engine_sources, (8,), residual_bits=0)
    assert without.transistors < middle.transistors
    assert without.flip_flops < middle.flip_flops
    assert narrow.kge is None
    assert narrow.path_ns is None


def test_a_width_that_the_hardware_does_not_have_is_refused(engine_sources: tuple[Path, ...]) -> None:
    with pytest.raises(IntarsiaError, match="ScaleBits"):
        requantizer_areas(engine_sources, (17,))


@pytest.mark.pdk
def test_gate_equivalents_with_a_pdk(engine_sources: tuple[Path, ...], pdk: Pdk) -> None:
    narrow, wide = requantizer_areas(engine_sources, (4, 8), pdk=pdk)
    assert narrow.kge and wide.kge and wide.path_ns
    assert 1 < narrow.kge < wide.kge < 20
    assert 0.5 < wide.path_ns < 20
