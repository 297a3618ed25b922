# SPDX-License-Identifier: Apache-2.0
"""The one exception that stands for a user's mistake or a missing tool, and sentences that many places need."""

TYPE_CHECKING = False  # as in `typing`, which the first instructions of the command line have no time for
if TYPE_CHECKING:
    from pathlib import Path

#: What the command line says when it is interrupted.
INTERRUPTED = "intarsia: interrupted; what was finished stays, run the same command to go on."


class IntarsiaError(Exception):
    """Something the user can mend: the message is one sentence that says what is wrong and what to do.

    It is one printable line, whatever the names of files and layers in it are. The command line prints it and exits
    with status 2; it never shows a traceback for this class.
    """

    def __init__(self, message: str) -> None:
        from intarsia.text import escaped  # noqa: PLC0415 (needs `re`; as above)

        super().__init__(escaped(message))


def unreadable(path: "Path", error: OSError, remedy: str = "correct the path") -> IntarsiaError:
    """Return the error that says why the system does not let a file be read: it is missing, a folder, forbidden, …"""
    if isinstance(error, FileNotFoundError):
        return IntarsiaError(f"there is no file {path}; {remedy}.")
    return IntarsiaError(f"cannot read {path}: {error.strerror or error}; {remedy}.")
