# SPDX-License-Identifier: Apache-2.0
"""A folder that a vendor's tool can build: the core's sources, a bundle's images, and a top.

Scripts for Vivado and Quartus, a file list and a test bench come with them.
"""

import re
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import frames_of
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.bitstream.pattern import pattern
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.folder import replace_folder
from bramcast.pack.bundle.formats.readmem import mem_text
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.sim.folder.bench import BENCH, bench_files
from bramcast.sim.folder.boards import Board, constraints
from bramcast.sim.folder.builders import core_file, litex_module, vhdl
from bramcast.sim.folder.catalog import catalog_scripts
from bramcast.sim.folder.constraints import clocks, crossing_sdc, crossing_xdc
from bramcast.sim.folder.ipxact import component_xml
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.readme import readme
from bramcast.sim.folder.recorded import Recorded, recorded
from bramcast.sim.folder.scripts import (
    quartus,
    quartus_of_a_board,
    vivado,
    vivado_of_a_board,
    vivado_of_a_known_board,
)
from bramcast.sim.folder.software import software_files
from bramcast.sim.folder.template import filled, without_licence
from bramcast.sim.folder.top import NETWORK, identifier, top_text
from bramcast.sim.folder.updatemem import MMI_SCRIPT, mmi_script

SURELY_OURS = re.compile(r"[a-z]\w*\.(sv|v|mem|tcl|f|sdc|xdc|lpf|pcf|cst)")
# Names that other folders have, too: ours beside a file list.
OURS = re.compile(
    SURELY_OURS.pattern
    + r"|Makefile|README\.md|build\.py|component\.xml|bench\.(vvp|log)|bramcast_\w+\.[ch]"
    + r"|[a-z]\w*(\.core|_vhdl\.vhd|_litex\.py)"
)
FILE_LIST = "sources.f"
OPEN_FLOW = "build.py"
SIMULATION_TOP = "bramcast_sim_top"


