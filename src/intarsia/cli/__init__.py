# SPDX-License-Identifier: Apache-2.0
"""The command line: thin, one command per stage, and `run` for all of them."""

import contextlib
import os
import sys
from collections.abc import Sequence

from intarsia.cli.commands import dispatch
from intarsia.cli.parser import parse
from intarsia.console import accept_any_text
from intarsia.errors import INTERRUPTED, IntarsiaError
from intarsia.text import escaped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 2 for a user's mistake, 130 for an interrupt."""
    accept_any_text()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = dispatch(parse(arguments), arguments)
        sys.stdout.flush()
        return status
    except IntarsiaError as error:
        return _complain(f"intarsia: error: {error}", 2)
    except KeyboardInterrupt:
        return _complain(INTERRUPTED, 130)
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _complain("intarsia: error: out of memory; close other programs or use fewer --images.", 2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _complain(f"intarsia: error: the system refuses{where}: {error.strerror or error}.", 2)


def _complain(text: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(escaped(text), file=sys.stderr, flush=True)
    return status
