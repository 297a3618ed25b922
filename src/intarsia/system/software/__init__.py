# SPDX-License-Identifier: Apache-2.0
"""An integer network as a C99 library: the software that an accelerator is compared with, and useful by itself."""

from intarsia.system.software.export import export, library_files
from intarsia.system.software.library import Library, build_library
from intarsia.system.software.lowering import KERNELS

__all__ = ["KERNELS", "Library", "build_library", "export", "library_files"]
