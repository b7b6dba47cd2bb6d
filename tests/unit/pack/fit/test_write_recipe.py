# SPDX-License-Identifier: Apache-2.0
"""A shape gets into a recipe, and nothing else of it changes."""

import os

import pytest

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.fit.shapes import Shape
from bramcast.pack.fit.write_recipe import with_shape
from bramcast.pack.recipe.recipe import CoreSection, read_recipe

MODEL = '[model]  # a network\nonnx = "nets/a.onnx"\ninputs = "x.npz"\n'
WANTED = Shape(8, 4, 2)


def rewritten(folder, text, shape=WANTED, target=None):
    path = folder / "recipe.toml"
    path.write_bytes(text.encode())
    target = target or path
    written = with_shape(read_recipe(path), shape, target)
    target.write_bytes(written.text.encode())
    return written, read_recipe(target)


def test_comments_order_and_everything_else_stay(tmp_path):
    text = f"""# ours
{MODEL}
[core]  # for the board
# small enough
lanes = 16      # of the first board
gates = true  # the next network needs them

[images]
formats = ["mem"]  # no Vivado
"""
    written, recipe = rewritten(tmp_path, text)
    want = text.replace("lanes = 16 ", "lanes = 8 ").replace(
        "gates = true  # the next network needs them\n",
        "gates = true  # the next network needs them\ntaps = 4\nrq = 2\n",
    )
    assert sorted(written.text.splitlines()) == sorted(want.splitlines())
    assert written.dropped == () and recipe.core == CoreSection(lanes=8, taps=4, rq=2, gates=True)


@pytest.mark.parametrize(
    "core",
    [
        "",
        "[core]\n",
        "core = {lanes = 4, gates = true}\n",
        "core.lanes = 4\ncore.gates = true\n",
        "[core]\nlanes = 32\ntaps = 2\nrq = 32\n",
    ],
)
def test_however_core_is_written(tmp_path, core):
    top = core.startswith("core")  # keys before the first table
    _, recipe = rewritten(tmp_path, core + MODEL if top else MODEL + core)
    gates = True if "gates" in core else None
    assert recipe.core == CoreSection(lanes=8, taps=4, rq=2, gates=gates)


def test_rq_is_written_where_it_is_not_that_of_the_lanes(tmp_path):
    written, recipe = rewritten(tmp_path, MODEL, Shape(16, 1, 2))
    assert "rq" not in written.text and recipe.core.drain == 2
    written, recipe = rewritten(tmp_path, MODEL + "[core]\nrq = 4\n", Shape(16, 1, 2))
    assert "rq = 2" in written.text and recipe.core.drain == 2


def test_depths_of_another_shape_go_and_are_told(tmp_path):
    depths = '[core]\nlanes = 8\nweights_depth = 4096\nbias_depth = "auto"\ntable_depth = 0\n'
    written, recipe = rewritten(tmp_path, MODEL + depths)
    assert written.dropped == ("weights_depth", "table_depth")
    assert recipe.core == CoreSection(lanes=8, taps=4, rq=2, bias_depth="auto")


def test_depths_stay_where_the_shape_does(tmp_path):
    text = MODEL + "[core]\nlanes = 8\ntaps = 4\nrq = 2\nweights_depth = 4096\n"
    written, recipe = rewritten(tmp_path, text)
    assert written.dropped == () and recipe.core.weights_depth == 4096
    assert written.text == text


def test_line_ends_stay(tmp_path):
    text = (MODEL + "[core]\nlanes = 4\n").replace("\n", "\r\n")
    written, _ = rewritten(tmp_path, text)
    assert written.text.count("\r\n") == written.text.count("\n") - 2  # of taps and rq


def test_a_copy_elsewhere_finds_the_same_files_and_keeps_the_name(tmp_path):
    (tmp_path / "below").mkdir()
    _, recipe = rewritten(tmp_path, MODEL, target=tmp_path / "below" / "other.toml")
    assert recipe.file(recipe.model.onnx).resolve() == (tmp_path / "nets" / "a.onnx").resolve()
    assert recipe.name == tmp_path.name and recipe.core.lanes == 8


def test_a_pipe_has_no_text_to_keep(tmp_path):
    read, write = os.pipe()
    os.write(write, MODEL.encode())
    os.close(write)
    recipe = read_recipe(tmp_path.__class__(f"/dev/fd/{read}"))
    with pytest.raises(InputError, match="is no file"):
        with_shape(recipe, Shape(8, 1, 1), tmp_path / "new.toml")
    os.close(read)


def test_tiles_and_pairs_come_and_go(tmp_path):
    text = MODEL + "[core]\nlanes = 64  # wide\n"
    written, recipe = rewritten(tmp_path, text, Shape(16, 1, 2, 4, True))
    assert "tiles = 4\npairs = true\n" in written.text
    assert recipe.core == CoreSection(lanes=16, taps=1, tiles=4, pairs=True)
    written, recipe = rewritten(tmp_path, written.text, Shape(8, 4, 1))
    assert recipe.core == CoreSection(lanes=8, taps=4)
