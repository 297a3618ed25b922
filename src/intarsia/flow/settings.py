# SPDX-License-Identifier: Apache-2.0
"""The settings of a run: its network, data and folder, with those of learning and of hardware."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from intarsia.engine import EngineConfig
from intarsia.engine.units import unit_named
from intarsia.errors import IntarsiaError
from intarsia.files import require_readable
from intarsia.flow.hardware_settings import HardwareSettings
from intarsia.flow.learning_settings import LearningSettings
from intarsia.flow.names import MODEL_FILE
from intarsia.flow.schemes import scheme_text
from intarsia.integer.zoo import frozen_path
from intarsia.recipes import Benchmark, QuantizationRecipe, Route, benchmark_of
from intarsia.typed_json import MismatchError, from_json, mismatch, to_json

#: In the folder of a run, next to its report: the settings that the report is of.
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Settings(LearningSettings, HardwareSettings):
    """One run. What changes a result is a field, and enters the key of the tasks that it changes.

    The rest says where and how: `folder`; `data_dir`, because the keys of tasks hold which files were found there
    instead (nothing where checksums pin them, so that keys are the same anywhere); `command`; and `device`, although
    floating-point sums round differently there, so that a network trained on another device is another one of the same
    quality: give `--force` to train it again.

    Attributes:
        network: name in `intarsia.recipes`; for a user's own, the name of its run.
        folder: where the artifacts of this network go.
        model: file of a user's own network to import, see `intarsia.flow.names.MODELS`; its data is at `data_dir`.
        data_dir: folder of data sets; None looks at INTARSIA_DATA and the cache.
        command: the command line, for the report.
        zoo: whether the run starts at the frozen network of the zoo; then nothing is trained.
    """

    network: str
    folder: Path
    model: Path | None = None
    data_dir: Path | None = None
    command: str = ""
    zoo: bool = False

    def __post_init__(self) -> None:
        if self.zoo:
            self._start_frozen()
        self.normalize_learning(self.benchmark)
        self._check_source()
        self.check_learning(self.network, self.benchmark)
        self.check_hardware()
        self._check_float_epochs()
        _ = self.engine  # says what is wrong with the scheme and with its numbers

    def _start_frozen(self) -> None:
        """Refuse what only training could follow, and leave out what it would do by default.

        Raises:
            IntarsiaError: names the setting, or the zoo has no such network.
        """
        if self.model is not None:
            raise IntarsiaError(f"{self.model} is imported and not of the zoo; leave out --zoo.")
        frozen_path(self.network)
        left_out: dict[str, object] = {"baselines": (), "transforms": "none", "seeds": self.benchmark.seeds}
        for field in fields(LearningSettings):
            if getattr(self, field.name) not in (field.default, left_out.get(field.name, field.default)):
                raise IntarsiaError(
                    f"--{field.name.replace('_', '-')} says what is trained, but --zoo takes {self.network} as it was "
                    "frozen; leave out one of them."
                )
        for name, value in left_out.items():
            object.__setattr__(self, name, value)

    def _check_source(self) -> None:
        if self.model is not None:
            require_readable(self.model, f"give the path of {MODEL_FILE}")
        if self.model is not None and self.data_dir is None:
            raise IntarsiaError(
                f"{self.model} needs data; give an .npz file of x and y, or a folder of them, with --data."
            )
        imported = self.model or self.benchmark.reference
        if imported and self.retrain:
            raise IntarsiaError(
                f"{self.network} is imported from {imported} and not trained from scratch; leave out --retrain."
            )

    def _check_float_epochs(self) -> None:
        if self.float_epochs is None or self.from_scratch:
            return
        if self.model or self.benchmark.reference:
            raise IntarsiaError(
                f"{self.network} is imported with its float weights, which are not trained; leave out --float-epochs."
            )
        raise IntarsiaError(
            f"float epochs are of training from scratch, but {self.network} takes its float weights from the zoo; "
            "add --retrain."
        )

    @property
    def benchmark(self) -> Benchmark:
        """What this network's run does unless told otherwise."""
        return benchmark_of(self.network, self.model)

    @property
    def engine(self) -> EngineConfig:
        """The engine to begin with: it is fitted to each network that is compiled."""
        return EngineConfig(unit=unit_named(self.unit, self.lanes), lanes=self.lanes, block=self.block or self.lanes)

    def scheme_text(self, kind: str) -> str:
        """Return the planes that a user's name for a scheme means for this network."""
        return scheme_text(self.benchmark.scheme, kind)

    @property
    def imported(self) -> Path | None:
        """The file that the float network is imported from, if it is.

        Raises:
            IntarsiaError: it is one of the folder of data sets, and there is none.
        """
        if self.zoo or self.model is not None or not self.benchmark.reference:
            return self.model
        folder = self.data_dir or (Path(os.environ["INTARSIA_DATA"]) if os.environ.get("INTARSIA_DATA") else None)
        if folder is None or not (folder / self.benchmark.reference).is_file():
            raise IntarsiaError(
                f"{self.network} is MLPerf Tiny's reference model; put {self.benchmark.reference} into the folder of "
                "data sets (--data or INTARSIA_DATA): it is in github.com/mlcommons/tiny."
            )
        return folder / self.benchmark.reference

    @property
    def from_scratch(self) -> bool:
        """Whether the float network is trained here."""
        return not self.zoo and (self.benchmark.retrain if self.retrain is None else self.retrain)

    @property
    def compared(self) -> tuple[str, ...]:
        """The baselines, of `BASELINES`."""
        return self.baselines_of(self.benchmark)

    @property
    def quantization_recipe(self) -> QuantizationRecipe:
        """How the quantized networks are trained, except for numbers of epochs."""
        return self.recipe_of(self.benchmark)

    @property
    def routed(self) -> Route:
        """What is placed and routed."""
        return self.route_of(self.benchmark)

    @property
    def simulated_images(self) -> int:
        """How many test images run on the simulated engine."""
        return self.images_of(self.benchmark)

    def as_json(self) -> dict[str, object]:
        """Return the settings as JSON values, without the folder: a run may be moved. Paths are absolute."""
        fields: dict[str, object] = to_json(self)
        del fields["folder"]
        paths = {"model": self.model, "data_dir": self.data_dir}
        return fields | {name: None if path is None else str(path.absolute()) for name, path in paths.items()}

    @classmethod
    def from_json(cls, fields: object, folder: Path) -> "Settings":
        """Return the settings that `as_json` gave, for a run in `folder`.

        Raises:
            IntarsiaError: these are not settings of this version.
        """
        try:
            content = {**fields, "folder": str(folder)} if isinstance(fields, Mapping) else fields
            return from_json(cls, content)
        except MismatchError as error:
            raise mismatch(folder / SETTINGS_FILE, error) from error
