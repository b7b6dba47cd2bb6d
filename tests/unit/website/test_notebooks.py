# SPDX-License-Identifier: Apache-2.0
"""The tutorials run from the first cell to the last. Clips of the spotter's shape are made here."""

import json

import numpy as np
import pytest
from support import ROOT, need

NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def clips(path):
    """Thirty seconds of each of ten words, a tone each, with noise and a random beginning."""
    rng, time = np.random.default_rng(0), np.arange(16000) / 16000
    x, y = [], np.arange(300) % 10
    for word in y:
        pitch = (300 + 250 * word) * (1 + 0.01 * rng.normal())
        tone = np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6)) * (time > rng.uniform(0, 0.2))
        x.append((3000 * tone + 300 * rng.normal(size=16000)).astype(np.int16))
    np.savez(path, x=np.stack(x), y=y)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.cosim
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    need("verilator")
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    clips(tmp_path / "clips.npz")
    monkeypatch.setenv("BRAMCAST_CLIPS", str(tmp_path / "clips.npz"))
    monkeypatch.delenv("BRAMCAST_PORT", raising=False)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    book = nbformat.read(path, as_version=4)
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    texts = [o.get("text", "") for cell in book.cells for o in cell.get("outputs", [])]
    assert not any("Traceback" in text for text in texts)
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
