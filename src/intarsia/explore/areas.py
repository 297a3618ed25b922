"""Areas of execution units: each synthesized once, then known."""

from intarsia.synthesize.units import ExecutionUnit


class Areas:
    """Looks up the area of the lane array that a network needs, in transistors, or in kGE with a PDK."""

    def __init__(self) -> None:
        self._known: dict[ExecutionUnit, float | None] = {}

    def __getitem__(self, unit: ExecutionUnit) -> float | None:
        raise NotImplementedError
