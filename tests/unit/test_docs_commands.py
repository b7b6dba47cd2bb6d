# SPDX-License-Identifier: Apache-2.0
"""Every bramcast command of README and docs runs, in the order of its page, on the digits example.

So does every script of the examples that a page calls.

Where a page says recipe.toml, bundle or weights.pth, a newcomer's folder has such files, behind
the serial port that it names is a simulated board, and a bitstream is one of nothing but block RAM.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import bitstreams
import pytest
from support import DIGITS, ROOT, bramcast, need

from bramcast.pack.bitstream.pattern import pattern
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.run.serial import serial_core

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("examples/*/*.md")]


def commands(page):
    """The page's indented lines that call bramcast or an example's script, in words."""
    for line in page.read_text().splitlines():
        found = re.match(r"    (?:\S*/)?(bramcast|python examples/\S+\.py)( .+)", line)
        if found:
            yield shlex.split(found.group(1) + found.group(2).split("  #")[0].split("   (")[0])


def newcomers_folder(folder):
    """A folder with the example, and with the example's DS-CNN as one's own network."""
    shutil.copytree(DIGITS, folder / "examples" / "digits")
    for name in ("model.py", "inputs.npz"):
        shutil.copy(DIGITS / name, folder)
    shutil.copy(DIGITS / "dscnn.pth", folder / "weights.pth")
    shutil.copy(DIGITS / "dscnn_retrained.pth", folder / "retrained.pth")
    (folder / "recipe.toml").write_text(
        '[model]\npython = "model.py:DsCnn"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
    )
    for name in ("bundle", "build/bundles/dscnn"):
        run(["bramcast", "pack", "recipe.toml", "-o", name])


def bitstream(path, bundle):
    """What place and route makes of the bundle's core, with the pattern in it."""
    words = pattern(read_manifest(bundle).core).values()
    parts = [piece for image in words for piece in bitstreams.pieces(image, 36, 512)]
    blocks = {i: bitstreams.ecp5_block(part, 36) for i, part in enumerate(parts)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bitstreams.ecp5_bit(blocks))


def run(line):
    if line[:2] == ["bramcast", "board"]:
        manifest = read_manifest(Path(line[3]))
        with serial_core(manifest.core, len(manifest.nests)) as simulated:
            done = bramcast("board", simulated.port, *line[3:])
    elif line[:2] == ["bramcast", "patch"] and not Path(line[2]).exists():
        bitstream(Path(line[2]), Path(line[3]))
        done = bramcast(*line[1:])
    elif line[0] == "python":
        done = subprocess.run(
            [sys.executable, *line[1:]], capture_output=True, text=True, check=False
        )
    else:
        done = bramcast(*line[1:])
    assert done.returncode == 0, f"{shlex.join(line)}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.cosim
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(commands(p))], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_the_pages_commands_run(page, tmp_path, monkeypatch):
    need("verilator")
    monkeypatch.chdir(tmp_path)
    newcomers_folder(tmp_path)
    for line in commands(page):
        if "icarus" in line and not shutil.which("iverilog"):
            need("icarus")
        run(line)


def test_the_pages_have_commands():
    assert sum(len(list(commands(page))) for page in PAGES) > 12


def test_every_key_of_the_manifest_is_explained():
    from dataclasses import fields

    from bramcast.pack.bundle import manifest

    text = (ROOT / "docs" / "manifest.md").read_text()
    for kind in (
        "Manifest",
        "Core",
        "ImageInfo",
        "Frame",
        "Format",
        "LayerInfo",
        "NestInfo",
        "Judgement",
        "BrokenLimit",
    ):
        for field in fields(getattr(manifest, kind)):
            assert f"`{field.name}`" in text, f"{kind}.{field.name}"
