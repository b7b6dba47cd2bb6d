# SPDX-License-Identifier: Apache-2.0
"""The judgement of packing repeated: results of the images beside the float network's."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.metrics import classes_of
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import FLOAT_RESULTS_NAME, FloatResults
from bramcast.pack.bundle.judgement import decibels, has_classes, varying
from bramcast.pack.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class BesideFloat:
    """Likeness on the ``samples`` whose float results the bundle knows.

    Attributes:
        snr: decibels of what varies among all that it knows; None if nothing does.
        agreement: share with the same class, None where the output is no class.
    """

    samples: int
    snr: float | None
    agreement: float | None


def beside_float(
    floats: FloatResults | None,
    manifest: Manifest,
    samples: NDArray[np.floating],
    real: NDArray[np.float64],
    labels: bool,
) -> BesideFloat | None:
    """Compare results with the float network's; None where it gave none for these samples.

    Args:
        real: results [n, *output.shape] for ``samples``, as real numbers.
        labels: the samples have classes, so that a single output is one.

    Raises:
        InputError: the float results are those of another output.
    """
    if floats is None:
        return None
    elements = prod(manifest.output.shape)
    if floats.results.shape[1] != elements:
        raise InputError(
            f"{FLOAT_RESULTS_NAME}: results of {floats.results.shape[1]} elements, the network has "
            f"{elements}; repack it, or delete the file"
        )
    numbers, exact = floats.known(samples)
    if not numbers.size:
        return None
    got = real.reshape(len(real), -1)[numbers]
    signal = varying(floats.results.astype(np.float64))
    noise = float(((got - exact) ** 2).sum(axis=1).mean())
    agreement = None
    if has_classes(manifest.output.shape, manifest.input.shape, labels):
        signed = manifest.output.format.signed
        agreement = float((classes_of(got, signed) == classes_of(exact, signed)).mean())
    return BesideFloat(len(numbers), None if signal is None else decibels(signal, noise), agreement)
