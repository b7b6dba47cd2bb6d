# SPDX-License-Identifier: Apache-2.0
"""FuseSoC, LiteX and VHDL take a written folder as it is; each where it is installed."""

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support import ROOT, need

from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.folder.builders import vhdl
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
KINDS = {
    "streams": HdlOptions(),
    "axi": HdlOptions(axi=True, ledger_depth=4),
    "clock": HdlOptions(axi=True, axi_clock=True, beat=4),
    "serial": HdlOptions(serial=True),
    "patchable": HdlOptions(axi=True, patchable=True),
}


def written(folder, kind):
    return write_project(BUNDLE, folder / "fpga", KINDS[kind]).parent


def run(folder, *command):
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ------------------------------------------------------------------------------------------- VHDL


@pytest.mark.parametrize("kind", KINDS)
def test_the_component_has_the_ports_of_the_top(tmp_path, kind):
    folder = written(tmp_path, kind)
    top = (folder / "digits_mlp_top.v").read_text()
    wanted = [
        (name, way.removesuffix("put"), int(high or 0))
        for way, high, name in re.findall(
            r"^    (input|output) +wire (?:\[(\d+):0\] )?(\w+)", top, re.M
        )
    ]
    text = (folder / "digits_mlp_vhdl.vhd").read_text()
    for part in text.split("component digits_mlp_top is")[1], text.split("vhdl is")[1]:
        told = re.findall(
            r"^ +(\w+) : (in|out) std_logic(?:_vector\((\d+) downto 0\))?;?$",
            part.split(");\n  end")[0].split("end entity")[0],
            re.M,
        )
        assert [(name, way, int(high or 0)) for name, way, high in told][: len(wanted)] == wanted
    generics = re.findall(r"^      (\w+) : integer := (\d+)", text, re.M)
    assert generics == re.findall(r"^    parameter (\w+) = (\d+)", top, re.M)


@pytest.mark.parametrize("kind", KINDS)
def test_ghdl_analyses_the_component_and_the_entity(tmp_path, kind):
    if shutil.which("ghdl") is None:
        pytest.skip("GHDL is missing: apt install ghdl")
    folder = written(tmp_path, kind)
    odd = vhdl(replace(read_manifest(BUNDLE), name="a--b"), KINDS[kind])
    (tmp_path / "odd.vhd").write_text(odd)
    for file in (folder / "digits_mlp_vhdl.vhd", tmp_path / "odd.vhd"):
        for standard in ("93", "08"):
            work = tmp_path / f"{file.stem}{standard}"
            work.mkdir()
            run(work, "ghdl", "-a", f"--std={standard}", file)


# ---------------------------------------------------------------------------------------- FuseSoC


@pytest.mark.parametrize("kind", KINDS)
def test_the_core_file_names_every_file_and_no_other(tmp_path, kind):
    folder = written(tmp_path, kind)
    text = (folder / "digits_mlp.core").read_text()
    assert text.startswith("CAPI=2:\n")
    core = yaml.safe_load(text.partition("\n")[2])
    sets = {n: [next(iter(f)) for f in s["files"]] for n, s in core["filesets"].items()}
    assert sets["rtl"] == (folder / "sources.f").read_text().split()
    images = ["program.mem", "weights.mem", "bias.mem"]
    network = [f"network_{image}" for image in images] if KINDS[kind].patchable else []
    assert sets["images"] == [*images, *network]
    assert set(sets["bench"]) == {file.name for file in folder.glob("bench*")}
    assert all((folder / name).is_file() for names in sets.values() for name in names)


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["streams", "axi", "patchable"])
def test_fusesoc_runs_the_bench(tmp_path, kind):
    pytest.importorskip("fusesoc", reason="FuseSoC is missing: pip install '.[tools]'")
    need("icarus")
    written(tmp_path, kind)
    command = [sys.executable, "-c", "from fusesoc.main import main; main()"]
    command += ["--cores-root", tmp_path / "fpga", "run", "--target=sim"]
    said = run(tmp_path, *command, "bramcast:ip:digits_mlp_top:1.0")
    assert re.search(r"^PASS: 10 results, ", said, re.M)


