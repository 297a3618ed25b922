# SPDX-License-Identifier: Apache-2.0
"""The report of a run: plain data in, one HTML page, `results.json` and a text table out."""

from intarsia.report.data import Results, read_run
from intarsia.report.page import REPORT_FILES, render, write_report
from intarsia.report.table import table

__all__ = ["REPORT_FILES", "Results", "read_run", "render", "table", "write_report"]
