# SPDX-License-Identifier: Apache-2.0
"""Systems around a network: its software on a processor."""
