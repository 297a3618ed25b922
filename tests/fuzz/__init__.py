# SPDX-License-Identifier: Apache-2.0
"""Damaged files for every reader. `make fuzz` runs many, `tests/test_fuzz.py` a few."""
