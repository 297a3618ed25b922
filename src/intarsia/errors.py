# SPDX-License-Identifier: Apache-2.0
"""The one exception that stands for a user's mistake or a missing tool."""


class IntarsiaError(Exception):
    """Something the user can mend: the message is one sentence that says what is wrong and what to do.

    The command line prints the message and exits with status 2; it never shows a traceback for this class.
    """
