# SPDX-License-Identifier: Apache-2.0
"""bramcast pack without a recipe, keys on the command line, bramcast init told and asked."""

import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from support import bramcast, text_recipe

MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(x)
"""
SHORT = ("model.py:Net", "weights.pth", "--inputs", "inputs.npz")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A newcomer's folder with a network, its checkpoint, its samples and a recipe."""
    rng = np.random.default_rng(0)
    state = {"fc.weight": rng.normal(size=(4, 6)), "fc.bias": rng.normal(size=4)}
    text_recipe(tmp_path, MODEL, rng.normal(size=(40, 6)), state, "[core]\nlanes = 8\ntaps = 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATED = "provenance.json"  # the one file that differs


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != DATED}


def test_a_network_without_a_recipe_is_packed_as_with_it(folder):
    told = bramcast("pack", "recipe.toml", "-o", "a")
    assert told.returncode == 0
    short = bramcast(
        "pack", *SHORT, "--lanes", 8, "--set", "core.taps=2", "--set", "model.name=net"
    )
    assert short.returncode == 0 and "written to build/bundles/net\n" in short.stdout
    assert content(folder / "build" / "bundles" / "net") == content(folder / "a")
    # The recipe that init writes gives the same.
    wrote = bramcast("init", *SHORT, "--lanes", 8, "--set", "core.taps=2", "-o", "new.toml")
    assert wrote.returncode == 0 and "next: bramcast pack new.toml" in wrote.stdout
    again = bramcast("pack", "new.toml", "--set", "model.name=net", "-o", "b", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["core"]["taps"] == 2
    assert content(folder / "b") == content(folder / "a")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (("pack", "weights.pth"), "weights.pth: samples are missing: give --inputs"),
        (("pack", *SHORT, "--set", "core.lane=4"), "--set core.lane=4: unknown key; did you mean"),
        (("pack", *SHORT, "--lanes", 5), "--lanes 5: Input should be 1, 2, 4"),
        (("pack", *SHORT, "--set", "model.name=a/b"), "'a/b' is no name of a folder"),
        (("init", *SHORT), "recipe.toml: is there already; give another file with -o, or --force"),
        (("init", "-o", "n.toml"), "the network is missing: give NETWORK (there are model.py:Net"),
        (("init", "model.py", "-o", "n.toml"), "the checkpoint is missing: give WEIGHTS"),
        (("init", "gone.onnx", "--inputs", "inputs.npz", "-o", "n.toml"), "gone.onnx: no such fil"),
        (("init", "recipe.toml", "-o", "n.toml"), "recipe.toml: is a recipe already"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, call, says):
    before = sorted(folder.rglob("*"))
    done = bramcast(*call)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"bramcast: error: {says}" in done.stderr and done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_init_answers_in_json(folder):
    done = bramcast("init", *SHORT, "-o", "n.toml", "--json")
    assert json.loads(done.stdout) == {
        "recipe": "n.toml", "name": "weights", "samples": 40, "shape": [6], "classes": None,
    }  # fmt: skip


def test_init_asks_on_a_terminal_for_what_is_not_given(folder):
    ours, theirs = pty.openpty()
    run = [sys.executable, "-m", "bramcast", "init", "-o", "asked.toml"]
    child = subprocess.Popen(
        run, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    os.write(ours, b"1\n\ninputs.npz\n")  # by number, what is offered, by name
    out, err = child.communicate()
    os.close(ours)
    assert child.returncode == 0, err
    assert "  1  model.py:Net\n" in err and "asked.toml: weights, 40 samples of 6" in out
    text = (folder / "asked.toml").read_text()
    assert 'python = "model.py:Net"' in text and 'checkpoint = "weights.pth"' in text
