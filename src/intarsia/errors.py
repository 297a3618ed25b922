# SPDX-License-Identifier: Apache-2.0
"""The one exception that stands for a user's mistake or a missing tool."""

from intarsia.words import escaped


class IntarsiaError(Exception):
    """Something the user can mend: the message is one sentence that says what is wrong and what to do.

    It is one printable line, whatever the names of files and layers in it are. The command line prints it and exits
    with status 2; it never shows a traceback for this class.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))
