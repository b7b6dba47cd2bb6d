# SPDX-License-Identifier: Apache-2.0
"""Words of weights: what is a part of others is stored once; narrow steps share words."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import same

from bramcast.pack.bundle.program import Nest
from bramcast.pack.graph.ops import Product
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.lower.nests import (
    LoweredNest,
    Program,
    RowTable,
    _side_by_side,
    share_parts,
    store_steps,
)


def nest(groups, taps, base, **fields):
    """A dense nest of one pixel over ``groups`` x ``taps`` weight words."""
    steps = (taps if groups > 1 else 0, 0, 0, 0, 0, 1)
    counts = (groups, 1, 1, 1, 1, taps)
    made = Nest(counts, 0, (0,) * 6, base, steps, 0, (0,) * 3, 0, 1, 0, 0, 1)
    return replace(made, **fields)


STEP = Product(
    name="step",
    label="Linear",
    source="model.py",
    views=(),
    out=Tensor(0, "out", 1, 1, 1, 0),
    twins=("h",),
)


def program(*blocks, **fields):
    """Blocks [groups, taps, 2], each with a nest; ``fields`` for the first nest."""
    made = Program(2, 1)
    for number, block in enumerate(blocks):
        groups, taps, _ = block.shape
        base = made.weights.add(block.reshape(-1, 2), f"step {number}")
        got = nest(groups, taps, base, **(fields if number == 0 else {}))
        made.nests.append(LoweredNest(STEP, None, got, 0, None))
    return made


def words(made, number):
    """What a nest reads, group by group."""
    n = made.nests[number].nest
    table = made.weights.table(2)
    return np.array(
        [
            [table[n.weight_base + g * n.weight_steps[0] + t] for t in range(n.counts[5])]
            for g in range(n.counts[0])
        ]
    )


def numbers(groups, taps, first=1):
    return np.arange(first, first + groups * taps * 2).reshape(groups, taps, 2)


def test_a_part_of_every_group_is_stored_once():
    whole = numbers(3, 5)
    other = numbers(2, 2, 500)
    made = program(whole[:, 1:3], other, whole)
    share_parts(made)
    assert made.weights.words == 4 + 15
    assert made.nests[0].nest.weight_base == 4 + 1
    assert made.nests[0].nest.weight_steps == (5, 0, 0, 0, 0, 1)
    for number, block in enumerate((whole[:, 1:3], other, whole)):
        assert np.array_equal(words(made, number), block)


def test_one_group_may_lie_anywhere_inside():
    whole = numbers(1, 6)
    made = program(whole[:, 4:], whole)
    share_parts(made)
    assert made.weights.words == 6
    assert made.nests[0].nest.weight_base == 4
    assert np.array_equal(words(made, 0), whole[:, 4:])


@pytest.mark.parametrize(
    "part, fields",
    [
        (numbers(3, 5)[:, 1:3] + [0, 1], {}),  # other weights
        (numbers(3, 5)[:2, 1:3], {}),  # other groups
        (numbers(3, 5)[:, 1:3], {"lanewise": True}),  # read in another order
        (numbers(3, 5)[:, 1:3], {"narrow": 1, "weight_base": 0}),  # two steps in a word
    ],
)
def test_what_is_no_part_keeps_its_words(part, fields):
    made = program(part, numbers(3, 5), **fields)
    before = [n.nest for n in made.nests]
    share_parts(made)
    assert made.weights.words == part.shape[0] * part.shape[1] + 15
    assert [n.nest for n in made.nests] == before


def test_equal_blocks_are_no_part_of_each_other():
    made = program(numbers(3, 5), numbers(3, 5))
    share_parts(made)
    assert made.weights.words == 30


def test_equal_rows_of_two_owners_are_stored_twice():
    blocks = RowTable()
    rows = np.arange(6).reshape(3, 2)
    assert [blocks.add(rows, owner) for owner in ("a", "b", "a")] == [0, 3, 0]
    assert blocks.words == 6


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_narrow_steps_lie_in_a_lanes_bits_from_the_lowest_up(bits):
    per_word, top = 8 // bits, 1 << (bits - 1)
    steps = np.random.default_rng(bits).integers(-top, top, (7, 3))
    table = RowTable()
    table.add(np.zeros((5, 3), np.int64), "before")
    first = store_steps(table, steps, bits, "fc")
    assert first == 5 * per_word
    words = table.table(3)
    assert len(words) == 5 + -(-7 // per_word)
    assert words.min() >= -128 and words.max() <= 127
    for number, row in enumerate(steps.tolist()):
        word, part = divmod(first + number, per_word)
        raw = [(int(v) >> part * bits) & (2 * top - 1) for v in words[word]]
        assert [r - 2 * top if r >= top else r for r in raw] == row


def test_groups_side_by_side_have_zeros_for_each_others_inputs():
    weight = np.arange(1, 9).reshape(4, 2, 1, 1)
    same(_side_by_side(weight, 2)[:, :, 0, 0], [
        [1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]
    ])  # fmt: skip
    same(_side_by_side(weight, 1), weight)
