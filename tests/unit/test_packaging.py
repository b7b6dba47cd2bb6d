# SPDX-License-Identifier: Apache-2.0
"""The wheel holds every source file of the five folders, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("cli", "golden", "hw", "pack", "sim")
SHIPPED = {".py", ".sv", ".svh", ".cpp", ".c", ".h", ".html"}


def sources():
    """Names in the wheel that the folders call for."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SHIPPED or path.name == "py.typed":
                yield f"bramcast/{path.relative_to(ROOT).as_posix()}"


def test_every_folder_is_a_typed_package():
    for folder in FOLDERS:
        assert (ROOT / folder / "__init__.py").is_file()
        assert (ROOT / folder / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.ci
def test_the_wheel_holds_every_source_file(tmp_path):
    # From a copy: setuptools puts files of earlier builds into the wheel if it finds a build/lib.
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    if not (copy / "README.md").exists():
        (copy / "README.md").write_text("bramcast\n")
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, copy]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n for n in names if ".dist-info/" not in n} == set(sources())
