"""Where a study's float network comes from: a run of the flow, up to its first stage."""

import time
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.flow import Settings, run_stage
from intarsia.flow.runner import FolderBusyError

_PATIENCE = 600.0  # seconds that another process may take to make the float network
_MODELS = (".tflite", ".onnx")


def settings_of(network: str, folder: Path, data_dir: Path | None, *, device: str = "cpu") -> Settings:
    """Return the settings of a network's run.

    Args:
        network: a name, or the file of a float network (.tflite, .onnx).
        folder: where runs go; the network's is inside.
        data_dir: folder of data sets, or a user's own data.
        device: where PyTorch trains.

    Raises:
        IntarsiaError: there is no such network.
    """
    path = Path(network)
    model = path if path.suffix in _MODELS else None
    name = path.stem if model else network
    return Settings(name, folder / name, model=model, data_dir=data_dir, device=device, synthesis=False)


def ready(settings: Settings) -> None:
    """Make the float network if it is not there; wait where another process is at it.

    Raises:
        IntarsiaError: it cannot be made.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            run_stage(settings, "train", say=lambda _: None)
        except FolderBusyError as error:
            if time.monotonic() > deadline:
                raise IntarsiaError(str(error)) from error
            time.sleep(0.5)
        else:
            return
