# SPDX-License-Identifier: Apache-2.0
"""Exploration: design spaces, studies that search them, and the fronts that they find.

from intarsia.explore import read_space
space = read_space(Path("space.yaml"))
[point.scheme for point in space.points()]
"""

from intarsia.explore.space import Choice, DesignSpace, LayerSpace, Point, Rung, Search
from intarsia.explore.space_file import parse_space, read_space

__all__ = ["Choice", "DesignSpace", "LayerSpace", "Point", "Rung", "Search", "parse_space", "read_space"]
