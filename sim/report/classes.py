# SPDX-License-Identifier: Apache-2.0
"""Which classes are taken for which: the confusion matrix, and each class' accuracy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.paired import share_interval

MATRIX = 32  # classes of the largest matrix that is drawn
WORST = 20  # classes that are listed where there are more
CONFUSED = 6  # pairs that are named


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: how many of its samples are right, and what most of the others are taken for.

    ``low`` and ``high``: the 95 % interval of the accuracy, 0..1.
    """

    label: int
    samples: int
    right: int
    low: float
    high: float
    mostly: int | None
    mostly_samples: int

    @property
    def accuracy(self) -> float:
        return self.right / self.samples


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the matrix: its samples, and their share of the row's, 0..1."""

    samples: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Classes:
    """All of it.

    Attributes:
        rows: the classes that have samples, the worst first; at most WORST, or all of MATRIX.
        left_out: classes that have samples and are not in ``rows``.
        matrix: a row for each label, a column for each answer; empty where there are too many.
        confused: label, answer, samples: the most frequent mistakes.
    """

    rows: tuple[ClassRow, ...]
    left_out: int
    matrix: tuple[tuple[Cell, ...], ...]
    confused: tuple[tuple[int, int, int], ...]


def classes_table(labels: NDArray[np.int64], answers: NDArray[np.int64]) -> Classes:
    """Count labels against answers, both int64 [N], 0 and up.

    >>> found = classes_table(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    >>> [[cell.samples for cell in row] for row in found.matrix], found.confused
    ([[1, 1], [0, 2]], ((0, 1, 1),))
    >>> [(row.label, row.right, row.samples, row.mostly) for row in found.rows]
    [(0, 1, 2, 1), (1, 2, 2, None)]
    """
    number = int(max(labels.max(), answers.max())) + 1
    counts = np.zeros((number, number), np.int64)
    np.add.at(counts, (labels, answers), 1)
    totals = counts.sum(axis=1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for label in np.flatnonzero(totals).tolist():
        n, right, mostly = int(totals[label]), int(counts[label, label]), int(wrong[label].argmax())
        missed = int(wrong[label, mostly])
        low, high = share_interval(right, n)
        rows.append(ClassRow(label, n, right, low, high, mostly if missed else None, missed))
    rows.sort(key=lambda row: (row.accuracy, row.label))
    shown = rows if number <= MATRIX else rows[:WORST]
    matrix: tuple[tuple[Cell, ...], ...] = ()
    if number <= MATRIX:
        matrix = tuple(
            tuple(
                Cell(n, n / max(1, int(totals[label])), label == answer)
                for answer, n in enumerate(counts[label].tolist())
            )
            for label in range(number)
        )
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED].tolist()
    pairs = [(*divmod(place, number), int(wrong.flat[place])) for place in order]
    confused = tuple(pair for pair in pairs if pair[2])
    return Classes(tuple(shown), len(rows) - len(shown), matrix, confused)
