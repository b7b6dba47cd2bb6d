# SPDX-License-Identifier: Apache-2.0
"""Whatever becomes of a file, pack ends with exit code 0 or 2, one line and a clean folder."""

import contextlib
import io
import random
import shutil
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bramcast.cli.app import main

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn(self.conv(x))), 2)
        return self.fc(x.flatten(1))
"""
RECIPES = {
    "weights.pth": 'python = "model.py:Net"\ncheckpoint = "weights.pth"',
    "old.pth": 'python = "model.py:Net"\ncheckpoint = "old.pth"',
    "weights.safetensors": 'python = "model.py:Net"\ncheckpoint = "weights.safetensors"',
    "mlp.pth": 'checkpoint = "mlp.pth"',
    "net.onnx": 'onnx = "net.onnx"',
    "net.pt2": 'exported = "net.pt2"',
    "recipe.toml": 'python = "model.py:Net"\ncheckpoint = "weights.pth"',
    "inputs.npz": 'python = "model.py:Net"\ncheckpoint = "weights.pth"',
}
EXAMPLES = {"net.pt2": 40, "weights.pth": 60, "net.onnx": 100}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """One small network in every form."""
    folder = tmp_path_factory.mktemp("originals")
    (folder / "model.py").write_text(MODEL)
    space: dict = {}
    exec(MODEL, space)
    torch.manual_seed(0)
    net, x = space["Net"]().eval(), torch.randn(16, 1, 4, 4)
    torch.save({"epoch": 1, "state_dict": net.state_dict()}, folder / "weights.pth")
    torch.save(net.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"0.weight": torch.randn(3, 16), "2.weight": torch.randn(2, 3)}, folder / "mlp.pth")
    save_file(net.state_dict(), folder / "weights.safetensors")
    torch.export.save(torch.export.export(net, (x,)), folder / "net.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), str(folder / "net.onnx"), dynamo=False, opset_version=13)
    np.savez(folder / "inputs.npz", x=x.numpy())
    return folder


def run(*arguments):
    """The console script in this process: exit code and what it says on standard error."""
    errors, output = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["bramcast", *map(str, arguments)]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            main()
    except SystemExit as leave:
        return leave.code or 0, errors.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main() returned")


@st.composite
def damage(draw):
    """Cut the file off, or change, insert or remove some bytes; places are shares of its length."""
    kind = draw(st.sampled_from(["cut", "flip", "set", "insert", "remove", "zeros"]))
    dice = random.Random(draw(st.integers(0, 1 << 32)))  # hypothesis prefers the ends of a range
    places = [dice.random() for _ in range(dice.choice([1, 1, 2, 4]))]
    return kind, places, dice.randrange(256)


def damaged(data, kind, places, value):
    if kind == "cut":
        return data[: int(len(data) * places[0])]
    changed = bytearray(data)
    for place in places:
        at = int(len(changed) * place)
        if kind == "flip":
            changed[at] ^= 1 << (value % 8)
        elif kind == "set":
            changed[at] = value
        elif kind == "insert":
            changed[at:at] = bytes([value]) * (1 + value % 5)
        elif kind == "remove" and len(changed) > 9:
            del changed[at : at + 1 + value % 5]
        else:
            changed[at : at + 8] = bytes(len(changed[at : at + 8]))
    return bytes(changed)


@pytest.mark.parametrize("name", RECIPES)
def test_damaged_files_are_refused_or_packed_and_nothing_is_left(name, originals, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(originals, folder)
    recipe, bundle = folder / "recipe.toml", folder / "out" / "bundle"
    text = f'[model]\n{RECIPES[name]}\ninputs = "inputs.npz"\n'
    recipe.write_text(text + "[quantize]\ninput_planes = 1\n[core]\nlanes = 4\n")
    assert run("pack", recipe, "-o", bundle) == (0, "")
    whole = sorted(p.name for p in bundle.iterdir())
    data = (folder / name).read_bytes()
    codes = []

    @settings(max_examples=EXAMPLES.get(name, 40), database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(damage())
    def check(how):
        shutil.rmtree(bundle.parent, ignore_errors=True)
        (folder / name).write_bytes(damaged(data, *how))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code, said = run("pack", recipe, "-o", bundle)
        codes.append(code)
        assert code in (0, 2), said
        assert "Traceback" not in said and "internal error" not in said, said
        left = sorted(p.name for p in bundle.parent.iterdir()) if bundle.parent.exists() else []
        if code == 0:
            assert left == ["bundle"] and sorted(p.name for p in bundle.iterdir()) == whole
        else:
            assert left == [] and len(said.strip().splitlines()) == 1, said

    check()
    assert 2 in codes


def test_the_damage_is_seen_by_this_test(originals, tmp_path, monkeypatch):
    from bramcast.pack.read import checkpoint

    def broken(path):
        raise RuntimeError("not caught")

    monkeypatch.setattr(checkpoint, "read_states", broken)
    shutil.copytree(originals, tmp_path / "work")
    recipe = tmp_path / "work" / "recipe.toml"
    recipe.write_text(f'[model]\n{RECIPES["weights.pth"]}\ninputs = "inputs.npz"\n')
    code, said = run("pack", recipe, "-o", tmp_path / "bundle")
    assert code == 2 and "internal error: RuntimeError: not caught" in said
