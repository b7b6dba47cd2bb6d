# SPDX-License-Identifier: Apache-2.0
"""The core's depths and abilities from what a program needs and the recipe says."""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.pack.bundle.errors import RangeError, RecipeError
from bramcast.pack.bundle.program import Input, Loop, Nest, split_program
from bramcast.pack.bundle.words import to_uint32, unpack_bias, unpack_lanes
from bramcast.pack.lower.core import core_of, images_of, needs_gates, needs_narrow
from bramcast.pack.lower.nests import Program
from bramcast.pack.recipe.recipe import (
    CoreSection,
    LayerSection,
    ModelSection,
    QuantizeSection,
    Recipe,
)

NEST = Nest((1,) * 6, 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, 0, 1, 0, 0, 1, stream=True, last=True)
USED = {"program": 64, "weights": 30, "bias": 7}


def recipe(layers=(), bits=8, **core):
    sections = {name: LayerSection(weight_bits=width) for name, width in layers}
    return Recipe(
        ModelSection("x.npz", onnx="net.onnx"),
        QuantizeSection(activation_bits=bits, layers=sections),
        CoreSection(**core),
    )


def test_a_depth_is_what_is_needed_or_given_and_at_least_two():
    core = core_of(recipe(lanes=8, weights_depth=50), USED | {"bias": 1}, 9, [NEST])
    depths = (core.program_depth, core.weights_depth, core.bias_depth, core.scratch_depth)
    assert depths == (64, 50, 2, 9)
    assert (core.lanes, core.taps, core.rq, core.table_depth) == (8, 1, 1, 0)
    assert not core.narrow and not core.gates


def test_a_table_memory_is_there_if_it_is_used_or_asked_for():
    assert core_of(recipe(table_depth=512), USED, 9, [NEST]).table_depth == 512
    assert core_of(recipe(), USED | {"table": 256}, 9, [NEST]).table_depth == 256


@pytest.mark.parametrize("key, needed", [
    ("weights_depth", "30 weight words"), ("bias_depth", "7 bias words"),
    ("scratch_depth", "9 scratchpad words"),
])  # fmt: skip
def test_a_depth_that_is_too_small_is_refused_by_its_key(key, needed):
    with pytest.raises(RangeError, match=f"core.{key} = 5, but the network needs {needed}"):
        core_of(recipe(**{key: 5}), USED, 9, [NEST])


def test_auto_takes_at_least_what_is_needed_and_changes_no_other_depth():
    core = core_of(recipe(weights_depth="auto"), USED | {"weights": 600}, 9, [NEST])
    assert core.weights_depth >= 600
    assert replace(core, weights_depth=600) == core_of(
        recipe(weights_depth=600), USED | {"weights": 600}, 9, [NEST]
    )


def test_products_and_loops_need_gates():
    product = Nest(*[(1,) * 6, 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, 0, 1, 0, 0, 1], product=True)
    for needing in ([product, NEST], [Loop(2, 1), NEST, NEST]):
        assert needs_gates(recipe(), needing)
        with pytest.raises(RecipeError, match=r"core.gates = false"):
            needs_gates(recipe(gates=False), needing)
    assert not needs_gates(recipe(), [NEST])
    assert needs_gates(recipe(gates=True), [NEST])


def test_narrow_weights_need_lanes_that_take_them():
    assert needs_narrow(recipe([("fc", 4)]))
    assert not needs_narrow(recipe([("fc", 8)]))
    assert needs_narrow(recipe(narrow=True))
    with pytest.raises(RecipeError, match="core.narrow = false, but a layer has narrow weights"):
        needs_narrow(recipe([("fc", 2)], narrow=False))


def test_images_hold_the_programs_rows():
    program = Program(word=4, rq=2)
    program.weights.add(np.array([[1, -2, 3, -4], [5, 6, 7, -128]]), "fc")
    program.biases.add(np.array([[100, 3, -7, 0]]), "fc")  # two entries: bias, shift
    descriptors = [Input(4, 1, 0), NEST]
    images = images_of(program, descriptors, recipe())
    assert set(images) == {"program", "weights", "bias"}
    assert split_program(to_uint32(images["program"])) == descriptors
    assert unpack_lanes(images["weights"], 8).tolist() == [[1, -2, 3, -4], [5, 6, 7, -128]]
    bias, shift = unpack_bias(images["bias"])
    assert (bias.tolist(), shift.tolist()) == ([100, -7], [3, 0])


def test_a_program_without_weights_has_one_word_of_zeros():
    program = Program(word=4, rq=1)
    program.biases.add(np.array([[1, 2]]), "fc")
    program.tables.add(np.arange(256)[:, None], "fc")
    images = images_of(program, [NEST], recipe())
    assert unpack_lanes(images["weights"], 8).tolist() == [[0, 0, 0, 0]]
    assert unpack_lanes(images["table"], 8, signed=False)[:, 0].tolist() == list(range(256))
