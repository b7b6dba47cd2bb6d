# SPDX-License-Identifier: Apache-2.0
"""regress --html: a page with both bundles side by side."""

import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from support import DIGITS, bramcast

from bramcast.cli import regress as verb
from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

RECIPE = DIGITS / "mlp.toml"


class Page(HTMLParser):
    """Tags close in order; collects identifiers, what would be fetched, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.fetched, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.fetched.append(value)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def told(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    bundle = tmp_path_factory.mktemp("old") / "bundle"
    pack(read_recipe(RECIPE), bundle)
    return bundle


def altered(path, change):
    """The example's checkpoint with other weights."""
    import torch

    state = torch.load(DIGITS / "mlp.pth", weights_only=True)
    change(state)
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidates")

    def slightly(state):
        state["1.weight"][3, :] *= 1.02

    def shuffled(state):
        for name, value in state.items():
            state[name] = value.flatten().roll(1).view(value.shape)

    def not_a_number(state):
        state["1.bias"][0] = np.nan

    changes = {"good": slightly, "bad": shuffled, "nan": not_a_number}
    return {name: altered(folder / f"{name}.pth", c) for name, c in changes.items()}


def test_a_page_shows_both(old, candidates, tmp_path):
    done = bramcast(
        "regress", old, candidates["good"], "--recipe", RECIPE, "--inputs", RECIPE, "--json",
        "--html", tmp_path / "page.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["bundle"] is None and result["copy"] == []  # its images were not asked for
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.fetched == [] and len(set(page.ids)) == len(page.ids)
    assert "drop-in: same program, depths, input and output formats" in page.told
    for name, changed in result["changed_words"].items():
        lines = next(image["lines"] for image in result["images"] if image["name"] == name)
        row = rf"<tr><td>{name}</td><td class=\"n\">{lines:,}</td><td class=\"n\">{changed:,}</td>"
        assert re.search(row, text), row
    for layer in result["layers"]:
        assert layer["name"] in page.told and f"{100 * layer['like']:.2f} %" in page.told
    assert text.count('<table class="matrix">') == 2
    assert "lanes x taps x tiles 16 x 1 x 1 16 x 1 x 1" in page.told
    # Where each comes from: two checkpoints with the sums of their own.
    assert "mlp.pth" in page.told and "good.pth" in page.told


def test_candidates_of_one_name_are_ranked_and_a_refused_one_says_why(old, candidates, tmp_path):
    other = tmp_path / "other" / "good.pth"
    other.parent.mkdir()
    shutil.copy(candidates["bad"], other)
    done = bramcast(
        "regress", old, candidates["good"], other, candidates["nan"], "--recipe", RECIPE,
        "--inputs", RECIPE, "--html", tmp_path / "page.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert len(set(page.ids)) == len(page.ids)
    banners = re.findall(r'<div class="banner (\w+)">([\w-]+)</div>', text)
    assert banners == [("good", "drop-in"), ("bad", "worse"), ("bad", "refused")]
    for weights in (candidates["good"], other):  # each with the bundle of its own
        assert hashlib.sha256(weights.read_bytes()).hexdigest() in text
    assert "a limit is broken, and not by chance" in page.told and "nan" in page.told.lower()


def test_no_verdict_is_a_page_too(old, tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 1, 8, 8))
    np.savez(tmp_path / "strange.npz", x=100 * x, y=np.arange(400) % 10)
    page = tmp_path / "page.html"
    done = bramcast("regress", old, old, "--inputs", tmp_path / "strange.npz", "--html", page)
    assert done.returncode == 2
    told = Page(page.read_text()).told
    assert "no verdict" in told and done.stderr.split("error: ", 1)[1].strip()[:60] in told


def test_a_missing_package_is_said_before_anything_is_packed(old, candidates, monkeypatch):
    def missing():
        raise ToolError("a report needs Jinja2")

    monkeypatch.setattr("bramcast.sim.report.report.pictures", missing)
    monkeypatch.setattr(verb, "judge", None)  # not called
    with pytest.raises(ToolError, match="Jinja2"), verb._places(old, None, [candidates["good"]]):
        pass
