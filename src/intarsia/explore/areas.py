# SPDX-License-Identifier: Apache-2.0
"""Areas of execution units: each synthesized once, then read from the user's cache."""

import tempfile
from pathlib import Path

from intarsia.engine.sources import write_sources
from intarsia.flow.synthesis import cache_folder
from intarsia.synthesize.units import LaneArray, characterize


class Areas:
    """Looks up the transistors of the lane array that a network needs; no library is needed for them.

    Args:
        cache: folder of kept results; the user's by default.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_folder()
        self._known: dict[LaneArray, float] = {}

    def __getitem__(self, array: LaneArray) -> float:
        """Return the area of a lane array, in transistors.

        Raises:
            IntarsiaError: pyosys is missing, or synthesis fails.
        """
        if array not in self._known:
            with tempfile.TemporaryDirectory() as folder:
                sources = write_sources(Path(folder))
                self._known[array] = characterize([array], sources, cache=self._cache)[0].transistors
        return self._known[array]