@pytest.mark.parametrize(
    "tool, lines",
    [
        ("vivado", ["read_mem {program.mem}", "read_mem {weights.mem}", "read_mem {bias.mem}"]),
        ("quartus", ['set_global_assignment -name VERILOG_MACRO "SYNTHESIS=1"']),
    ],
)
def test_fusesoc_writes_the_vendors_projects(tmp_path, tool, lines):
    """By edalize: images beside the project, where $readmemh finds them, and the constraints."""
    pytest.importorskip("fusesoc", reason="FuseSoC is missing: pip install '.[tools]'")
    written(tmp_path, "streams")
    command = [sys.executable, "-c", "from fusesoc.main import main; main()"]
    command += ["--cores-root", tmp_path / "fpga", "run", "--setup", f"--target={tool}"]
    run(tmp_path, *command, "bramcast:ip:digits_mlp_top:1.0")
    (project,) = tmp_path.glob(f"build/*/{tool}*/bramcast_ip_digits_mlp_top_1[._]0.tcl")
    found = project.read_text().splitlines()
    assert set(lines) <= set(found)
    image = project.parent / "weights.mem"
    assert image.read_bytes() == (tmp_path / "fpga/weights.mem").read_bytes()
    read = [Path(re.split(r"[{} ]", line.rstrip("}"))[-1]).name for line in found if ".sv" in line]
    sources = (tmp_path / "fpga/sources.f").read_text().split()
    assert read == [name for name in sources if name.endswith(".sv")]
    assert any(f"crossing.{'xdc' if tool == 'vivado' else 'sdc'}" in line for line in found)


# ------------------------------------------------------------------------------------------ LiteX

SOC = """
import sys
sys.path.insert(0, {folder!r})
from digits_mlp_litex import DigitsMlp
from litex.build.generic_platform import Pins
from litex.build.io import CRG
from litex.build.xilinx import XilinxPlatform
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCMini

class Platform(XilinxPlatform):
    default_clk_name, default_clk_period = "clk", 10

    def __init__(self):
        super().__init__("xc7a35ticsg324-1L", [("clk", 0, Pins("E3"))], toolchain="vivado")

platform = Platform()
soc = SoCMini(platform, clk_freq=int(1e8), with_uart=False)
soc.submodules.crg = CRG(platform.request("clk"))
soc.submodules.net = DigitsMlp(platform, FRAME_DEPTH=32)
soc.bus.add_slave("net", soc.net.bus, SoCRegion(0x30000000, DigitsMlp.SIZE))
soc.comb += [soc.net.sink.valid.eq(soc.net.source.valid), soc.net.source.ready.eq(1)]
builder = Builder(soc, output_dir="soc", compile_software=False, compile_gateware=False)
builder.build(build_name="top", run=False)
"""


@pytest.mark.parametrize("kind", ["axi", "clock"])
def test_the_litex_module_is_python(tmp_path, kind):
    text = (written(tmp_path, kind) / "digits_mlp_litex.py").read_text()
    (instance,) = (
        node for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Instance"
    )  # fmt: skip
    wired = {k.arg[2:] for k in instance.keywords if k.arg}
    top = (tmp_path / "fpga/digits_mlp_top.v").read_text()
    assert wired == set(re.findall(r"^    (?:input|output) +wire (?:\[\d+:0\] )?(\w+)", top, re.M))


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["axi", "clock"])
def test_a_litex_soc_with_the_module_elaborates(tmp_path, kind):
    pytest.importorskip("litex", reason="LiteX is missing: pip install '.[tools]'")
    need("icarus")
    folder = written(tmp_path, kind)
    (tmp_path / "soc.py").write_text(SOC.format(folder=str(folder)))
    run(tmp_path, sys.executable, "soc.py")
    gateware = tmp_path / "soc" / "gateware"
    assert {path.name for path in gateware.glob("*.mem")} == {
        "program.mem", "weights.mem", "bias.mem",
    }  # fmt: skip
    sources = [folder / name for name in (folder / "sources.f").read_text().split()]
    said = run(gateware, "iverilog", "-g2012", "-s", "top", "-t", "null", "top.v", *sources)
    assert "Port" not in said, said
    assert ".FRAME_DEPTH" in (gateware / "top.v").read_text()


def test_a_top_without_a_bus_has_no_litex_module(tmp_path):
    assert not list(written(tmp_path, "streams").glob("*_litex.py"))
