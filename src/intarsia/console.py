# SPDX-License-Identifier: Apache-2.0
"""The terminal: what it cannot show is written in plain letters, instead of ending the program."""

import codecs
import io
import sys

_ERRORS = "intarsia.plain"
_PLAIN = str.maketrans({"…": "...", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "µ": "u", "²": "2", "→": "->"})


def accept_any_text() -> None:
    """Let standard output and standard error take any text, whatever their encoding; call it before the first one."""
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
