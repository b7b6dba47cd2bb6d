# SPDX-License-Identifier: Apache-2.0
"""The timing pictures of docs/ show what the core does."""

import importlib
import sys

import pytest
from support import ROOT, need


@pytest.mark.cosim
def test_the_timing_pictures_are_those_of_the_core(tmp_path):
    need("icarus")
    sys.path.insert(0, str(ROOT / "bench"))
    drawn = importlib.import_module("pictures").pictures(tmp_path)
    assert len(drawn) == 4
    for name, text in drawn.items():
        page = ROOT / "docs" / name
        assert page.read_text() == text, f"docs/{name} shows an older core: make pictures"
        assert f"({name})" in (ROOT / "docs" / "axi.md").read_text()
