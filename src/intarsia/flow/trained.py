# SPDX-License-Identifier: Apache-2.0
"""How a quantized network was made, in words."""

from collections.abc import Sequence

from intarsia.text import counted


def how_quantized(epochs: int, kept: Sequence[int], transforms: str = "") -> str:
    """Say how networks were quantized.

    Args:
        epochs: of training; 0 is post-training quantization.
        kept: of each network, how many of the epochs it was trained, see `which_kept`.
        transforms: that the float network went through first, if any.
    """
    text = "post-training quantization"
    if epochs:
        text = f"quantization-aware training, {counted(epochs, 'epoch')} ({which_kept(epochs, kept)})"
        text += ", distilled from the float network"
    return f"{text}, after {transforms}" if transforms else text


def which_kept(epochs: int, kept: Sequence[int]) -> str:
    """Say after which epoch the network of each training was kept, 0 being the network before training."""
    if not any(kept):
        return "kept the network before training: no epoch was better on validation data"
    if len(kept) == 1:
        return f"kept epoch {kept[0]} of {epochs}"
    before = "" if all(kept) else ", 0 being the network before training"
    return f"kept epochs {', '.join(map(str, kept))} of {epochs}{before}"
