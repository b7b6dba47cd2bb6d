# SPDX-License-Identifier: Apache-2.0
"""Recipes that nobody wrote: files on the command line, --set, what a folder holds, init's text."""

from dataclasses import replace
from pathlib import Path

import pytest

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.recipe.found import builder_of, builders, files, networks
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.recipe.setting import parse_setting
from bramcast.pack.recipe.shortcut import lanes_setting, recipe_for
from bramcast.pack.recipe.starter import starter_text

MODEL = """
import torch
from torch import nn

class Base(nn.Module):
    def __init__(self, width):
        super().__init__()

class Net(Base):
    def __init__(self, width=4, *, deep=False):
        super().__init__(width)

class Plain(nn.Sequential):
    pass

class Data:
    pass

def build_for(classes):
    return Net()

def helper():
    pass
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def settings(*texts):
    return [parse_setting(text) for text in texts]


@pytest.mark.parametrize(
    ("network", "weights", "source"),
    [
        ("a/net.onnx", None, {"onnx": "a/net.onnx"}),
        ("net.pt2", None, {"exported": "net.pt2"}),
        ("net.pth", None, {"checkpoint": "net.pth"}),
        ("m.py:Net", "a/net.pth", {"python": "m.py:Net", "checkpoint": "a/net.pth"}),
    ],
)
def test_a_network_and_its_samples_are_a_recipe(network, weights, source):
    made = recipe_for(network, weights and Path(weights), Path("../x.npz"), [lanes_setting(4)])
    assert made.name == "net" and made.core.lanes == 4
    assert made.file(made.model.inputs) == Path("../x.npz")
    names = ("onnx", "exported", "checkpoint", "python")
    assert {n: getattr(made.model, n) for n in names if getattr(made.model, n)} == source


def test_settings_and_samples_take_the_place_of_a_recipes_own(here):
    (here / "a").mkdir()
    recipe = here / "a" / "recipe.toml"
    recipe.write_text('[model]\nonnx = "n.onnx"\ninputs = "x.npz"\n[core]\nlanes = 8\ntaps = 2\n')
    made = recipe_for(
        "a/recipe.toml", None, Path("y.npz"), [lanes_setting(32), *settings("core.lanes=4")]
    )
    assert (made.core.lanes, made.core.taps) == (4, 2)  # the last one holds, the rest stays
    assert made.file(made.model.inputs) == here / "y.npz"
    assert made.file(made.model.onnx) == Path("a/n.onnx")
    one = recipe_for(
        "a/recipe.toml",
        settings=settings('quantize.layers."a.b".weight_bits=4', "model.name=other"),
    )
    assert one.quantize.layers["a.b"].weight_bits == 4 and one.name == "other"
    assert replace(made, model=one.model) != one and read_recipe(recipe).core.lanes == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("core.lanes=7", "--set core.lanes=7: Input should be 1, 2, 4"),
        ("core.lanes=true", "--set core.lanes=true: true or false in place of a number"),
        ("lanes=8", "--set lanes=8: unknown key; did you mean 'core.lanes'?"),
        ("core.lane=8", "--set core.lane=8: unknown key; did you mean 'lanes'?"),
        ("core=8", "--set core=8: is a section with keys: give one, as core.lanes"),
        ("core.lanes.x=1", "--set core.lanes.x=1: "),
        ("model.name.x=1", "--set model.name.x=1: name is a value, no section"),
        ("core.lanes", "--set core.lanes: is no KEY=VALUE"),
        ("=8", "--set =8: is no KEY=VALUE"),
        ("core..lanes=8", "--set core..lanes=8: 'core..lanes' is no key of TOML"),
        ("quantize.layers.fc.weight=Q9", "command line: quantize.layers.\"fc\".weight: 'Q9' is"),
    ],
)
def test_a_setting_that_is_wrong_is_named(text, says):
    with pytest.raises(RecipeError) as caught:
        recipe_for("n.onnx", inputs=Path("x.npz"), settings=settings(text))
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (("n.onnx",), "n.onnx: samples are missing: give --inputs X.npz"),
        (("model.py:Net", None, Path("x.npz")), "model.py:Net: its checkpoint is missing"),
        (("n.onnx", Path("w.pth"), Path("x.npz")), "w.pth: n.onnx has its weights already"),
        (("r.toml", Path("w.pth")), "w.pth: the recipe r.toml names its weights"),
        (("model.py", Path("w.pth"), Path("x")), "model.py: which of its networks? give one of"),
        (("gone.py", Path("w.pth"), Path("x")), "gone.py: No such file"),
    ],
)
def test_what_is_missing_or_too_much_is_told(here, call, says):
    with pytest.raises(InputError) as caught:
        recipe_for(*call)
    assert str(caught.value).startswith(says)


def test_the_networks_of_a_folder_are_found_without_running_them(here):
    (here / "bad.py").write_text("def build(:\n")
    (here / "raises.py").write_text("def build():\n    pass\nraise SystemExit\n")
    (here / "net.onnx").write_bytes(b"")
    (here / "w.pth").write_bytes(b"")
    assert builders(Path("model.py")) == ["Net", "Plain"]
    assert networks(Path()) == ["model.py:Net", "model.py:Plain", "raises.py:build", "net.onnx"]
    assert files(Path(), ".pth", ".npz") == ["w.pth"]
    assert builder_of(Path("raises.py")) == "build"
    with pytest.raises(InputError, match="bad.py:1: is no Python"):
        builder_of(Path("bad.py"))
    (here / "none.py").write_text("x = 1\n")
    with pytest.raises(InputError, match=r"none.py: no function or class.*none.py:NAME"):
        builder_of(Path("none.py"))


def test_the_text_of_init_is_the_recipe_seen_from_where_it_lies(here):
    (here / "b").mkdir()
    told = recipe_for("model.py:Net", Path("w.pth"), Path("x.npz"), settings("core.taps=2"))
    text = starter_text(told, here / "b" / "recipe.toml")
    (here / "b" / "recipe.toml").write_text(text)
    read = read_recipe(Path("b/recipe.toml"))
    assert (read.core, read.quantize, read.name) == (told.core, told.quantize, "w")
    assert read.file(read.model.inputs).resolve() == here / "x.npz"
    assert read.model.python == "../model.py:Net"
    assert all(line.index("#") == 34 for line in text.splitlines()[:5] if "#" in line)
