# SPDX-License-Identifier: Apache-2.0
"""Fit the fast model of energy to what was measured on netlists, and say how far it is off on what it did not see."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from energy import LayerRow, Row
from intarsia.synthesize.energy import FittedEnergies, FittedModel

Reals = NDArray[np.float64]


def fit(rows: Sequence[Row], library: str) -> FittedModel:
    """Return the model of all kinds of units that were measured."""
    kinds = dict.fromkeys(row.kind for row in rows)
    return FittedModel(library, tuple(_fitted(kind, [row for row in rows if row.kind == kind]) for kind in kinds))


def _fitted(kind: str, rows: Sequence[Row]) -> FittedEnergies:
    errors, layer_errors = [], []
    for held in dict.fromkeys(row.network for row in rows):
        seen = _energies([layer for row in rows if row.network != held for layer in row.layers])
        for row in rows:
            if row.network == held:
                predicted, found = _predicted(row.layers, seen), np.array([layer.logic for layer in row.layers])
                errors.append(float(predicted.sum() / found.sum() - 1))
                layer_errors.append(float(np.abs(predicted - found).sum() / found.sum()))
    picojoules = _energies([layer for row in rows for layer in row.layers])
    return FittedEnergies(
        kind, tuple(float(each) for each in picojoules), max(errors, key=abs), float(np.mean(layer_errors))
    )


def _energies(layers: Sequence[LayerRow]) -> Reals:
    """Return what each event takes in pJ, none less than nothing; large layers count more, but not in proportion."""
    found = np.array([layer.logic * 1000 for layer in layers])
    weights = 1 / np.sqrt(found)
    events = np.array([layer.events for layer in layers])
    scale = np.maximum(events.max(axis=0), 1)
    energies, _ = nnls(events / scale * weights[:, None], found * weights)
    result: Reals = energies / scale
    return result


def _predicted(layers: Sequence[LayerRow], energies: Reals) -> Reals:
    found: Reals = np.array([layer.events for layer in layers]) @ energies / 1000
    return found
