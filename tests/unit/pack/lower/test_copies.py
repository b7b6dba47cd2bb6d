# SPDX-License-Identifier: Apache-2.0
"""A network is quantized as it is; LANES and TAPS only add copies, in the operands' formats."""

from dataclasses import replace

import numpy as np
import pytest
from support import text_recipe, write_recipe

from bramcast.pack.graph.ops import Add, Product, is_exact
from bramcast.pack.lower.copies import in_layout, plan_layout, with_copies
from bramcast.pack.pipeline import pack, run_integers
from bramcast.pack.prepare import in_integers, prepare, settle
from bramcast.pack.recipe.recipe import read_recipe


def prepared_for(folder, name, extra=""):
    return prepare(read_recipe(write_recipe(folder, name, extra)), judged=False)


def network_of(prepared):
    return in_integers(prepared, settle(prepared, prepared.rules.weight_bits))


@pytest.mark.parametrize("name", ["LinearThenConv", "FlatParts", "FrameFourWays", "ConvGru"])
def test_a_networks_integers_are_the_same_in_every_shape(tmp_path, name):
    """ConvGru's were not: at 4 x 4 its formats were chosen with copies among the tensors."""
    recipe = read_recipe(write_recipe(tmp_path, name))
    made = {}
    for lanes, taps in ((4, 1), (4, 4), (16, 2)):
        core = replace(recipe.core, lanes=lanes, taps=taps)
        made[lanes, taps] = pack(replace(recipe, core=core), tmp_path / "bundle")
    first = made[4, 1]
    results = {key: run_integers(p, p.inputs.x) for key, p in made.items()}
    for key, packed in made.items():
        assert packed.network.ops.keys() == first.network.ops.keys()
        for op, mine in packed.network.ops.items():
            want = first.network.ops[op]
            assert (mine.weight == want.weight).all() and (mine.bias == want.bias).all()
            assert (mine.shift == want.shift).all() and mine.out == want.out
            assert (results[key][op] == results[4, 1][op]).all()


@pytest.mark.parametrize("name", ["FrameCrops", "FlatParts"])
def test_copies_have_the_format_and_the_integers_of_what_they_copy(tmp_path, name):
    """At 4 x 4 FlatParts has a copy of a copy."""
    prepared = prepared_for(tmp_path, name, "[core]\nlanes = 4\ntaps = 4\n")
    network = network_of(prepared)
    laid = in_layout(network, prepared.laid_out.graph)
    assert [*laid.ops] == [op.name for op in laid.graph.ops]
    copies = [op for op in laid.graph.ops if op.name not in network.ops]
    assert len(copies) > 3 and all(map(is_exact, copies))
    for op in copies:
        (source,) = {laid.formats.of(t) for t in laid.graph.owners(op.view)}
        assert laid.formats.of(op.out) == laid.ops[op.name].out == source
    for op in network.graph.ops:
        assert laid.formats.of(op.out) == network.formats.of(op.out)
    made = {op.out.index for op in copies}
    assert any(laid.graph.operands(op) & made for op in copies) == (name == "FlatParts")
    assert len(network.formats.same.parent) == len(network.graph.tensors)  # its own are as before


def test_products_that_the_layout_takes_apart_are_quantized_apart(tmp_path):
    """At 4 x 2 the states of GruNet lie so that a b + c d has no two even distances."""
    prepared = prepared_for(tmp_path, "GruNet", "[core]\nlanes = 4\ntaps = 2\n")
    joined = {op.name for op in prepared.joined.ops if len(op.views) == 4}
    apart = {op.name for op in prepared.graph.ops if isinstance(op, Add)} & joined
    assert apart and apart < joined
    before, after = (
        sum(isinstance(op, Product) for op in graph.ops)
        for graph in (prepared.joined, prepared.graph)
    )
    assert after == before + len(apart)
    names = {op.name for op in prepared.graph.ops}
    laid = prepared.laid_out.graph
    assert all(is_exact(op) for op in laid.ops if op.name not in names)
    assert plan_layout(prepared.joined, 4, 1).graph is prepared.joined  # as every tensor is a word


def test_a_graph_in_a_layout_takes_over_the_parameters_of_another(tmp_path):
    prepared = prepared_for(tmp_path, "Slices", "[core]\nlanes = 4\n")
    doubled = prepared.graph.with_ops(
        replace(op, weight=2 * op.weight) if op.macs else op for op in prepared.graph.ops
    )
    laid = with_copies(prepared.laid_out.graph, doubled)
    before = {op.name: op for op in prepared.laid_out.graph.ops}
    for op in laid.ops:
        factor = 2 if op.macs else 1
        assert op.views is before[op.name].views and op.out is before[op.name].out
        if op.macs:
            assert np.array_equal(op.weight, factor * before[op.name].weight)


def test_a_recipe_may_name_a_copy_as_those_of_retraining_did(tmp_path):
    plain = pack(read_recipe(write_recipe(tmp_path, "Repeats")), tmp_path / "bundle")
    (copy,) = {op.name for op in plain.graph.ops} - plain.network.ops.keys()
    fmt = plain.formats.of(plain.graph.ops[[op.name for op in plain.graph.ops].index(copy)].out)
    extra = f'[quantize]\nrefine = false\n[quantize.layers."{copy}"]\noutput = "{fmt}"\n'
    named = pack(read_recipe(write_recipe(tmp_path, "Repeats", extra)), tmp_path / "named")
    assert named.graph.ops[-1].name == plain.graph.ops[-1].name


PICTURE_AND_VECTOR = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, padding=1, stride=2), nn.Linear(10, 16)
    def forward(self, x):
        picture = self.conv(x[:, :192].reshape(-1, 3, 8, 8)).mean((2, 3))
        return torch.cat([picture, self.fc(x[:, 192:])], 1)
"""


def test_a_linear_reads_the_end_of_an_input_that_fills_no_block(tmp_path):
    """202 elements are followed by nothing that a longer walk could run over."""
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (16, 3, 3, 3), "fc.weight": (16, 10), "conv.bias": 16, "fc.bias": 16}
    state = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    one = "[quantize]\ninput_planes = 1\n"
    recipe = text_recipe(tmp_path, PICTURE_AND_VECTOR, rng.normal(size=(20, 202)), state, one)
    prepared = prepare(read_recipe(recipe), judged=False)
    for lanes, taps in ((16, 2), (32, 2)):
        laid_out = plan_layout(prepared.joined, lanes, taps).laid_out
        assert {"conv", "fc"} < {op.name for op in laid_out.graph.ops}
