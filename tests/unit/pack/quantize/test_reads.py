# SPDX-License-Identifier: Apache-2.0
"""Inputs that stand still in calibration behind a normalisation that is folded away.

Their folded weights are some hundred times the others': what they cost is what they do to the
result, so the other weights keep their bits.
"""

import numpy as np
import pytest
import torch
from support import bramcast
from torch import nn

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.ops import Dense
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.graph.window import Window
from bramcast.pack.quantize.integers import spared_fractions
from bramcast.pack.quantize.reads import Reads

MODEL = """from torch import nn

def build():
    return nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
"""


def _network(folder, stuck: float, moves: bool):
    """Six sensors around 100, the third stuck at a value; its BatchNorm gains 316 there."""
    rng = np.random.default_rng(7)
    x_cal = rng.normal(100.0, 40.0, (300, 6)).astype(np.float32)
    x_cal[:, 2] = stuck
    x = rng.normal(100.0, 40.0, (200, 6)).astype(np.float32)
    x[:, 2] = stuck + (np.arange(200) % 2 if moves else 0)
    torch.manual_seed(3)
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    norm = net[0]
    norm.running_mean.copy_(torch.from_numpy(x_cal.astype(np.float64).mean(axis=0)).float())
    norm.running_var.copy_(torch.from_numpy(x_cal.astype(np.float64).var(axis=0)).float())
    net.eval()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "weights.pth")
    np.savez(folder / "inputs.npz", x=x, x_cal=x_cal)
    (folder / "model.py").write_text(MODEL)
    (folder / "recipe.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
    )
    with torch.no_grad():
        return net.double()(torch.from_numpy(x.astype(np.float64))).numpy(), x


def _golden(folder):
    packed = bramcast("pack", folder / "recipe.toml", "-o", folder / "bundle")
    assert packed.returncode == 0, packed.stderr
    done = bramcast(
        "golden", folder / "bundle", "--inputs", folder / "inputs.npz", "-o", folder / "out.npz"
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npz")["out"], packed.stderr


@pytest.mark.parametrize("stuck", [0.0, 128.0, 200.0])
def test_a_stuck_input_leaves_the_others_their_bits(tmp_path, stuck):
    exact, _ = _network(tmp_path, stuck, moves=False)
    got, notes = _golden(tmp_path)
    signal = ((exact - exact.mean(axis=0)) ** 2).sum()
    assert 10 * np.log10(signal / ((got - exact) ** 2).sum()) > 25.0  # 0 dB where it takes them all
    assert "1 of 6 input elements never move there" in notes


def test_an_input_that_moves_in_x_only_is_named_and_keeps_a_weight(tmp_path):
    _network(tmp_path, 128.0, moves=True)
    got, notes = _golden(tmp_path)
    assert "1 of these (elements 2 of the frame) do in x" in notes
    # Alike but for the third sensor: the images still see it.
    with np.load(tmp_path / "inputs.npz") as file:
        x, x_cal = file["x"], file["x_cal"]
    other = x.copy()
    other[:, 2] = 200.0
    np.savez(tmp_path / "inputs.npz", x=other, x_cal=x_cal)
    out = tmp_path / "other.npz"
    bramcast("golden", tmp_path / "bundle", "--inputs", tmp_path / "inputs.npz", "-o", out)
    assert (np.load(out)["out"] != got).any()


def test_a_weight_saturates_only_where_the_others_gain_by_it():
    fmt = QFormat(8, 0)
    row = np.array([[0.9, -0.5, 300.0]])
    # 300 * 2**-1 is more than 127, 300 * 2**-2 is not: the usual fraction is -2.
    assert spared_fractions(row, [-2], fmt, np.array([[1.0, 1.0, 0.0]])) == [7]
    assert spared_fractions(row, [-2], fmt, np.array([[1.0, 1.0, 1.0]])) == [None]


def test_the_padding_of_a_constant_counts_as_movement():
    view = np.arange(18, dtype=np.int64).reshape(2, 3, 3)
    out = Tensor(1, "out", 1, 3, 3, 18)
    window = Window(kernel=(3, 3), padding=(1, 1, 1, 1))
    op = Dense(
        name="conv", label="Conv2d", source="", views=(view,), out=out,
        weight=np.ones((1, 2, 3, 3)), bias=np.zeros(1), window=window,
    )  # fmt: skip
    reads = Reads()
    values = np.zeros((4, 2, 3, 3))
    values[:, 1] = 5.0
    reads.observe(values)
    mean, variance = (v.reshape(2, 3, 3) for v in reads.by_tap(op))
    assert (variance[0] == 0).all() and (mean[0] == 0).all()
    assert variance[1, 1, 1] == 0 and mean[1, 1, 1] == 5.0
    # A corner's tap meets 4 of 9 pixels: mean 5 * 4 / 9, mean square 25 * 4 / 9.
    assert np.isclose(mean[1, 0, 0], 20 / 9)
    assert np.isclose(variance[1, 0, 0], 100 / 9 - (20 / 9) ** 2)
