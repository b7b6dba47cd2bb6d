# SPDX-License-Identifier: Apache-2.0
"""How far a call is: functions, rich's bars, tqdm's."""

import io
import sys
from types import ModuleType

import pytest
from rich.console import Console

from bramcast.api.bars import reporting, rich_bars, silent
from bramcast.pack.bundle.errors import InputError, ToolError


class Bar:
    """Stands for tqdm: counts what it is told."""

    made: list["Bar"] = []

    def __init__(self, desc, total):
        self.desc, self.total, self.n, self.closed = desc, total, 0, False
        self.made.append(self)

    def update(self, more):
        self.n += more

    def close(self):
        self.closed = True


@pytest.fixture
def tqdm(monkeypatch):
    auto, package = ModuleType("tqdm.auto"), ModuleType("tqdm")
    auto.tqdm, package.auto = Bar, auto  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    Bar.made.clear()


def test_nobody_or_a_function_is_told():
    for nothing in (None, False):
        with reporting(nothing) as report:
            assert report is silent
    told = []
    with reporting(lambda *facts: told.append(facts)) as report:
        report("golden", 1, 2)
    assert told == [("golden", 1, 2)]


@pytest.mark.parametrize("progress", [True, "tqdm"])
def test_tqdm_gets_a_bar_for_each_thing(tqdm, progress):
    with reporting(progress) as report:
        for step in [("a", 0, 4), ("a", 3, 4), ("b", 1, 1), ("a", 4, 4)]:
            report(*step)
    assert [(bar.desc, bar.n, bar.total, bar.closed) for bar in Bar.made] == [
        ("a", 4, 4, True), ("b", 1, 1, True),
    ]  # fmt: skip


def test_without_tqdm_true_is_rich_and_the_name_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with reporting(True) as report:
        report("a", 1, 2)
    with pytest.raises(ToolError, match=r"tqdm needs a package: pip install '\.\[notebook\]'"):
        with reporting("tqdm"):
            pass


def test_rich_draws_what_is_done():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with rich_bars(console) as report:
        report("golden", 3, 8)
        report("golden", 8, 8)
    assert "golden" in console.file.getvalue() and "8/8" in console.file.getvalue()  # type: ignore


def test_anything_else_is_refused():
    with pytest.raises(InputError, match="progress: 'bars' is none of"):
        with reporting("bars"):  # type: ignore[arg-type]
            pass
