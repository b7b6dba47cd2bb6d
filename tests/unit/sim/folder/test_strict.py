# SPDX-License-Identifier: Apache-2.0
"""A strict front end takes the test bench as it is: slang, which reads SystemVerilog to the letter.

xsim, Questa and ModelSim are not here; what slang refuses, one of them refuses, too.
"""

import subprocess
import sys

import pytest
from support import ROOT

from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_dscnn"
KINDS = {
    "streams": HdlOptions(beat=2),
    "axi": HdlOptions(axi=True, ledger_depth=16),
    "clock": HdlOptions(axi=True, axi_clock=True),
    "serial": HdlOptions(serial=True, ledger_depth=16),
}
# A packed vector as $fopen's name is what IEEE 1800 allows.
SLANG = """
import sys
from pyslang.driver import Driver
driver = Driver()
driver.addStandardArgs()
driver.parseCommandLine("slang --relax-string-conversions " + " ".join(sys.argv[1:]))
assert driver.processOptions() and driver.parseAllSources()
compilation = driver.createCompilation()
driver.reportCompilation(compilation, False)
sys.exit(not driver.reportDiagnostics(True))
"""


def slang(folder, *arguments):
    pytest.importorskip("pyslang", reason="slang is missing: pip install '.[tools]'")
    command = [sys.executable, "-c", SLANG, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("netlist", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_slang_finds_nothing_wrong_in_the_bench(tmp_path, kind, netlist):
    folder = write_project(BUNDLE, tmp_path / "fpga", KINDS[kind]).parent
    macros = ["-DNETLIST"] if netlist else []
    _, said = slang(folder, "--top", "bench", "-f", "sources.f", "bench.sv", *macros)
    mine = [line for line in said.splitlines() if line.startswith(("bench.sv:", "digits_"))]
    assert not mine, said
    assert "Top level design units:\n    bench" in said


def test_slang_finds_what_is_wrong(tmp_path):
    folder = write_project(BUNDLE, tmp_path / "fpga", KINDS["axi"]).parent
    text = (folder / "bench.sv").read_text()
    late = text.replace("  logic   ended, wrong;\n", "").replace(
        "endmodule", "  logic ended, wrong;\nendmodule"
    )
    (folder / "bench.sv").write_text(late)
    code, said = slang(folder, "--top", "bench", "-f", "sources.f", "bench.sv")
    assert code != 0 and "bench.sv:" in said and "used before its declaration" in said
