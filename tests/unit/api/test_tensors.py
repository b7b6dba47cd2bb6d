# SPDX-License-Identifier: Apache-2.0
"""inspect, export, prune, fit and qat of modules in memory, beside the command line's of files."""

import copy
import json

import numpy as np
import pytest
import torch
from support import bramcast
from torch import nn

import bramcast as api


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture
def checkpoint(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "m.pth")
    return tmp_path / "m.pth"


def test_a_module_is_inspected_as_its_checkpoint(model, checkpoint):
    told = json.loads(bramcast("inspect", checkpoint, "--json").stdout)
    seen, of_file = api.inspect(model), api.inspect(checkpoint)
    assert seen.parameters == of_file.parameters == told["parameters"] == 83
    assert seen.tensors == of_file.tensors
    assert [t.name for t in api.inspect(model, "0", bits=4).tensors] == ["0.weight", "0.bias"]
    with pytest.raises(api.UserError, match="Sequential: no tensor fits 'fc'"):
        api.inspect(model, ["fc"])


def test_a_modules_tensors_are_exported_as_its_checkpoints(model, checkpoint, tmp_path):
    image = ("--q", "Q1.6", "--word-bits", 32, "-o")
    told = bramcast("export", checkpoint, "0.weight", *image, tmp_path / "a.mem")
    assert told.returncode == 0
    done = api.export(model, tmp_path / "b.mem", "0.weight", q="Q1.6", word_bits=32)
    assert (done.words, done.word_bits, done.shapes) == (12, 32, ((8, 6),))
    assert (tmp_path / "a.mem").read_bytes() == (tmp_path / "b.mem").read_bytes()
    api.export(checkpoint, tmp_path / "c.npy", ["2.bias"])
    assert np.array_equal(np.load(tmp_path / "c.npy"), model[2].bias.detach().numpy())


@pytest.mark.parametrize("more", [{}, {"overall": True}, {"channels": True}])
def test_a_module_is_pruned_in_place_as_its_checkpoint_is(model, checkpoint, more, tmp_path):
    mine = copy.deepcopy(model)
    of_file = api.prune(checkpoint, tmp_path / "p.pth", sparsity=0.5, **more)
    done = api.prune(mine, sparsity=0.5, **more)
    assert done.tensors == of_file.tensors and done.notes == of_file.notes
    assert sum(t.zeros_after for t in done.tensors) > 0
    wanted = torch.load(tmp_path / "p.pth")
    assert all(torch.equal(v, wanted[k]) for k, v in mine.state_dict().items())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, f: api.prune(m), "give --threshold T or --sparsity S"),
        (lambda m, f: api.prune(m, f, sparsity=0.5), "output belongs to a checkpoint's path"),
        (lambda m, f: api.prune(m, sparsity=0.5, state="a"), "belong to a checkpoint's path"),
        (lambda m, f: api.prune(f, sparsity=0.5), "output is missing: the file"),
        (lambda m, f: api.prune(m, sparsity=0.5, filters="fc"), "Sequential: no tensor fits 'fc'"),
        (lambda m, f: api.fit(m, device="xc7a35t"), "x is missing"),
        (lambda m, f: api.fit(m, np.ones((9, 6)), device="xc"), "xc"),
        (lambda m, f: api.fit(m, np.ones((9, 6)), device="ecp5", rate=0), "rate=0: must be above"),
        (lambda m, f: api.qat(m), "x is missing"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_changed(model, checkpoint, call, says):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(api.UserError) as caught:
        call(model, checkpoint)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_shape_that_suits_a_module_is_cast(model, x):
    found = api.fit(model, x, device="7series", multipliers=4)
    assert found.chosen is not None and found.chosen.shape.multipliers <= 4
    assert {"core.lanes", "core.taps"} <= set(found.settings)
    made = api.cast(model, x, settings=found.settings)
    assert made.cycles == found.chosen.cycles
    assert len(found.shapes) == len(found.tried.candidates) and "chosen" in found.shapes.columns
    shape = f"{made.core.lanes} lanes x {made.core.taps} taps, RQ {made.core.rq}"
    assert f"7series: {shape}, {made.cycles} cycles" in repr(found)


def test_a_module_is_retrained_with_the_cores_numbers(model, x):
    mine = copy.deepcopy(model)
    wrapped = api.qat(mine, x, weight_bits=4)
    assert wrapped.module is mine and mine.training
    wrapped(torch.from_numpy(x)).sum().backward()
    assert mine[0].weight.grad is not None
    with torch.no_grad():
        mine[0].weight -= 0.01 * mine[0].weight.grad
    made = api.cast(wrapped, x, lanes=4)
    assert np.array_equal(made.predict(x), wrapped(torch.from_numpy(x)).detach().numpy())
    assert made.name == "Sequential" and made.core.lanes == 4
