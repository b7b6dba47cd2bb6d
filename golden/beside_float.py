# SPDX-License-Identifier: Apache-2.0
"""The judgement of packing repeated: results of the images beside the float network's."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import Output
from bramcast.golden.metrics import classes_of
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import FLOAT_RESULTS_NAME, FloatResults
from bramcast.pack.bundle.judgement import decibels, has_classes, least, varying
from bramcast.pack.bundle.manifest import Manifest, OutputJudgement


@dataclass(frozen=True, slots=True)
class BesideFloat:
    """Likeness on the ``samples`` whose float results the bundle knows.

    Attributes:
        snr: decibels of what varies among all that it knows; None if nothing does. Of several
            outputs that of the worst one.
        agreement: share with the same class, None where the output is no class. Of several outputs
            that of the one with labels, or else the least.
        outputs: both of each of several outputs.
    """

    samples: int
    snr: float | None
    agreement: float | None
    outputs: tuple[OutputJudgement, ...] = ()


def beside_float(
    floats: FloatResults | None,
    manifest: Manifest,
    samples: NDArray[np.floating],
    outputs: Sequence[Output],
    labelled: int | None,
) -> BesideFloat | None:
    """Compare results with the float network's; None where it gave none for these samples.

    Args:
        outputs: results for ``samples``.
        labelled: the output for which the samples have classes, so that a single number is one.

    Raises:
        InputError: the float results are those of another output.
    """
    if floats is None:
        return None
    elements = manifest.output_elements
    if floats.results.shape[1] != elements:
        raise InputError(
            f"{FLOAT_RESULTS_NAME}: results of {floats.results.shape[1]} elements, the network has "
            f"{elements}; repack it, or delete the file"
        )
    numbers, exact = floats.known(samples)
    if not numbers.size:
        return None
    found, start = list[OutputJudgement](), 0
    for number, (output, frame) in enumerate(zip(outputs, manifest.outputs, strict=True)):
        mine = slice(start, start + prod(frame.shape))
        start = mine.stop
        got, wanted = output.real.reshape(len(samples), -1)[numbers], exact[:, mine]
        signal = varying(floats.results[:, mine].astype(np.float64))
        noise = float(((got - wanted) ** 2).sum(axis=1).mean())
        agreement = None
        if has_classes(frame.shape, manifest.input.shape, number == labelled):
            same = classes_of(got, output.signed) == classes_of(wanted, output.signed)
            agreement = float(same.mean())
        snr = None if signal is None else decibels(signal, noise)
        found.append(OutputJudgement(output.name, snr, agreement))
    counted = found if labelled is None else [found[labelled]]
    return BesideFloat(
        len(numbers),
        least([one.snr for one in found]),
        least([one.agreement for one in counted]),
        tuple(found) if len(found) > 1 else (),
    )
