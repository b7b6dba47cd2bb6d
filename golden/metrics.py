# SPDX-License-Identifier: Apache-2.0
"""How good results are: accuracy with labels, error against real-valued references."""

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError


def predictions(scores: NDArray[np.number]) -> NDArray[np.int64]:
    """The class with the highest score; the lowest index of a tie.

    Args:
        scores: [samples, ...], flattened per sample.

    >>> predictions(np.array([[1, 5, 5], [0, 0, 0]]))
    array([1, 0])
    """
    classes: NDArray[np.int64] = np.argmax(scores.reshape(len(scores), -1), axis=1).astype(np.int64)
    return classes


def accuracy(scores: NDArray[np.number], labels: NDArray[np.integer]) -> float:
    """Share of samples whose predicted class is the label, 0..1.

    Args:
        scores: [samples, ...].
        labels: [samples].

    Raises:
        InputError: another number of labels than samples, none at all, or a label out of range.

    >>> accuracy(np.array([[1, 5], [7, 7]]), np.array([1, 1]))
    0.5
    """
    if labels.shape != (len(scores),) or not len(scores):
        raise InputError(f"{len(scores)} samples need as many labels, got shape {labels.shape}")
    classes = scores[0].size
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise InputError(
            f"labels must be 0..{classes - 1}, got {int(labels.min())}..{int(labels.max())}"
        )
    return float(np.mean(predictions(scores) == labels))


def classes_of(real: NDArray[np.floating], signed: bool) -> NDArray[np.int64]:
    """``predictions``; a single output stands for class 1 above 0, or above 0.5 if unsigned.

    >>> classes_of(np.array([[0.25], [0.75]]), signed=False)
    array([0, 1])
    """
    if real[0].size > 1:
        return predictions(real)
    return np.asarray(real.reshape(-1) > (0.0 if signed else 0.5), np.int64)


def labelled_accuracy(
    real: NDArray[np.floating], labels: NDArray[np.integer] | None, signed: bool
) -> float | None:
    """The accuracy, or None without labels, and for a single output with others than 0 and 1.

    Args:
        real: the results as real numbers.
        signed: of the results' format; a single unsigned one is a probability.

    >>> labelled_accuracy(np.array([[-1.0], [2.0], [0.3]]), np.array([0, 1, 0]), signed=True)
    0.6666666666666666
    >>> labelled_accuracy(np.array([[7.5], [2.0]]), np.array([7, 2]), signed=True) is None
    True
    """
    if labels is None or (real[0].size == 1 and labels.max() > 1):
        return None
    classes = classes_of(real, signed)
    both = np.stack([classes == 0, classes == 1], axis=1) if real[0].size == 1 else real
    return accuracy(both, labels)


def mean_squared_error(real: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean of the squared differences, e.g. of an autoencoder's output and its input.

    Raises:
        InputError: different shapes.

    >>> mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    2.0
    """
    _same_shape(real, reference)
    difference = np.asarray(real, np.float64) - np.asarray(reference, np.float64)
    return float(np.mean(difference * difference))


def sqnr(real: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Signal to quantization noise in dB: power of ``reference`` over power of the difference.

    Infinite where nothing differs, -inf where the reference is zero but the results are not.

    Raises:
        InputError: different shapes.

    >>> sqnr(np.array([9.0, 11.0]), np.array([10.0, 10.0])), sqnr(np.ones(2), np.ones(2))
    (20.0, inf)
    """
    noise = mean_squared_error(real, reference)
    signal = float(np.mean(np.square(np.asarray(reference, np.float64))))
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def _same_shape(real: NDArray[np.floating], reference: NDArray[np.floating]) -> None:
    if real.shape != reference.shape:
        raise InputError(f"can't compare shape {real.shape} with {reference.shape}")
