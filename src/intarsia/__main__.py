# SPDX-License-Identifier: Apache-2.0
"""The command `intarsia`, also `python -m intarsia`: starts and ends well, whatever is done to the process meanwhile.

All else is imported inside `main`: an interrupt is answered in one line from the first instruction on.
"""

# Only what Python has loaded already, so that hardly any time passes before `main`; `signal` alone takes milliseconds.
import _signal as signal  # type: ignore[import-not-found]
import atexit
import os
import sys

from intarsia.errors import INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_STATUS_INTERRUPTED = 130
_STATUS_READER_GONE = 141


def main() -> int:
    """Run the command line and return its exit status, see `intarsia.cli.main`."""
    # Where a shell started us in the background, interrupts are ignored, and stay so.
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens:
        signal.signal(signal.SIGINT, _leave)
    interrupts = _Interrupts()
    try:
        _open_streams()
        from intarsia.cli import main as run  # noqa: PLC0415 (heavy; see above)

        if listens:
            signal.signal(signal.SIGINT, interrupts.note)  # work in progress is ended in order
        try:
            status = run()
        except SystemExit as ended:  # the parser has printed help, or what is wrong with the options
            status = ended.code if isinstance(ended.code, int) else 2
        finally:
            if listens:
                signal.signal(signal.SIGINT, _leave)  # nothing is left to do but to end
        status = _flushed(status)
        if status == _STATUS_INTERRUPTED:
            # Python would kill itself by the signal instead where the interrupt met code that was made from a text.
            atexit._run_exitfuncs()
            os._exit(status)
        return status
    except BaseException:
        # A second interrupt while the first was answered, or an error of a package that did not expect one.
        if interrupts.noted:
            _leave()
        raise


class _Interrupts:
    """Raises `KeyboardInterrupt` as Python does, and remembers it."""

    noted = False

    def note(self, _: int, __: "FrameType | None") -> "NoReturn":
        """Answer the signal."""
        self.noted = True
        raise KeyboardInterrupt


def _leave(_: int = 0, __: "FrameType | None" = None) -> "NoReturn":
    """End at once: nothing is at work before the command begins and after it ends.

    An exception would not do, because some packages catch all that their import raises, and others turn it into their
    own.
    """
    _complain(INTERRUPTED)
    os._exit(_STATUS_INTERRUPTED)


def _complain(text: str) -> None:
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return  # nobody reads it


def _open_streams() -> None:
    """Let standard streams that are closed lead nowhere.

    Else the next file that is opened gets such a stream's number, and what a tool or a library prints is written to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _flushed(status: int) -> int:
    """Write what is still held back; return the exit status, which is another where that fails."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            # What is held back goes nowhere: else Python would try again when it ends, and print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if isinstance(error, BrokenPipeError):
                return status or _STATUS_READER_GONE
            if number == 1:
                _complain(f"intarsia: error: cannot write the output: {error.strerror}.")
            status = status or 2
    return status


if __name__ == "__main__":
    sys.exit(main())
