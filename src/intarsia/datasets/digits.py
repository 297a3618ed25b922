# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits that ship inside scikit-learn: 1,797 images of 8×8 (Alpaydin and Kaynak, 1998)."""

import numpy as np

from intarsia.datasets.types import Dataset, InputScaling, Split
from intarsia.packages import load_package

# Few to train on, so that it shows what a network loses with fewer bits; many to test on, so that noise is small.
_TRAIN, _VALIDATION = 400, 397
_SEED = 0  # of the split; the same for everybody, whatever the seed of the training


def load_digits() -> Dataset:
    """Load the digits, split once and for all into 400 / 397 / 1,000 images, uint8 (N, 1, 8, 8).

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
        source="Handwritten digits of scikit-learn, 400 to train, 397 to validate, 1,000 to test.",
    )
