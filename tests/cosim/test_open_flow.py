# SPDX-License-Identifier: Apache-2.0
"""Written folders become bitstreams by their own build.py, in which every image is found."""

import re
import subprocess
import sys

import pytest
from open_flow import need_open_flow
from support import DIGITS

from bramcast.pack.bitstream.patch import patch
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.folder.build import FAMILIES
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

# A GW1NR-9 in this package has too few pins for streams. Those of a Tang Nano 9K:
PINS = {"clk": 52, "resetn": 4, "rx": 18, "tx": 17, "irq": 10}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The digits MLP on one lane."""
    folder = tmp_path_factory.mktemp("bundle")
    text = (DIGITS / "mlp.toml").read_text().replace("lanes = 16", "lanes = 1")
    for name in ("model.py", "mlp.pth", "inputs.npz"):
        text = text.replace(f'"{name}', f'"{DIGITS / name}')
    (folder / "mlp.toml").write_text(text)
    pack(read_recipe(folder / "mlp.toml"), folder / "mlp")
    return folder / "mlp"


@pytest.mark.slow
@pytest.mark.parametrize(
    "family, part, serial, least_mhz, most_cells",
    [
        ("ecp5", ["--device", "25k", "--package", "CABGA256"], False, 110, 2300),
        pytest.param("ice40", ["--device", "hx8k"], False, 55, 4300, marks=pytest.mark.ci),
        ("gowin", ["--pins", "../nano.cst"], True, 20, 5000),
    ],
)
def test_a_core_of_one_lane(bundle, tmp_path, family, part, serial, least_mhz, most_cells):
    need_open_flow()
    options = HdlOptions(serial=serial, patchable=True)
    folder = write_project(bundle, tmp_path / "fpga", options).parent
    places = "".join(f'IO_LOC "{name}" {pin};\n' for name, pin in PINS.items())
    (tmp_path / "nano.cst").write_text(places)
    command = [sys.executable, "build.py", family, *part, "--freq", str(least_mhz)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = re.search(r"^(?:LUT4|logic cells) +([\d,]+) ", done.stdout, re.M)[1]
    assert int(cells.replace(",", "")) <= most_cells
    clocks = re.search(r"^clock .*\n(?:(\S+) +([\d.]+) +([\d.]+)\n)+", done.stdout, re.M)
    assert float(clocks[2]) >= float(clocks[3]) == least_mhz
    name = f"digits_mlp_{family}/digits_mlp_top{FAMILIES[family].binary}"
    bitstream = tmp_path / name
    manifest = read_manifest(bundle)
    patched = patch(bitstream, bitstream.read_bytes(), manifest, load_images(bundle, manifest))
    assert {image.name for image in patched.images} == {"program", "weights", "bias"}
