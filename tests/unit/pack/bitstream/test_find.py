# SPDX-License-Identifier: Apache-2.0
"""Columns in block RAMs: what can be found, and what could be two things."""

import numpy as np
import pytest

from bramcast.pack.bitstream.blocks import Contents, Shape
from bramcast.pack.bitstream.find import Ambiguous, find

FORWARD = Shape(np.arange(8)[None])
BACKWARD = Shape(np.arange(8)[None, ::-1])
COLUMN = np.array([1, 1, 0, 1, 0, 0, 1, 0], np.uint8)


def contents(*blocks):
    return Contents([f"block {i}" for i in range(len(blocks))], np.array(blocks, np.uint8))


def test_a_column_longer_than_a_block_is_found_in_pieces():
    other = COLUMN ^ 1
    long = np.concatenate([other, COLUMN[:5]])[None]
    rest = np.append(COLUMN[:5], [0, 0, 0])
    places = find(contents(rest, 0 * rest, other), [FORWARD], {"weights": long})
    assert places.copies() == {"weights": (1, 1)} and places.blocks("weights") == 2
    after = places.replaced(contents(rest, 0 * rest, other), {"weights": 1 - long})
    assert after.bits.tolist() == [[*(1 - COLUMN[:5]), 0, 0, 0], [0] * 8, COLUMN.tolist()]
    assert places.holds(after, {"weights": 1 - long})
    after.bits[2, 3] ^= 1
    assert not places.holds(after, {"weights": 1 - long})


def test_equal_columns_are_refused():
    with pytest.raises(Ambiguous, match="words 0 and up of bias: two bits are the same"):
        find(contents(COLUMN), [FORWARD], {"bias": np.stack([COLUMN, COLUMN])})


def test_a_block_that_can_be_read_in_two_ways_is_refused():
    both = {"bias": COLUMN[None], "table": COLUMN[None, ::-1].copy()}
    with pytest.raises(Ambiguous, match="block 0 can be read in two ways"):
        find(contents(COLUMN), [FORWARD, BACKWARD], both)


def test_a_few_words_behind_the_blocks_lie_as_those_before():
    """Two words are like some of a table that is read in another shape."""
    rng = np.random.default_rng(0)
    long = rng.integers(0, 2, (1, 66), dtype=np.uint8)
    long[0, 64:] = 1
    table = rng.integers(0, 2, (1, 132), dtype=np.uint8)
    table[0, 128:] = [1, 0, 1, 0]
    plain, every_second = Shape(np.arange(64)[None]), Shape(np.arange(64)[None], 2)
    rest = np.append([1, 1], np.zeros(62, np.uint8))
    blocks = contents(long[0, :64], rest)
    places = find(blocks, [plain, every_second], {"weights": long, "table": table})
    assert places.copies() == {"weights": (1, 1), "table": (0, 0)}


def test_a_few_words_that_another_image_has_too_lie_where_the_image_does():
    rng = np.random.default_rng(0)
    weights, bias = rng.integers(0, 2, (2, 1, 66), dtype=np.uint8)
    weights[0, 64:] = bias[0, 64:] = 1
    plain, other = Shape(np.arange(64)[None]), Shape(np.arange(128)[None, ::-1])
    blocks = np.zeros((3, 128), np.uint8)
    blocks[0, :64], blocks[1, :2], blocks[2, ::-1][:66] = weights[0, :64], 1, bias[0]
    places = find(contents(*blocks), [plain, other], {"weights": weights, "bias": bias})
    assert places.copies() == {"weights": (1, 1), "bias": (1, 1)}
