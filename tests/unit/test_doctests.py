# SPDX-License-Identifier: Apache-2.0
"""Every docstring example runs; modules go by their full names, so that no class exists twice."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    "bramcast." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("api", "board", "cli", "golden", "hw", "pack", "sim")
    for path in (ROOT / folder).rglob("*.py")
    if ">>>" in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "torch":
            pytest.skip("torch is not installed")
        raise
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


def test_the_modules_with_examples_are_found():
    assert {"bramcast.pack.bundle.qformat", "bramcast.golden.arith"} <= set(MODULES)
