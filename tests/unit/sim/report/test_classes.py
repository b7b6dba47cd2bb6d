# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix and each class' accuracy."""

import numpy as np

from bramcast.sim.report.classes import MATRIX, WORST, classes_table


def test_labels_are_rows_and_answers_columns():
    labels = np.array([0, 0, 0, 2, 2, 1])
    answers = np.array([0, 2, 2, 2, 1, 1])
    found = classes_table(labels, answers)
    counts = [[cell.samples for cell in row] for row in found.matrix]
    assert counts == [[1, 0, 2], [0, 1, 0], [0, 1, 1]]
    assert [[c.right for c in row] for row in found.matrix] == np.eye(3, dtype=bool).tolist()
    assert found.matrix[0][2].share == 2 / 3
    assert found.confused == ((0, 2, 2), (2, 1, 1))
    worst = found.rows[0]
    assert (worst.label, worst.right, worst.samples, worst.mostly) == (0, 1, 3, 2)
    assert worst.low < 1 / 3 < worst.high


def test_a_class_without_samples_has_no_accuracy():
    found = classes_table(np.array([0, 2]), np.array([0, 1]))
    assert [row.label for row in found.rows] == [2, 0] and len(found.matrix) == 3


def test_many_classes_are_a_list_of_the_worst():
    labels = np.repeat(np.arange(200), 2)
    answers = labels.copy()
    answers[398] = 7  # class 199 loses one of two
    found = classes_table(labels, answers)
    assert len(found.rows) == WORST and found.left_out == 200 - WORST and not found.matrix
    assert found.rows[0].label == 199 and found.confused == ((199, 7, 1),)
    labels = np.arange(MATRIX)
    assert len(classes_table(labels, labels).matrix) == MATRIX
