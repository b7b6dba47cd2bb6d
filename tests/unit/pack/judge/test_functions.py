# SPDX-License-Identifier: Apache-2.0
"""What tables of any functions can't hold: said, or refused."""

import numpy as np
import pytest
from support import text_recipe

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.judge.functions import jump
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

MODEL = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.last = nn.Linear(6, 5), nn.Linear({width}, 3)

    def forward(self, x):
        return self.last({function})
"""
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6))
STATE = {
    "fc.weight": RNG.normal(size=(5, 6)), "fc.bias": np.zeros(5),
    "last.weight": RNG.normal(size=(3, 5)), "last.bias": np.zeros(3),
}  # fmt: skip


def packed(folder, function, bits=8, x=X):
    width = 5 if "fc" in function else 6
    state = STATE | {"last.weight": RNG.normal(size=(3, width))}
    extra = f"[quantize]\nactivation_bits = {bits}\n"
    recipe = text_recipe(folder, MODEL.format(function=function, width=width), x, state, extra)
    return pack(read_recipe(recipe), folder / "bundle")


def about_functions(notes):
    words = ("no finite result", "straight lines", "round()")
    return [note for note in notes if any(word in note for word in words)]


def test_codes_without_a_result_that_calibration_meets_are_said_with_their_number(tmp_path):
    x = np.where(np.arange(192).reshape(32, 6) % 16 == 0, 2.0**-12, 0.5)
    (note,) = about_functions(packed(tmp_path, "torch.log(x)", x=x).notes)
    assert "layer 'log': log has no finite result for 12 of the 192 values" in note


def test_what_calibration_does_not_meet_is_not_said(tmp_path):
    x = np.abs(X) + 0.5
    assert about_functions(packed(tmp_path, "torch.log(x)", x=x).notes) == []


def test_lines_in_place_of_16_bit_tables_are_said_with_their_error(tmp_path):
    (note,) = about_functions(packed(tmp_path, "torch.sin(2 * self.fc(x))", 16).notes)
    assert "layer 'fc': with 16-bit data sin is straight lines, at most" in note
    worst = float(note.split("at most ")[1].split(" off")[0])
    assert 0 < worst < 2**-7  # a chord of h = 1/8 or less is off by 4 * h * h / 8


@pytest.mark.parametrize(
    "function", ["torch.sign(self.fc(x))", "(y := self.fc(x)) * (y > 0.5)", "1 / self.fc(x)"]
)
def test_what_jumps_is_refused_with_16_bit_data(function, tmp_path):
    with pytest.raises(UnsupportedLayer, match="layer 'fc': .* jumps at .*activation_bits = 8"):
        packed(tmp_path, function, 16)
    assert not (tmp_path / "bundle").exists()


def test_a_table_of_round_is_noted(tmp_path):
    notes = about_functions(packed(tmp_path, "torch.round(self.fc(x))").notes)
    assert len(notes) == 1 and "torch.floor(x + 0.5) is exact" in notes[0]


def test_known_activations_need_no_note(tmp_path):
    assert about_functions(packed(tmp_path, "torch.tanh(self.fc(x))", 16).notes) == []


def test_steep_is_no_jump():
    points = np.linspace(-1, 1, 9)
    assert jump(lambda v: np.sqrt(np.abs(v)), points, 1e-3) is None
    assert jump(lambda v: np.where(v > 0.3, 0.01, 0.0), points, 1e-3) == pytest.approx(0.3)
    assert jump(lambda v: np.where(v > 0.3, 0.01, 0.0), points, 0.02) is None


def test_an_input_of_which_only_the_sign_counts_may_saturate(tmp_path):
    signs, sizes = (packed(tmp_path / f, f"torch.{f}(x)") for f in ("sign", "abs"))
    assert signs.formats.of(signs.graph.input).frac > sizes.formats.of(sizes.graph.input).frac
    codes = signs.formats.of(signs.graph.input).quantize(X)
    assert (codes != 0).all() and not any("8 bits alone" in note for note in signs.notes)
