# SPDX-License-Identifier: Apache-2.0
"""Random layers on random engines, until stopped."""
