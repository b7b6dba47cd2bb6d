# SPDX-License-Identifier: Apache-2.0
"""The shapes that are tried are those that a recipe may say."""

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
def test_a_limit_of_multipliers_is_kept(most):
    some = legal_shapes(most)
    assert all(s.lanes * s.taps <= most for s in some)
    assert {s for s in legal_shapes() if s.lanes * s.taps <= most} == set(some)


def test_a_section_has_the_shape_and_keeps_what_is_no_depth_in_numbers():
    given = CoreSection(lanes=64, narrow=True, weights_depth=9, bias_depth="auto", table_depth=0)
    assert numbers(given) == ["weights_depth", "table_depth"]
    made = Shape(8, 4, 2).section(given)
    assert made == CoreSection(lanes=8, taps=4, rq=2, narrow=True, bias_depth="auto")
    assert shape_of(made) == Shape(8, 4, 2) and shape_of(CoreSection(lanes=32)) == Shape(32, 1, 4)
