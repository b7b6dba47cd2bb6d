# SPDX-License-Identifier: Apache-2.0
"""The tutorials run from the first cell to the last, as they do for the site."""

import importlib.util
import json

import pytest
from support import ROOT, need

NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def script():
    """website/notebooks.py, as a module."""
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "website" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.cosim
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    need("verilator")
    monkeypatch.delenv("BRAMCAST_CLIPS", raising=False)
    notebooks = script()
    book = notebooks.executed(path, tmp_path)
    texts = [o.get("text", "") for cell in book.cells for o in cell.get("outputs", [])]
    assert not any("Traceback" in text for text in texts)
    assert len(texts) >= 3  # results, and on the spotter's page whose they are
    assert any(cell.source == notebooks.HEARD for cell in book.cells) == (path.stem == "keywords")
    # It leaves nothing but what it says it writes.
    assert {p.name for p in tmp_path.iterdir()} <= {"clips.npz", "examples", "build"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stored_without_results(path):
    """What they print would change with every run; a reader runs them."""
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    assert all(len(line) <= 120 for c in code for line in "".join(c["source"]).split("\n"))


def test_a_notebook_runs_again_when_it_or_the_package_has_changed(tmp_path, monkeypatch):
    notebooks, ran = script(), []
    book = notebooks.nbformat.v4.new_notebook()
    monkeypatch.setattr(notebooks, "executed", lambda path, run: ran.append(path.stem) or book)
    monkeypatch.setattr(notebooks, "stamp", lambda path: f"{path.stem} {len(texts)}")
    monkeypatch.setattr(notebooks.sys, "argv", ["notebooks.py", str(tmp_path)])
    texts, all_of_them = ["as it is"], [path.stem for path in NOTEBOOKS]
    for expected in (all_of_them, []):
        ran.clear()
        assert notebooks.main() == 0 and ran == expected
    texts.append("changed")
    assert notebooks.main() == 0 and ran == all_of_them
    assert sorted(p.stem for p in tmp_path.iterdir()) == all_of_them


def test_what_a_notebook_depends_on_is_its_text_and_the_package(tmp_path, monkeypatch):
    notebooks = script()
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    (tmp_path / "pack").mkdir()
    book, module = tmp_path / "a.ipynb", tmp_path / "pack" / "a.py"
    seen = set()
    for text, code in (("a", "b"), ("a", "c"), ("b", "c"), ("b", "c")):
        book.write_text(text)
        module.write_text(code)
        seen.add(notebooks.stamp(book))
    assert len(seen) == 3
