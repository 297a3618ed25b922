# SPDX-License-Identifier: Apache-2.0
"""Trained networks that tests load instead of training them: what training finds differs between processors.

`PYTHONPATH=src python tests/fixed_networks.py` trains them again, which only a changed network calls for.
"""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from intarsia.datasets import load_dataset
from intarsia.networks import build
from intarsia.quantize import train_network
from intarsia.recipes import float_recipe_of

_DIGITS = Path(__file__).parent / "fixed" / "digits.safetensors"


def trained_digits() -> nn.Module:
    """Return the digits network with the float weights of its own recipe and seed 0."""
    model = build("digits", 0)
    model.load_state_dict(load_file(_DIGITS))
    return model.eval()


def main() -> None:
    """Train the networks and write their files."""
    model = build("digits", 0)
    train_network(model, load_dataset("digits"), float_recipe_of("digits"), seed=0, validate_every=100)
    save_file(model.state_dict(), _DIGITS)


if __name__ == "__main__":
    main()
