# SPDX-License-Identifier: Apache-2.0
"""Variants of a few pictures: inputs that related data sets have too few of."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_LEAST_AREA = 0.35  # of a picture that a cut keeps
_ASPECT = 0.3  # wider or taller, in logarithms
_MOSAIC = 0.3  # part of the variants that are made of four pictures
_EDGE = 0.3  # of a mosaic's side, that each of its pictures has at least
_LIGHT, _CONTRAST, _COLOUR = 0.2, 0.3, 0.4  # brighter or darker, and so on, part of one


def picture_variants(pictures: Picture, each: int, seed: int) -> Picture:
    """Return variants (N · each, C, H, W) of pictures (N, C, H, W): cuts, mirrored or not, in another light, some of
    them four to a mosaic (Bochkovskiy et al., YOLOv4, 2020).
    """
    rng = np.random.default_rng(seed)
    made = np.empty((len(pictures) * each, *pictures.shape[1:]), np.uint8)
    for number in range(len(made)):
        if rng.random() < _MOSAIC:
            variant = _mosaic(pictures, number // each, rng)
        else:
            variant = _cut(pictures[number // each], pictures.shape[2:], rng)
        made[number] = _in_other_light(variant, rng)
    return made


def resampled(picture: Picture, box: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a box (top, left, height, width) of a picture (C, H, W) in `size` pixels, bilinear; edges repeat."""
    top, left, height, width = box
    rows = bilinear_weights(picture.shape[1], top, height, size[0])
    columns = bilinear_weights(picture.shape[2], left, width, size[1])
    return np.asarray(rows @ picture.astype(np.float32) @ columns.T)


def bilinear_weights(length: int, start: float, extent: float, count: int) -> NDArray[np.float32]:
    """Return what each of `length` pixels counts in each of `count` samples of the pixels from `start` over `extent`:
    (count, length), triangles as wide as the wider of both grids' steps, so that pictures made smaller do not alias.
    """
    step = extent / count
    position = np.clip(start + (np.arange(count) + 0.5) * step - 0.5, 0, length - 1)
    weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(length)) / max(step, 1.0))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _cut(picture: Picture, size: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    _, height, width = picture.shape
    area, aspect = rng.uniform(_LEAST_AREA, 1.0), float(np.exp(rng.uniform(-_ASPECT, _ASPECT)))
    tall = min(height, height * float(np.sqrt(area / aspect)))
    wide = min(width, width * float(np.sqrt(area * aspect)))
    box = (rng.uniform(0, height - tall), rng.uniform(0, width - wide), tall, wide)
    found = resampled(picture, box, size)
    return found[:, :, ::-1] if rng.random() < 0.5 else found


def _mosaic(pictures: Picture, first: int, rng: Generator) -> NDArray[np.float32]:
    _, _, height, width = pictures.shape
    y, x = (round(side * rng.uniform(_EDGE, 1 - _EDGE)) for side in (height, width))
    chosen = [first, *rng.integers(len(pictures), size=3)]
    cuts = [
        _cut(pictures[number], size, rng)
        for number, size in zip(chosen, ((y, x), (y, width - x), (height - y, x), (height - y, width - x)), strict=True)
    ]
    above, below = np.concatenate(cuts[:2], axis=2), np.concatenate(cuts[2:], axis=2)
    return np.concatenate([above, below], axis=1)


def _in_other_light(picture: NDArray[np.float32], rng: Generator) -> Picture:
    light, contrast, colour = (1 + rng.uniform(-most, most) for most in (_LIGHT, _CONTRAST, _COLOUR))
    grey = picture.mean(axis=0, keepdims=True)
    coloured = grey + (picture - grey) * colour
    middle = coloured.mean()
    changed: NDArray[np.float32] = ((coloured - middle) * contrast + middle) * light
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)
