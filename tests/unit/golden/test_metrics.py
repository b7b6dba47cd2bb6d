# SPDX-License-Identifier: Apache-2.0
"""Accuracy and error measures at their edges."""

import numpy as np
import pytest

from bramcast.golden.metrics import accuracy, mean_squared_error, predictions, sqnr
from bramcast.pack.bundle.errors import InputError


def test_a_tie_goes_to_the_lowest_index():
    scores = np.array([[3, 7, 7, 7], [-1, -1, -1, -1], [0, 0, 0, 1]])
    assert predictions(scores).tolist() == [1, 0, 3]
    assert accuracy(scores, np.array([1, 0, 2])) == pytest.approx(2 / 3)


def test_scores_of_any_shape_are_flattened():
    assert predictions(np.array([[[[1]], [[9]], [[3]]]])).tolist() == [1]


@pytest.mark.parametrize(
    "labels, text",
    [
        ([0], "2 samples need as many labels"),
        ([[0], [1]], "got shape"),
        ([0, 3], r"labels must be 0..2, got 0..3"),
        ([-1, 0], r"labels must be 0..2, got -1..0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, text):
    with pytest.raises(InputError, match=text):
        accuracy(np.zeros((2, 3)), np.array(labels))
    with pytest.raises(InputError, match="0 samples"):
        accuracy(np.zeros((0, 3)), np.zeros(0, np.int64))


def test_errors_against_a_reference():
    reference = np.array([[1.0, -1.0], [2.0, 0.0]])
    assert mean_squared_error(reference + 0.5, reference) == 0.25
    assert sqnr(reference + 0.1, reference) == pytest.approx(10 * np.log10(1.5 / 0.01))
    assert sqnr(reference, reference) == float("inf")
    assert sqnr(np.ones(2), np.zeros(2)) == float("-inf")
    with pytest.raises(InputError, match=r"can't compare shape \(2,\) with \(3,\)"):
        mean_squared_error(np.ones(2), np.ones(3))
