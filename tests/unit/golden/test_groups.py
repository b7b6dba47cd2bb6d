# SPDX-License-Identifier: Apache-2.0
"""Groups and sub-words, against a walk over groups, pixels and lanes."""

import itertools

import pytest
from one_nest import core_of, nest

from bramcast.golden.groups import Groups, layer_pixels
from bramcast.pack.bundle.manifest import NestInfo

CASES = [
    (lanes, taps, lanewise, groups, tail)
    for lanes, taps, lanewise in ((4, 1, False), (4, 2, False), (4, 2, True), (2, 4, True))
    for groups in (1, 3)
    for tail in (1, 3, 4, 5, 8)
    if tail <= lanes * (taps if lanewise else 1)
]


@pytest.mark.parametrize("lanes, taps, lanewise, groups, tail", CASES)
def test_rows_addresses_and_results(lanes, taps, lanewise, groups, tail):
    one = nest((groups, 2, 3, 1, 1, 1), result=(100, 40, 7), result_base=5, tail=tail,
               lanewise=lanewise)  # fmt: skip
    found = Groups.of(one, core_of(lanes, taps))
    width = lanes * taps if lanewise else lanes
    rows, results = [], 0
    for g, (oy, ox) in itertools.product(range(groups), itertools.product(range(2), range(3))):
        valid = tail if g == groups - 1 else width
        assert found.valid(g) == valid
        results += valid
        for sub in range(0, valid, lanes):
            address = 5 + g * 100 + oy * 40 + ox * 7 + sub // lanes
            rows.append((address, (g, oy * 3 + ox, sub // lanes)))
    assert (found.rows, found.results) == (len(rows), results)
    assert found.addresses(one, core_of(lanes, taps), 0).tolist() == [
        address for address, _ in rows
    ]
    assert [found.place(i) for i in range(len(rows))] == [place for _, place in rows]
    last = -(-tail // lanes)
    assert (found.subs_of(groups - 1), found.ragged) == (last, last < width // lanes)


def test_a_streams_rows_have_no_addresses():
    one = nest((2, 1, 2, 1, 1, 1), tail=5, lanewise=True, stream=True)
    assert Groups.of(one, core_of(4, 2)).addresses(one, core_of(4, 2), 0).tolist() == [0] * 8


def test_pixels_of_a_nest_among_those_of_its_layer():
    one = nest((1, 3, 2, 1, 1, 1))
    y, x = layer_pixels(one, NestInfo(0, [0], (1, 4), (2, 3)))
    assert list(range(10))[y] == [1, 3, 5]
    assert list(range(10))[x] == [4, 7]
