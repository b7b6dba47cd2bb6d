# SPDX-License-Identifier: Apache-2.0
"""Fixed-point numbers against fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from bramcast.pack.bundle.qformat import MOST_BITS, QFormat, parse_format

FORMATS = [
    QFormat(bits, frac, signed)
    for bits in (2, 8, 16, MOST_BITS)
    for frac in (-3, 0, 5, 20)
    for signed in (True, False)
]


@pytest.mark.parametrize("q", FORMATS, ids=str)
def test_a_format_holds_so_many_integers_around_or_from_zero(q):
    assert q.max - q.min + 1 == 2**q.bits
    assert q.min == (-q.max - 1 if q.signed else 0)
    assert q.magnitude == (2 ** (q.bits - 1) if q.signed else 2**q.bits - 1)
    assert Fraction(q.lsb) == Fraction(2) ** -q.frac
    assert parse_format(str(q)) == q


@pytest.mark.parametrize("q", FORMATS, ids=str)
def test_numbers_go_to_the_nearest_ties_up_or_to_the_end(q):
    quarters = [*range(-9, 10), 4 * q.min - 3, 4 * q.min, 4 * q.max, 4 * q.max + 1]
    values = np.array([n * 0.25 * q.lsb for n in quarters])
    expected = [min(max(floor(Fraction(n, 4) + Fraction(1, 2)), q.min), q.max) for n in quarters]
    assert q.quantize(values).tolist() == expected
    assert [Fraction(v) for v in q.real(np.array(expected))] == [
        e * Fraction(2) ** -q.frac for e in expected
    ]
    assert q.rounded(values).tolist() == q.real(np.array(expected)).tolist()


def test_formats_of_one_bit_or_too_many_are_refused():
    for bits in (1, MOST_BITS + 1):
        with pytest.raises(ValueError, match=f"2..{MOST_BITS}, got {bits}"):
            QFormat(bits, 0)
