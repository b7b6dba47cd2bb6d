# SPDX-License-Identifier: Apache-2.0
"""tests/ itself is importable: support and networks are modules of the tests."""

import os
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

# A machine that is busy is slow; that is no fault of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# pytest-xdist fills the cores with processes; threads inside them would only get in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["BRAMCAST_VERIFY"] = "1"  # every graph that a pass makes
# `make test` tells the makes that tests start (of written folders, of cocotb) that they are inside
# it: they would name the directories they enter, and look for job slots that are closed.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)
sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def mlp_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the shipped MLP, packed once for all that only read it."""
    from support import DIGITS

    from bramcast.pack.pipeline import pack
    from bramcast.pack.recipe.recipe import read_recipe

    folder = tmp_path_factory.mktemp("digits") / "mlp"
    pack(read_recipe(DIGITS / "mlp.toml"), folder)
    return folder


PART_IN_CI = 3  # one of so many cases of a test that only `make test-all` and CI run


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of cases that are marked `ci` one by one (``in_all``) CI takes a part; `make test-slow` all.

    By the test's name, so that it is the same part everywhere. tests/cosim/test_formal.py has a
    part of its own.
    """
    for item in items:
        marks = getattr(getattr(item, "callspec", None), "marks", ())
        if not any(mark.name == "ci" for mark in marks) or "test_formal" in item.nodeid:
            continue
        if zlib.crc32(item.nodeid.encode()) % PART_IN_CI:
            item.own_markers = [mark for mark in item.own_markers if mark.name != "ci"]
