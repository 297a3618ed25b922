"""The requantization of the integer network, on arrays: the one definition that everything else must equal."""

import numpy as np
from numpy.typing import NDArray


def requantize(total: NDArray[np.int64], shift: NDArray[np.integer] | int, lo: int, hi: int) -> NDArray[np.int64]:
    """Return clip((total + 2^(shift−1)) >> shift, lo, hi), rounding half up; shift 0 adds nothing.

    `total` is Σ_p acc_p·m_p + c as 64-bit integers; `shift` (0 … 31) broadcasts against it.
    """
    amount = np.asarray(shift, np.int64)
    half = np.where(amount > 0, np.int64(1) << np.maximum(amount - 1, 0), 0)
    return np.asarray(np.clip((total + half) >> amount, lo, hi), np.int64)
