# SPDX-License-Identifier: Apache-2.0
"""Weights that are a part of others: where a first time step has the columns of the others."""

from dataclasses import replace

import networks
import numpy as np
import pytest
from support import in_all, write_recipe

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.pipeline import pack
from bramcast.pack.quantize.integers import _columns_of
from bramcast.pack.recipe.recipe import LayerSection, read_recipe
from bramcast.sim.regress.candidates import with_formats


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
        in_all(name, taps, when=taps == 1 or number % 6 > 0)
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
