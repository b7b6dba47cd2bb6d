# SPDX-License-Identifier: Apache-2.0
"""The tutorials with their results, for the site; the repository has them without.

    python website/notebooks.py FOLDER

Each runs from its first cell to its last, in a folder of its own. Without clips of yours
(``BRAMCAST_CLIPS``) the keyword spotter hears tones in place of words, and its page says so. A copy
that is there already stays if neither its notebook nor the package has changed since.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import nbformat
import numpy as np
from nbclient import NotebookClient

from bramcast.pack.bundle.folder import replace_bytes

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
FOLDERS = ("api", "board", "cli", "examples", "golden", "hw", "pack", "root", "sim", "website")
SECONDS = 600  # of a cell, at most
HEARD = """*What this page shows was computed with tones in place of words, which are far easier:
the site is built without the recordings. With spoken words the numbers are others.*"""


def tones(path: Path) -> None:
    """Thirty seconds of each of ten words, a tone each, with noise and a random beginning."""
    rng, time = np.random.default_rng(0), np.arange(16000) / 16000
    x, y = [], np.arange(300) % 10
    for word in y:
        pitch = (300 + 250 * word) * (1 + 0.01 * rng.normal())
        tone = np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6)) * (time > rng.uniform(0, 0.2))
        x.append((3000 * tone + 300 * rng.normal(size=16000)).astype(np.int16))
    np.savez(path, x=np.stack(x), y=y)


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with its results.

    Args:
        folder: where it runs and writes; empty, it gets the examples and, if needed, clips.

    Raises:
        CellExecutionError: a cell ended in an exception.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    book = nbformat.read(path, as_version=4)
    clips = os.environ.get("BRAMCAST_CLIPS")
    if clips is None and "BRAMCAST_CLIPS" in path.read_text(encoding="utf-8"):
        clips = str(folder / "clips.npz")
        tones(Path(clips))
        book.cells.insert(1, nbformat.v4.new_markdown_cell(HEARD, id="heard"))
    env = {key: value for key, value in os.environ.items() if key != "BRAMCAST_PORT"}
    env |= {} if clips is None else {"BRAMCAST_CLIPS": clips}
    where = {"metadata": {"path": str(folder)}}
    with patch.dict(os.environ, env, clear=True):
        NotebookClient(
            book,
            timeout=SECONDS,
            kernel_name="python3",
            resources=where,
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    return book


def stamp(path: Path) -> str:
    """What a notebook's results depend on, as a hash: its text and the package."""
    made = hashlib.sha256(os.environ.get("BRAMCAST_CLIPS", "").encode())
    for one in [path, *(p for f in FOLDERS for p in sorted((ROOT / f).rglob("*")))]:
        if one.is_file() and "__pycache__" not in one.parts:
            made.update(one.relative_to(ROOT).as_posix().encode() + one.read_bytes())
    return made.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        copy, now = folder / path.name, stamp(path)
        if copy.exists() and nbformat.read(copy, 4).metadata.get("bramcast") == now:
            continue
        with tempfile.TemporaryDirectory() as run:
            book = executed(path, Path(run))
        book.metadata["bramcast"] = now
        replace_bytes(copy, (nbformat.writes(book) + "\n").encode())
        print(copy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
