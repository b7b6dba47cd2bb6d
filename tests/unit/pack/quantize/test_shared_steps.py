# SPDX-License-Identifier: Apache-2.0
"""Weights that are a part of others are stored once: a first time step reads the others' words."""

from dataclasses import replace

import networks
import numpy as np
import pytest
from support import in_all, write_recipe

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.bundle.program import Nest
from bramcast.pack.graph.ops import Product
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.lower.nests import LoweredNest, Program, RowTable, share_parts
from bramcast.pack.pipeline import pack
from bramcast.pack.quantize.integers import _columns_of
from bramcast.pack.recipe.recipe import LayerSection, read_recipe
from bramcast.sim.regress.candidates import with_formats


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


class _Dense:
    """What ``_columns_of`` looks at of an operation: weights [O, I] and a view with zeros."""

    def __init__(self, weight, view):
        self.weight = np.array(weight, np.float64)[:, :, None, None]
        self.view = np.array(view, np.int64)[:, None, None]


def test_columns_are_found_where_the_other_step_has_them():
    whole = _Dense([[1, 2, 3, 4], [5, 6, 7, 8]], [0, 1, 2, 3])
    assert _columns_of(_Dense([[2, 3], [6, 7]], [9, 8]), whole) == slice(1, 3)
    assert _columns_of(_Dense([[2, 3, 99], [6, 7, 99]], [9, 8, -1]), whole) == slice(1, 3)
    assert _columns_of(_Dense([[2, 3], [6, 8]], [9, 8]), whole) is None
    assert _columns_of(whole, whole) is None


def packed(folder, name, taps, seed, like=None):
    extra = f"[core]\nlanes = 8\ntaps = {taps}\n[quantize]\ninput_planes = 1\n"
    recipe = read_recipe(write_recipe(folder / f"recipe{seed}", name, extra, 20, seed))
    if like is not None:  # a recurrent cell reads as many copies of the input as before
        layers = with_formats(recipe, like).quantize.layers
        copies = {n: LayerSection(copies=s.copies) for n, s in layers.items() if s.copies}
        recipe = replace(recipe, quantize=replace(recipe.quantize, layers=copies))
    return pack(recipe, folder / f"bundle{seed}").manifest


def needed(manifest):
    return {i.name: i.used for i in manifest.images} | {"scratch": manifest.scratch_words}


@pytest.mark.parametrize(
    "name, taps",
    [
        in_all(name, taps, when=taps == 1 or number % 3 > 0)
        for taps in (1, 4)
        for number, name in enumerate(networks.SHAPES)
    ],
)
def test_memories_do_not_depend_on_what_was_trained(name, taps, tmp_path):
    first = packed(tmp_path, name, taps, 0)
    assert needed(packed(tmp_path, name, taps, 1, first)) == needed(first)


def test_a_state_has_one_format_in_all_steps(tmp_path):
    # The first step makes it without the gate that forgets.
    layers = {layer.name: layer for layer in packed(tmp_path, "HandLstm", 1, 1).layers}
    assert layers["mul"].op != layers["add_5"].op
    assert layers["mul"].format == layers["add_5"].format == layers["add_8"].format


@pytest.mark.parametrize(
    ("name", "copies", "says"),
    [
        ("gru.l0.r.input", 6, "the cell reads 7 features: give one for each at least"),
        ("gru.input", 14, "no recurrent cell's input has that name"),
    ],
)
def test_copies_that_cannot_be_name_the_layer(name, copies, says, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "GruNet", "[quantize]\ninput_planes = 1\n", 20))
    layers = {name: LayerSection(copies=copies)}
    recipe = replace(recipe, quantize=replace(recipe.quantize, layers=layers))
    with pytest.raises(RecipeError, match=f'layers."{name}".copies.*{says}'):
        pack(recipe, tmp_path / "bundle")


def test_equal_rows_of_two_owners_are_stored_twice():
    blocks = RowTable()
    rows = np.arange(6).reshape(3, 2)
    assert [blocks.add(rows, owner) for owner in ("a", "b", "a")] == [0, 3, 0]
    assert blocks.words == 6
