# SPDX-License-Identifier: Apache-2.0
"""Intarsia: superposed ternary and sparse high-precision networks, from PyTorch to a verified accelerator."""

__version__ = "0.1.0"