def write_project(
    bundle: Path,
    target: Path,
    options: HdlOptions,
    allow_modified: bool = False,
    sample: NDArray[np.generic] | None = None,
) -> Path:
    """Write a bundle's core as a project folder; atomic.

    Args:
        sample: [*input shape], what the test bench sends; None: random elements.

    Returns:
        The top's file.

    Raises:
        InputError: no bundle, or a folder that holds other files.
        RecipeError: patchable, and a memory is too small for the pattern.
        UserError: images or a program that golden and the simulation would refuse, too.
    """
    machine = load(bundle, allow_modified)
    manifest = machine.manifest
    assert manifest is not None
    frame = None if sample is None else frames_of(sample[None], manifest)[0]
    files = project_files(bundle, recorded(machine, frame), options)

    def fill(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    replace_folder(target, fill, OURS if (target / FILE_LIST).is_file() else SURELY_OURS)
    return target / f"{identifier(manifest.name)}_top.v"


def ledger_of(bundle: Path, allow_modified: bool = False) -> int:
    """LEDGER_DEPTH that holds every nest that the bundle's network executes.

    Raises:
        UserError: as those of ``write_project``.
    """
    machine = load(bundle, allow_modified)
    nests = len(predict(machine.program, machine.core).nests)
    return max(2, 1 << (nests - 1).bit_length())


def tlast_ends_of(bundle: Path, allow_modified: bool = False) -> int:
    """TLAST_ENDS of a core for a bundle.

    Raises:
        UserError: as those of ``write_project``.
    """
    return load(bundle, allow_modified).frame.tlast_ends


def project_files(bundle: Path, record: Recorded, options: HdlOptions) -> dict[str, bytes]:
    """The folder's files, by name.

    Args:
        bundle: whose images they are.
        record: what the test bench sends, and what golden says of it.
    """
    manifest, core = record.manifest, record.machine.core
    name = identifier(manifest.name)
    top = f"{name}_top.v"
    hdl = [source for source in sources() if source.stem != SIMULATION_TOP]
    images = _images(bundle, core, options)
    mems = list(images)
    files = {source.name: source.read_bytes() for source in hdl} | images
    files[OPEN_FLOW] = (resources.files("bramcast.sim.folder") / OPEN_FLOW).read_bytes()
    names = [source.name for source in hdl]
    contents = load_images(bundle, manifest, True)
    bench = bench_files(record, contents, name, options)
    cycles = predict(record.machine.program, core).total
    texts = {
        top: top_text(manifest, options),
        FILE_LIST: "".join(f"{n}\n" for n in [*names, top]),
        **bench,
        "Makefile": makefile(name, options),
    }
    if options.board is not None:
        texts |= _board(record, options.board, options, names, top)
    else:
        reads = [file for file in bench if file != BENCH]
        texts |= {
            **_scripts(record, options, names, top),
            "clock.xdc": clocks(options),
            "clock.sdc": clocks(options),
            "crossing.xdc": crossing_xdc(options),
            "crossing.sdc": crossing_sdc(options),
            f"{name}_vhdl.vhd": vhdl(manifest, options),
            f"{name}.core": core_file(name, [*names, top], mems, reads),
        }
    if options.patchable:
        texts[MMI_SCRIPT] = mmi_script(f"{name}_top", core)
    if options.axi:
        parts = [*names, top, *mems, "crossing.xdc"]
        texts["component.xml"] = component_xml(manifest, options, parts)
        texts |= catalog_scripts(manifest, options)
        texts[f"{name}_litex.py"] = litex_module(manifest, options, mems)
        files |= software_files(record, contents, options)
    texts["README.md"] = readme(manifest, options, [*files, *texts], cycles)
    return files | {file: text.encode() for file, text in texts.items()}


def board_values(name: str, options: HdlOptions) -> dict[str, object]:
    """The words of board.mk.in: how the board's bitstream is built, and how it gets there."""
    board = options.board
    assert board is not None
    if board.open_tools:
        given = {"device": board.device, "package": board.package, "speed": board.speed}
        words = [f"--{option} {value}" for option, value in given.items() if value]
        words += [f"--pins {board.constraints}", f"--freq {options.mhz:g}", "-o $(OUT) $(FLAGS)"]
        build = f"$(PYTHON) build.py {board.family} {' '.join(words)}"
    else:
        build = "vivado -mode batch -source vivado.tcl"
    return {
        "name": name,
        "title": board.title,
        "out": f"OUT ?= ../{name}_{board.name}\n" if board.open_tools else "",
        "folder": "$(OUT)/" if board.open_tools else "",
        "binary": board.binary,
        "tools": "build.py" if board.open_tools else "Vivado",
        "build": build,
        "load": f"openFPGALoader -b {board.loader}",
        "where": "in its flash" if board.family == "ice40" else "until it is switched off",
    }


def makefile(name: str, options: HdlOptions) -> str:
    """The folder's Makefile."""
    text = filled("Makefile", {"name": name, "bench": BENCH})
    if options.board is None:
        return text
    return text + without_licence(filled("board.mk", board_values(name, options)))


def _board(
    record: Recorded, board: Board, options: HdlOptions, names: list[str], top: str
) -> dict[str, str]:
    """What a folder for a board has of its own, and what builds its bitstream."""
    texts = {board.constraints: constraints(board)}
    if board.open_tools:
        return texts
    name, core = identifier(record.manifest.name), record.machine.core
    images = [image for image in IMAGES if core.depth(image)]
    return texts | {
        "vivado.tcl": vivado_of_a_known_board(name, names, top, images, board, options.patchable),
        "clock.xdc": clocks(options),
        "crossing.xdc": crossing_xdc(options),
    }


def _images(bundle: Path, core: Core, options: HdlOptions) -> dict[str, bytes]:
    """The memories' contents, by name: what synthesis takes, and what simulation, if it differs."""
    names = [name for name in IMAGES if core.depth(name)]
    network = {f"{name}.mem": (bundle / f"{name}.mem").read_bytes() for name in names}
    if not options.patchable:
        return network
    held = {f"{name}.mem": mem_text(words, len(words)) for name, words in pattern(core).items()}
    return held | {f"{NETWORK}{name}": content for name, content in network.items()}


def _scripts(record: Recorded, options: HdlOptions, names: list[str], top: str) -> dict[str, str]:
    """vivado.tcl and quartus.tcl."""
    core, name = record.machine.core, identifier(record.manifest.name)
    images = [image for image in IMAGES if core.depth(image)]
    if options.serial:
        return {
            "vivado.tcl": vivado_of_a_board(name, names, top, images, options.patchable),
            "quartus.tcl": quartus_of_a_board(name, names, top),
        }
    return {
        "vivado.tcl": vivado(name, names, top, images, options.patchable),
        "quartus.tcl": quartus(name, names, top, options.axi_clock),
    }
