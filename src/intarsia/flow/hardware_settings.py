# SPDX-License-Identifier: Apache-2.0
"""The settings of a run that say which hardware is built, how it is verified and how it is measured."""

from dataclasses import dataclass
from typing import Literal, get_args

from intarsia.engine import EngineConfig
from intarsia.engine.units import Superposition
from intarsia.errors import IntarsiaError
from intarsia.flow.learning_settings import require_at_least
from intarsia.processes import LONGEST_TIMEOUT_S
from intarsia.recipes import Benchmark, Route

#: How much of an inference runs on the netlist: nothing, the beginning of each layer, or every cycle.
EnergyExtent = Literal["none", "sampled", "full"]


@dataclass(frozen=True, kw_only=True)
class HardwareSettings:
    """What is built and measured.

    Attributes:
        images: test images for the simulated engine; None is the network's default.
        onnx_images: test images for the exported graph in onnxruntime.
        unit: what the lanes of the engine multiply with, by name.
        lanes: of the engine to compile for, and its input channels per block; None is as many as lanes.
        synthesis: whether to synthesize.
        energy: how much of an inference runs on the netlist, for energy and timing; without synthesis nothing does.
        route: what is placed and routed on an FPGA; None is the network's default.
        route_seconds: time limit of each tool of that; past it the report says so.
    """

    images: int | None = None
    onnx_images: int = 1000
    unit: str = Superposition.name
    lanes: int = EngineConfig.lanes
    block: int | None = None
    synthesis: bool = True
    energy: EnergyExtent = "sampled"
    route: Route | None = None
    route_seconds: float = 1800.0

    def check_hardware(self) -> None:
        """Refuse what cannot be built or measured.

        Raises:
            IntarsiaError: says which setting is wrong and what it may be.
        """
        for name in ("images", "onnx_images"):
            require_at_least(1, name, getattr(self, name))
        if self.energy not in get_args(EnergyExtent):
            raise IntarsiaError(f"energy is not measured {self.energy!r}; choose none, sampled or full.")
        if not 0 < self.route_seconds <= LONGEST_TIMEOUT_S:
            raise IntarsiaError(
                f"the time limit of place and route must be above 0 and at most {LONGEST_TIMEOUT_S:,.0f} seconds, not "
                f"{self.route_seconds:g}."
            )

    def images_of(self, benchmark: Benchmark) -> int:
        """Return how many test images run on the simulated engine."""
        return benchmark.images if self.images is None else self.images

    def route_of(self, benchmark: Benchmark) -> Route:
        """Return what is placed and routed."""
        return self.route or benchmark.route
