# SPDX-License-Identifier: Apache-2.0
"""The C files of a written folder are those of the bundle, and compile beside its ledger."""

import shutil
import subprocess

import pytest

from bramcast.pack.bundle.images import DRIVER_NAMES
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

PROGRAM = """
#include "bramcast_driver.h"
#include "bramcast_images.h"
#include "bramcast_ledger.h"

static const bramcast_network_t network = BRAMCAST_NETWORK;
int main(void) {
  return network.image[0].words == 0 || bramcast_ledger_frame[0] != FIRST ||
         bramcast_expected_ledger[BRAMCAST_LEDGER_NESTS - 1].cycles == 0;
}
"""


def test_they_are_the_bundles_own(mlp_bundle, tmp_path):
    folder = write_project(mlp_bundle, tmp_path / "fpga", HdlOptions(axi=True)).parent
    for name in (*DRIVER_NAMES, "bramcast_images.h"):
        assert (folder / name).read_bytes() == (mlp_bundle / name).read_bytes()
    assert not (folder / "bramcast_ledger.h").exists()


def test_a_program_with_the_ledger_compiles_and_runs(mlp_bundle, tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is missing: apt install gcc")
    options = HdlOptions(axi=True, ledger_depth=8)
    folder = write_project(mlp_bundle, tmp_path / "fpga", options).parent
    (tmp_path / "main.c").write_text(PROGRAM)
    first = int((folder / "bench_frame.mem").read_text().split()[0], 16) & 255
    command = [
        "cc",
        f"-DFIRST={first}",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        folder,
        "-o",
        tmp_path / "a",
    ]
    command += [tmp_path / "main.c", folder / "bramcast_driver.c"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(tmp_path / "a")], check=False).returncode == 0


def test_a_core_without_registers_has_none(mlp_bundle, tmp_path):
    folder = write_project(mlp_bundle, tmp_path / "fpga", HdlOptions()).parent
    assert not list(folder.glob("*.[ch]"))
