# SPDX-License-Identifier: Apache-2.0
"""onnxruntime, with its telemetry switched off."""

import os
from types import ModuleType

from intarsia.packages import load_package

#: What onnxruntime reads when it is imported. Its function `disable_telemetry_events` comes too late: by then a device
#: identifier and a database of events lie in the user's cache, and the sender has asked for its server's address.
_SWITCH = "ORT_DISABLE_TELEMETRY"


def switch_telemetry_off() -> None:
    """Keep onnxruntime from collecting and sending what it is used for, here and in processes started from here.

    Call it before anything imports onnxruntime.
    """
    os.environ[_SWITCH] = "1"


def load_onnxruntime() -> ModuleType:
    """Return the module onnxruntime, which writes no file and asks for no server.

    Raises:
        IntarsiaError: the package is missing.
    """
    switch_telemetry_off()
    onnxruntime = load_package("onnxruntime", "onnx")
    onnxruntime.disable_telemetry_events()  # for a program that had imported it before
    return onnxruntime
