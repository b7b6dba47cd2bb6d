# SPDX-License-Identifier: Apache-2.0
"""What fit says of a shape is what pack makes of it: cycles, depths, block RAM, the choice."""

from dataclasses import asdict, replace

import pytest
from support import in_all, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import RangeError, UnsupportedLayer
from bramcast.pack.device.area import area
from bramcast.pack.device.devices import find_part
from bramcast.pack.device.memory import place_bundle
from bramcast.pack.fit.candidates import Place, candidate, try_shapes
from bramcast.pack.fit.choose import Wish, choose
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import Shape, legal_shapes
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

PART = find_part("xc7a35t")
TILED = [(16, 1, 2, 2), (8, 2, 1, 4, True), (16, 1, 16, 8)]
SIX = [(1, 1, 1), (4, 2, 1), (4, 4, 2), (16, 1, 2), (8, 4, 8), (64, 2, 8)]
NARROW = '[quantize.layers."0"]\nweight_bits = 4\n[quantize.layers."2"]\nweight_bits = 2\n'
WIDE = "[quantize]\nactivation_bits = 16\n"
AUTO = '[core]\nweights_depth = "auto"\ntable_depth = "auto"\nscratch_depth = "auto"\n'


def packed_at(recipe, shape, bundle):
    """Cycles, core and memories of the bundle that pack writes."""
    core = replace(recipe.core, **asdict(shape))
    pack(replace(recipe, core=core), bundle)
    machine = load(bundle)
    memories = place_bundle(machine.manifest, machine.program, PART, PART.family)
    return predict(machine.program, machine.core).total, machine.core, memories


@pytest.mark.parametrize(
    "name, extra, shapes",
    [
        ("VggCeil", "", SIX + TILED),
        ("Mlp96", NARROW, SIX),
        ("SqueezeExcite", WIDE, SIX),
        ("SqueezeExcite", "", [(16, 1, 2, 4), (16, 1, 2, 4, True), (8, 2, 1, 2, True)]),
        ("HandGru", AUTO, SIX),
        ("RnnNet", "", [(4, 4, 2), (8, 2, 1)]),  # takes some of its products apart
        in_all("GruNet", "", [(1, 1, 1), (4, 4, 2), (16, 1, 2), (8, 8, 8)]),
        in_all("UNet", "", SIX),
        in_all("ConvThenGru", WIDE, SIX),
    ],
)
def test_every_shape_is_as_pack_makes_it(tmp_path, name, extra, shapes):
    recipe = read_recipe(write_recipe(tmp_path, name, extra, samples=20))
    lowering = Lowering.of(recipe)
    for shape in (Shape(*numbers) for numbers in shapes):
        found = candidate(shape, lowering.at(shape), Place.of(PART))
        cycles, core, memories = packed_at(recipe, shape, tmp_path / "bundle")
        assert (found.cycles, found.core) == (cycles, core), shape
        assert found.memories == memories, shape
        assert found.area == area(core, PART.family, PART)


def test_the_choice_is_that_of_an_exhaustive_search_by_pack(tmp_path):
    """On a part of which the fastest shapes take too much."""
    part = replace(PART, dsps=16, luts=6000)
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil"))
    every = [Shape(n, t, q) for n in (2, 8, 16, 32) for t in (1, 2, 4) for q in (1, 2)]
    wish = Wish(100.0, within=0)
    chosen = choose(try_shapes(Lowering.of(recipe), every, Place.of(part)).candidates, wish).chosen
    fitting = []
    for shape in every:
        cycles, core, memories = packed_at(recipe, shape, tmp_path / "bundle")
        took = area(core, PART.family, PART)
        luts = took.luts + sum(p.luts + p.mux_luts for p in memories.memories)
        if took.dsps <= 16 and luts <= 6000 and took.ffs <= part.ffs and memories.fits:
            fitting.append((cycles, shape.lanes * shape.taps, luts, memories.units, shape))
    assert 4 < len(fitting) < len(every)
    assert (chosen.cycles, chosen.shape) == (min(fitting)[0], min(fitting)[-1])


def test_shapes_are_skipped_only_if_one_with_no_more_blocks_is_as_fast(tmp_path):
    """And those that have too many blocks for the part."""
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil"))
    lowering, part = Lowering.of(recipe), replace(PART, dsps=64)
    every = [s for s in legal_shapes(128, tiled=True, pairs=True) if s.rq in (1, 4)]
    tried = try_shapes(lowering, every, Place.of(part))
    found = {c.shape: (c.area.dsps, c.cycles) for c in tried.candidates}
    assert tried.skipped == len(every) - len(found) > 0
    assert all(s in found for s in every if s.tiles == 1)
    fits = [costs for shape, costs in found.items() if costs[0] <= 64]
    for shape in (s for s in every if s not in found and s.multipliers <= 64):
        cycles = lowering.at(shape).cycles
        assert any(d <= shape.multipliers and c <= cycles for d, c in fits), shape


def test_depths_of_another_shape_are_no_obstacle(tmp_path):
    """64 words of weights are what another core had; what is given for every core still counts."""
    extra = "[core]\nlanes = 64\nweights_depth = 1\ngates = true\n"
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil", extra))
    made = Lowering.of(recipe).at(Shape(8, 2, 2))
    assert made.core.weights_depth == made.used["weights"] > 1
    assert made.core.gates and (made.core.lanes, made.core.taps, made.core.rq) == (8, 2, 2)
    with pytest.raises(RangeError, match="core.weights_depth = 1, but the network needs"):
        Lowering.of(recipe).at(Shape(64, 1, 8))  # the recipe's own, as it stands


def test_a_shape_without_a_program_is_told_with_the_reason(tmp_path, monkeypatch):
    recipe = read_recipe(write_recipe(tmp_path, "OneChannelDepthwise"))
    lowering, at = Lowering.of(recipe), Lowering.at

    def refusing(self, shape):
        if shape.lanes == 4:
            raise UnsupportedLayer(f"no walk at {shape.lanes}")
        return at(self, shape)

    monkeypatch.setattr(Lowering, "at", refusing)
    tried = try_shapes(lowering, [Shape(2, 1, 1), Shape(4, 1, 1)], Place.of(PART))
    assert [c.shape for c in tried.candidates] == [Shape(2, 1, 1)]
    assert [(r.shape, r.why) for r in tried.refused] == [(Shape(4, 1, 1), "no walk at 4")]
    with pytest.raises(UnsupportedLayer, match="no walk at 4"):
        try_shapes(lowering, [Shape(4, 1, 1), Shape(4, 2, 1)], Place.of(PART))
