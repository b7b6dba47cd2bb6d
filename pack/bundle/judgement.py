# SPDX-License-Identifier: Apache-2.0
"""How near a packed network comes to the float one, counted on what varies between samples.

An output of 300 +- 1 whose answers are noise of 0.6 has 54 dB of signal to noise: nearly all of its
signal is the 300 that every sample has. So each element of the output loses its mean over the
samples first. The error stays whole: an answer that is off by a constant is off.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.manifest import BrokenLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

EQUAL_DB = 150.0  # nothing is nearer than that
CONSTANT = 1e-12  # of the mean square: what varies less does not vary
# What networks usually keep, where the recipe gives no limit. What is below is told, and no error.
USUAL_DB = 15.0
USUAL_AGREEMENT = 90.0  # percent, of networks with labels: logits of others may be anything
USUAL_LOSS = 1.0  # points of accuracy, and more than chance
USUAL_GROWTH = 5.0  # percent of an autoencoder's error, whose output may have any noise below
CHANCE = 2.0  # standard deviations


class Moments:
    """Signal and noise of results that come in batches.

    >>> seen = Moments(1)
    >>> seen.observe(np.array([[300.0]]), np.array([[300.1]]))
    >>> seen.observe(np.array([[302.0]]), np.array([[302.1]]))
    >>> seen.signal, seen.decibels()
    (1.0, 20.0)
    """

    def __init__(self, elements: int) -> None:
        self._n = 0
        self._mean = np.zeros(elements)
        self._squares = np.zeros(elements)  # of the differences from the mean
        self._power = self._noise = 0.0

    def observe(self, exact: FloatArray, got: FloatArray) -> None:
        """Add results and what they should be, both [n, elements]."""
        n, before = len(exact), self._n
        mean = exact.mean(axis=0)
        step = mean - self._mean
        self._n += n
        self._mean = self._mean + step * (n / self._n)
        self._squares += ((exact - mean) ** 2).sum(axis=0) + step**2 * (before * n / self._n)
        self._power += float((exact**2).sum())
        self._noise += float(((got - exact) ** 2).sum())

    @property
    def signal(self) -> float | None:
        """Variance over samples, of all elements together; None where nothing varies."""
        signal = float(self._squares.sum()) / max(1, self._n)
        return signal if signal > CONSTANT * self._power / max(1, self._n) else None

    def decibels(self) -> float | None:
        """Signal to noise, to two digits, at most EQUAL_DB; None without a signal."""
        signal = self.signal
        if signal is None:
            return None
        return decibels(signal, self._noise / self._n)


def varying(exact: FloatArray) -> float | None:
    """Variance over samples of results [N, elements], of all elements together.

    >>> varying(np.array([[300.0, 1.0], [302.0, 1.0]])), varying(np.array([[1.0], [1.0]]))
    (1.0, None)
    """
    seen = Moments(exact.shape[1])
    seen.observe(exact, exact)
    return seen.signal


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers, to two digits, at most EQUAL_DB.

    >>> decibels(1.0, 0.01), decibels(1.0, 0.0)
    (20.0, 150.0)
    """
    least = signal * 10.0 ** (-EQUAL_DB / 10)
    return round(10.0 * float(np.log10(signal / max(noise, least))), 2)


def least(values: Sequence[float | None]) -> float | None:
    """The smallest of what is known; None where nothing is.

    >>> least([30.0, None, 12.5]), least([None])
    (12.5, None)
    """
    return min((value for value in values if value is not None), default=None)


def is_class_vector(shape: Sequence[int]) -> bool:
    """Whether an output is several numbers in a row, whose largest may stand for a class.

    >>> [is_class_vector(shape) for shape in ([10], [1, 10, 1], [1], [3, 8, 8])]
    [True, True, False, False]
    """
    return prod(shape) > 1 and sum(length > 1 for length in shape) == 1


def has_classes(shape: Sequence[int], input_shape: Sequence[int], labels: bool) -> bool:
    """Whether results stand for classes: with labels, or a vector that is no copy of the input.

    >>> has_classes([1], [8], True), has_classes([8], [8], False), has_classes([3], [8], False)
    (True, False, True)
    """
    return labels or (is_class_vector(shape) and tuple(shape) != tuple(input_shape))


def classes_of(outputs: NDArray[np.floating], middle: float) -> IntArray:
    """The largest output's number, the lowest of a tie; of a single one class 1 is above a middle.

    >>> classes_of(np.array([[1.0, 5.0, 5.0]]), 0.0), classes_of(np.array([[0.4]]), 0.5)
    (array([1]), array([0]))
    """
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] > 1:
        return np.asarray(flat.argmax(axis=1), np.int64)
    return np.asarray(flat[:, 0] > middle, np.int64)


_TEXT = {
    "min_snr": "the output has {value:.1f} dB of signal to noise on what varies between samples",
    "min_agreement": "{value:.2f} % of the samples keep their class",
    "max_accuracy_loss": "the accuracy is {value:.2f} points below the float network's",
}


_UNITS = {"min_snr": "dB", "min_agreement": "%", "max_accuracy_loss": "points"}


def broken_text(broken: BrokenLimit) -> str:
    """What is said of a broken limit.

    >>> broken_text(BrokenLimit("min_agreement", 95.0, 91.25, True))
    'pack.min_agreement = 95 is broken: 91.25 % of the samples keep their class'
    >>> broken_text(BrokenLimit("max_accuracy_loss", 1.0, 3.0, False))[:64]
    "the accuracy is 3.00 points below the float network's (usual: 1 "
    """
    text = _TEXT[broken.key].format(value=broken.value)
    if broken.given:
        return f"pack.{broken.key} = {broken.limit:g} is broken: {text}"
    return f"{text} (usual: {broken.limit:g} {_UNITS[broken.key]}; pack.{broken.key} is a limit)"
