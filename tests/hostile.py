# SPDX-License-Identifier: Apache-2.0
"""Names that a shell, make, a URL, a format string or the dynamic loader would take for something else."""

#: Of a folder; its commands would end in an error or leave a file.
FOLDER = "a b$(exit 3);'\"%41?#\\$LIB`exit 3`&{x}|\né"
#: Of a network, a tensor or a layer: each writes a line of its own, steers the terminal, or is not text.
NAMES = ("net\nintarsia: verified", "\x1b[2Jnet", "a\ud800b", "net\u2028x", "\u202ecod", "a\x85b", "a\rb")
