# SPDX-License-Identifier: Apache-2.0
"""The documentation as one static site: README, CONTRIBUTING, CHANGELOG, docs/*.md and the API reference.

The sources are read from the root of the repository, so that links work in the repository and on the site.
"""

import re
from importlib.metadata import version as version_of
from pathlib import Path
from textwrap import indent
from typing import Any

from sphinx.application import Sphinx

project = "Intarsia"
author = "The Intarsia authors"
copyright = "2026, The Intarsia authors"
version = release = version_of("intarsia")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/site/api/*.md"]
#: Folders that are not searched for pages at all.
exclude_patterns = [".*", "build", "runs", "src", "tests", "studies", "benchmarks", "examples"]

highlight_language = "text"  # of blocks without a language
html_theme = "furo"
html_title = "Intarsia"
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # pages that programs write may skip a level

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

#: How a paragraph of a docstring begins that is a program.
PROGRAM = re.compile(r"(from intarsia|import |python )")
#: Pages in the order of the sidebar, by part. The README, which is also read elsewhere, cannot hold this itself.
CONTENTS = {
    "Guides": ("docs/own-network", "docs/explore", "docs/export-c", "docs/extend", "CONTRIBUTING"),
    "Reference": ("docs/inside", "docs/operators", "docs/registers", "docs/zoo", "docs/site/api/index", "CHANGELOG"),
    "Results": (
        "docs/results",
        "docs/mlperf-tiny",
        "docs/regularity",
        "docs/execution-units",
        "docs/scale-bits",
        "docs/energy",
        "docs/fpga",
        "docs/system",
        "docs/evidence",
        "docs/literature",
    ),
}


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the table of contents to the README."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            source[0] += "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n"


def as_restructured(*arguments: Any) -> None:
    """Make the docstrings, which are plain text with code in backquotes, reStructuredText.

    A paragraph that begins as a program is shown as one.
    """
    lines: list[str] = arguments[-1]  # of the event autodoc-process-docstring
    paragraphs = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if PROGRAM.match(paragraph):
            paragraphs.append("::\n\n" + indent(paragraph, "    "))
        else:
            pieces = paragraph.replace("``", "`").split("`")
            pieces[::2] = [re.sub(r"([*|\\])", r"\\\1", piece) for piece in pieces[::2]]
            paragraphs.append("``".join(pieces))
    lines[:] = "\n\n".join(paragraphs).split("\n")


def redirect(app: Sphinx, error: Exception | None) -> None:
    """Let the site begin at index.html."""
    if error is None:
        page = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=README.html">'
        (Path(app.outdir) / "index.html").write_text(page + '<a href="README.html">Intarsia</a>\n', encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", as_restructured, priority=100)
    app.connect("build-finished", redirect)
