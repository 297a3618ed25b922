# SPDX-License-Identifier: Apache-2.0
"""Reads one damaged file and judges what the reader does."""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from fuzz.formats import FORMATS, damaged
from intarsia.errors import IntarsiaError

PATIENCE = 10  # seconds


class _HangError(BaseException):
    """The time is over. Not an `Exception`, which readers turn into a sentence."""


def fault(name: str, seed: int, folder: Path) -> str:
    """Return what is wrong with how a format's reader takes the input of a number; empty if nothing is.

    It may return, or raise IntarsiaError with one printable line, within 10 s.
    """
    path = folder / f"{name}-{seed}{FORMATS[name].suffix}"
    path.write_bytes(damaged(name, seed))
    try:
        with _limited():
            FORMATS[name].read(path)
    except IntarsiaError as error:
        text = str(error)
        if not (text.isprintable() and text.endswith(".")):
            return f"says {ascii(text)[:300]}"
    except _HangError:
        return f"takes more than {PATIENCE} s"
    except BaseException:
        return traceback.format_exc()
    finally:
        for made in folder.iterdir():
            made.unlink()
    return ""


@contextmanager
def _limited() -> Iterator[None]:
    def stop(_: int, frame: FrameType | None) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        with suppress(ValueError):
            signal.signal(signal.SIGALRM, before)
