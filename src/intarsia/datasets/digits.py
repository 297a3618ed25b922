# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits that ship inside scikit-learn: 1,797 images of 8×8 (Alpaydin and Kaynak, 1998)."""

import numpy as np

from intarsia.datasets.types import Dataset, InputScaling, Split
from intarsia.packages import load_package

_TRAIN, _VALIDATION = 1_197, 300
_SEED = 0  # of the split; the same for everybody, whatever the seed of the training


def load_digits() -> Dataset:
    """Load the digits, split once and for all into 1,197 / 300 / 300 images, uint8 (N, 1, 8, 8).

    Raises:
        IntarsiaError: scikit-learn is not installed.
    """
    pixels, labels = load_package("sklearn.datasets", "train").load_digits(return_X_y=True)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    images = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)[order]
    classes = labels.astype(np.int64)[order]
    first, second = _TRAIN, _TRAIN + _VALIDATION
    return Dataset(
        name="digits",
        train=Split(images[:first], classes[:first]),
        validation=Split(images[first:second], classes[first:second]),
        test=Split(images[second:], classes[second:]),
        classes=tuple("0123456789"),
        scaling=InputScaling(offset=0, scale=1 / 16),
        source="Handwritten digits of scikit-learn, 1,197 to train, 300 to validate, 300 to test.",
    )
