# SPDX-License-Identifier: Apache-2.0
"""Latencies of the engine's pipelines, in cycles: declared here once, for the RTL's package and for the cycle model."""

#: From the start of a layer to the loader's first read: its three address stages and the issue.
LOADER_STAGES = 4
#: From the issue of a step to the update of its accumulators.
STEP_STAGES = 3
#: From the read of a group's accumulators until its bytes are there: the stages of the requantizer.
REQUANT_STAGES = 4

BY_NAME = {"LoaderStages": LOADER_STAGES, "StepStages": STEP_STAGES, "RequantStages": REQUANT_STAGES}
