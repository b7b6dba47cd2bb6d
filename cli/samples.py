"""Samples that a bundle's network takes, and what looks wrong with them."""

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.cli.output import complain, percent
from bramcast.golden.frames import feature_factors, in_stream_order
from bramcast.pack.errors import InputError
from bramcast.pack.inputs import Inputs, read_inputs
from bramcast.pack.manifest import Frame, read_manifest

MUCH = 0.01  # of the elements saturate: more than what the choice of a format gives up for outliers
LITTLE = 1 / 16  # of the format's range is all that the samples reach


def read_samples(path: Path, bundle: Path) -> Inputs:
    """Samples of ``path`` for the network of ``bundle``; doubts about their scale are told.

    Raises:
        InputError: no bundle, no samples, another shape than the network takes, or labels that it
            can't give.
    """
    manifest = read_manifest(bundle)
    inputs = read_inputs(path)
    expected, got = tuple(manifest.input.shape), inputs.x.shape[1:]
    if got != expected:
        raise InputError(
            f"{inputs.path}: x has shape {inputs.x.shape}, samples of {got}; the network of "
            f"{bundle} takes {expected}"
        )
    classes = prod(manifest.output.shape)
    if inputs.y is not None and classes > 1:
        low, high = int(inputs.y.min()), int(inputs.y.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"{inputs.path}: y has labels {low}..{high}, the network of {bundle} has "
                f"{classes} outputs (labels must be 0..{classes - 1})"
            )
    doubt = scale_doubt(inputs.x, manifest.input)
    if doubt:
        complain(f"{inputs.path}: {doubt}: was it preprocessed as the samples of the packing?")
    return inputs


def scale_doubt(x: NDArray[np.floating], frame: Frame) -> str:
    """What is suspicious about the samples' scale in the network's input format; "" if nothing is.

    >>> from bramcast.pack.manifest import Format
    >>> frame = Frame([4], [1, 1, 4], [0, 0, 1], Format(8, 7, False))
    >>> scale_doubt(np.array([[0.0, 8.0, 16.0, 1.0]]), frame)
    '50.00 % of x is outside the input format UQ1.7 (0 to 1.992) and saturates'
    >>> scale_doubt(np.array([[0.0, 0.01, 0.02, 0.015]]), frame)
    'x reaches 0.02 only, the input format UQ1.7 1.992'
    >>> scale_doubt(np.array([[0.0, 1.5, 1.992, 0.015]]), frame)
    ''
    """
    if frame.exponents:
        x = in_stream_order(x, frame) * feature_factors(frame)
    q = frame.format.q
    low, high = q.min * q.lsb, q.max * q.lsb
    outside = float(((x < low - q.lsb) | (x > high + q.lsb)).mean())
    if outside > MUCH:
        reach = f"{low:.4g} to {high:.4g}"
        return f"{percent(outside)} of x is outside the input format {q} ({reach}) and saturates"
    peak = float(np.abs(x).max())
    if 0 < peak < LITTLE * high:
        return f"x reaches {peak:.4g} only, the input format {q} {high:.4g}"
    return ""
