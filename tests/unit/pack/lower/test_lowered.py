# SPDX-License-Identifier: Apache-2.0
"""What a network needs of a core follows without its images' words."""

from dataclasses import replace

import numpy as np
import pytest
from support import text_recipe, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.lower.core import images_of
from bramcast.pack.lower.lowered import drained, lowered
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


@pytest.mark.parametrize("name", ["VggCeil", "GruNet", "SqueezeExcite", "LanewiseLast"])
@pytest.mark.parametrize("lanes, taps", [(8, 1), (4, 4)])
def test_depths_and_cycles_are_those_of_the_written_images(tmp_path, name, lanes, taps):
    """For the RQ that was packed, and for every other one from the same lowering."""
    extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\nrq = 2\n"
    recipe = read_recipe(write_recipe(tmp_path, name, extra))
    packed = pack(recipe, tmp_path / "bundle")
    first = lowered(packed.network, packed.prepared.laid_out, recipe)
    for rq in (1, 2, 4):
        other = replace(recipe, core=replace(recipe.core, rq=rq))
        made = drained(first, other)
        words = images_of(made.program, made.descriptors, other)
        again = lowered(packed.network, packed.prepared.laid_out, other)
        assert words == images_of(again.program, again.descriptors, other)
        pack(other, tmp_path / "bundle")
        machine = load(tmp_path / "bundle")
        assert made.used == {i.name: i.used for i in machine.manifest.images if i.used}
        assert made.used == {name: len(image) for name, image in words.items()}
        assert made.core == machine.core and made.scratch == machine.manifest.scratch_words
        assert made.cycles == predict(machine.program, machine.core).total


def test_a_network_without_weights_has_a_word_of_them(tmp_path):
    model = "import torch\n\n\nclass Net(torch.nn.MaxPool2d):\n    def __init__(self):\n"
    model += "        super().__init__(2)\n"
    x = np.random.default_rng(0).normal(size=(6, 3, 4, 4))
    recipe = read_recipe(text_recipe(tmp_path, model, x, {}))
    packed = pack(recipe, tmp_path / "bundle")
    made = lowered(packed.network, packed.prepared.laid_out, recipe)
    assert made.program.weights.words == 0
    assert made.used == {i.name: i.used for i in packed.manifest.images if i.used}
