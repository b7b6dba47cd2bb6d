# SPDX-License-Identifier: Apache-2.0
"""Bundles that earlier versions wrote stay readable, and give what they gave then."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import DIGITS, ROOT, bramcast, need

BUNDLES = ROOT / "tests" / "data" / "bundles"
NAMES = ("digits_mlp", "digits_dscnn", "digits_gru")


@pytest.mark.parametrize("name", NAMES)
def test_golden_gives_what_the_version_that_packed_it_gave(tmp_path: Path, name: str):
    out = tmp_path / "out.npz"
    inputs = DIGITS / "inputs.npz"
    done = bramcast("golden", BUNDLES / name, "--inputs", inputs, "-o", out)
    assert done.returncode == 0, done.stderr
    wanted = json.loads((BUNDLES / "expected.json").read_text())[name]
    assert np.load(out)["out_int"][: len(wanted)].tolist() == wanted


@pytest.mark.parametrize("name", NAMES)
def test_regress_reads_it(name: str):
    inputs = DIGITS / "inputs.npz"
    done = bramcast("regress", BUNDLES / name, BUNDLES / name, "--inputs", inputs, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "drop-in"


@pytest.mark.cosim
@pytest.mark.parametrize("name", NAMES)
def test_the_core_of_today_computes_it(name: str):
    need("icarus")
    call = ["--inputs", DIGITS / "inputs.npz", "--samples", 1, "--simulator", "icarus", "--json"]
    done = bramcast("sim", BUNDLES / name, *call)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["equal"] is True
