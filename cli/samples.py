# SPDX-License-Identifier: Apache-2.0
"""Samples that a bundle's network takes, and what looks wrong with them."""

from math import prod
from pathlib import Path

from bramcast.cli.output import complain
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.samples.inputs import Inputs, read_inputs
from bramcast.sim.regress.referee import scale_doubt


def read_samples(path: Path, bundle: Path) -> Inputs:
    """Samples of ``path`` for the network of ``bundle``; doubts about their scale are told.

    Raises:
        InputError: no bundle, no samples, another shape than the network takes, or labels that it
            can't give.
    """
    manifest = read_manifest(bundle)
    names = [frame.name for frame in manifest.inputs]
    inputs = read_inputs(path, names if manifest.more_inputs else ())
    for frame, (name, shape) in zip(manifest.inputs, inputs.parts, strict=False):
        if shape != tuple(frame.shape):
            raise InputError(
                f"{inputs.path}: {name} has samples of {shape}; the network of {bundle} takes "
                f"{tuple(frame.shape)}"
            )
    expected, got = tuple(manifest.input.shape), inputs.x.shape[1:]
    if got != expected and not inputs.parts:
        raise InputError(
            f"{inputs.path}: x has shape {inputs.x.shape}, samples of {got}; the network of "
            f"{bundle} takes {expected}"
        )
    inputs = inputs.of_outputs([frame.name for frame in manifest.outputs if frame.name])
    classes = prod(manifest.outputs[inputs.y_of].shape)
    if inputs.y is not None and classes > 1:
        low, high = int(inputs.y.min()), int(inputs.y.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"{inputs.path}: y has labels {low}..{high}, the network of {bundle} has "
                f"{classes} outputs (labels must be 0..{classes - 1})"
            )
    doubt = "" if inputs.parts else scale_doubt(inputs.x, manifest.input)
    if doubt:
        complain(f"{inputs.path}: {doubt}: was it preprocessed as the samples of the packing?")
    return inputs
