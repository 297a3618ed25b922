# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a part of a system: bus, DMA, drivers, a RISC-V system around it, and software without it."""
