# SPDX-License-Identifier: Apache-2.0
"""Can these samples judge at all? No verdict is given by labels and samples that don't fit the old
bundle: then any new one would pass."""

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import sent_values
from bramcast.golden.paired import at_least, at_most
from bramcast.pack.bundle.errors import RefereeError
from bramcast.pack.bundle.manifest import Frame, Manifest
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import Outputs

MUCH = 0.01  # of the elements saturate: more than what the choice of a format gives up for outliers
LITTLE = 1 / 16  # of the format's range is all that the samples reach
FAR = 0.20  # below the manifest's accuracy: more than another test set or 8 bits explain
NEAR = 0.02  # below it: the labels show that a doubtful scale does no harm
SURE = 1e-6  # a loss so unlikely by chance
UNSURE = 0.01  # an accuracy that guessing reaches so often is no better than guessing
BEST = 0.98  # what the manifest's accuracy counts as at most: nothing is certain


def check_referee(manifest: Manifest, inputs: Inputs, old: Outputs) -> None:
    """Whether samples and labels fit the old bundle.

    Args:
        manifest: of the old bundle, as all that follows.

    Raises:
        RefereeError: the old bundle is far below the accuracy that its manifest says, or no better
            than guessing, or the samples have another scale. Where there are too few samples to
            say so, nothing is raised.
    """
    n, said = len(inputs.x), manifest.float_accuracy
    if old.right is not None and old.accuracy is not None and inputs.y is not None:
        k, shown = int(old.right.sum()), f"{100 * old.accuracy:.2f} %"
        if (
            said is not None
            and said - old.accuracy >= FAR
            and at_most(k, n, min(said, BEST)) < SURE
        ):
            raise RefereeError(
                f"{inputs.path}: no verdict: the old bundle reaches {shown} on these {n:,} "
                f"samples, its manifest says {100 * said:.2f} %: labels or samples are not those "
                "of this network; give the ones that it was packed with, or pack it again with "
                "these"
            )
        guess = _guessed(old.classes, inputs.y)
        good = said if said is not None and said > guess + 0.1 else (1 + guess) / 2
        told_apart = at_most(round(guess * n), n, min(good, BEST)) < UNSURE
        if told_apart and at_least(k, n, guess) > UNSURE:
            raise RefereeError(
                f"{inputs.path}: no verdict: the old bundle reaches {shown} on these {n:,} "
                f"samples, guessing as often {100 * guess:.2f} %: it does not know these labels; "
                "give samples and labels that it was trained for"
            )
        if said is not None and old.accuracy >= said - NEAR:
            return
    doubt = "" if manifest.more_inputs else scale_doubt(inputs.x, manifest.input)
    if doubt:
        raise RefereeError(
            f"{inputs.path}: no verdict: {doubt}; preprocess the samples as those of the packing"
        )


def _guessed(classes: NDArray[np.int64], labels: NDArray[np.integer]) -> float:
    """Accuracy of the same answers in any order.

    >>> _guessed(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.5
    """
    n = len(classes)
    return sum(
        int((classes == label).sum()) * int((labels == label).sum()) for label in np.unique(labels)
    ) / (n * n)


def scale_doubt(x: NDArray[np.floating], frame: Frame) -> str:
    """What is suspicious about the samples' scale in the network's input format; "" if nothing is.

    >>> from bramcast.pack.bundle.manifest import Format
    >>> frame = Frame([4], [1, 1, 4], [0, 0, 1], Format(8, 7, False))
    >>> scale_doubt(np.array([[0.0, 8.0, 16.0, 1.0]]), frame)
    '50.00 % of x is outside the input format UQ1.7 (0 to 1.992) and saturates'
    >>> scale_doubt(np.array([[0.0, 0.01, 0.02, 0.015]]), frame)
    'x reaches 0.02 only, the input format UQ1.7 1.992'
    >>> scale_doubt(np.array([[0.0, 1.5, 1.992, 0.015]]), frame)
    ''
    """
    if frame.exponents or frame.offsets:
        x = sent_values(x, frame)
    q = frame.format.q
    low, high = q.min * q.lsb, q.max * q.lsb
    outside = float(((x < low - q.lsb) | (x > high + q.lsb)).mean())
    if outside > MUCH:
        reach = f"{low:.4g} to {high:.4g}"
        share = f"{100 * outside:.2f} %"
        return f"{share} of x is outside the input format {q} ({reach}) and saturates"
    peak = float(np.abs(x).max())
    if 0 < peak < LITTLE * high:
        return f"x reaches {peak:.4g} only, the input format {q} {high:.4g}"
    return ""
