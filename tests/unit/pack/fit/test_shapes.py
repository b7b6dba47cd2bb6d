# SPDX-License-Identifier: Apache-2.0
"""The shapes that are tried are those that a recipe may say."""

from dataclasses import replace

import pytest

from bramcast.pack.fit.shapes import Shape, legal_shapes, numbers, shape_of
from bramcast.pack.recipe.recipe import CoreSection, read_recipe


def test_every_shape_can_be_packed_and_none_is_forgotten(tmp_path):
    """Against the recipe's own word on each of them."""
    powers = [1, 2, 4, 8, 16, 32, 64, 128]
    allowed = []
    path = tmp_path / "recipe.toml"
    for lanes in powers:
        for taps in powers[:5]:
            for rq in powers:
                core = f"lanes = {lanes}\ntaps = {taps}\nrq = {rq}\n"
                path.write_text(f'[model]\nonnx = "a"\ninputs = "x.npz"\n[core]\n{core}')
                try:
                    read_recipe(path)
                except Exception:
                    continue
                allowed.append(Shape(lanes, taps, rq))
    assert legal_shapes() == sorted(allowed)


@pytest.mark.parametrize("most", [1, 3, 16, 100, 512])
@pytest.mark.parametrize("more", [{}, {"tiled": True}, {"tiled": True, "pairs": True}])
def test_a_limit_of_multipliers_is_kept(most, more):
    """Of two tiles that share theirs each counts once."""
    some = legal_shapes(most, **more)
    built = {s: s.lanes * s.taps * s.tiles // (1 + s.pairs) for s in legal_shapes(**more)}
    assert {s for s, n in built.items() if n <= most} == set(some)


def test_shapes_with_tiles_are_bounded_and_come_behind_those_without():
    """From 8 lanes up to as many multiplications as 64 x 8 makes."""
    some = legal_shapes(tiled=True, pairs=True)
    plain = [s for s in some if s.tiles == 1]
    assert some[: len(plain)] == plain == legal_shapes()
    want = {
        (lanes, taps, rq, tiles, pairs)
        for lanes in (8, 16, 32, 64) for taps in (1, 2, 4, 8) for tiles in (2, 4, 8)
        for rq in (1, 2, 4, 8, 16, 32, 64) if rq <= lanes and lanes * taps * tiles <= 512
        for pairs in (False, True)
    }  # fmt: skip
    tiled = some[len(plain) :]
    assert {(s.lanes, s.taps, s.rq, s.tiles, s.pairs) for s in tiled} == want
    assert len(tiled) == len(want) and [s.tiles for s in tiled] == sorted(s.tiles for s in tiled)


def test_a_section_has_the_shape_and_keeps_what_is_no_depth_in_numbers():
    given = CoreSection(lanes=64, narrow=True, weights_depth=9, bias_depth="auto", table_depth=0)
    assert numbers(given) == ["weights_depth", "table_depth"]
    made = Shape(8, 4, 2).section(given)
    assert made == CoreSection(lanes=8, taps=4, rq=2, narrow=True, bias_depth="auto")
    paired = Shape(8, 4, 2, 4, True).section(given)
    assert (paired.tiles, paired.pairs, paired.weights_depth) == (4, True, None)
    assert shape_of(paired) == Shape(8, 4, 2, 4, True)
    assert Shape(8, 4, 2).section(paired) == replace(made, weights_depth=None)
    assert shape_of(made) == Shape(8, 4, 2) and shape_of(CoreSection(lanes=32)) == Shape(32, 1, 4)
