# SPDX-License-Identifier: Apache-2.0
"""A folder that a vendor's tool can build: the core's sources, a bundle's images, and a top.

Scripts for Vivado and Quartus, a file list and a test bench come with them.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.folder import replace_folder
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.sim.folder.bench import BENCH, bench_files
from bramcast.sim.folder.builders import core_file, litex_module, vhdl
from bramcast.sim.folder.catalog import catalog_scripts
from bramcast.sim.folder.constraints import clocks, crossing_sdc, crossing_xdc
from bramcast.sim.folder.ipxact import component_xml
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.readme import readme
from bramcast.sim.folder.recorded import recorded
from bramcast.sim.folder.scripts import quartus, quartus_of_a_board, vivado, vivado_of_a_board
from bramcast.sim.folder.template import filled
from bramcast.sim.folder.top import identifier, top_text

SURELY_OURS = re.compile(r"[a-z]\w*\.(sv|v|mem|tcl|f|sdc|xdc)")
# Names that other folders have, too: ours beside a file list.
OURS = re.compile(
    SURELY_OURS.pattern
    + r"|Makefile|README\.md|component\.xml|bench\.(vvp|log)"
    + r"|[a-z]\w*(\.core|_vhdl\.vhd|_litex\.py)"
)
FILE_LIST = "sources.f"
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
        UserError: images or a program that golden and the simulation would refuse, too.
    """
    machine = load(bundle, allow_modified)
    manifest = machine.manifest
    assert manifest is not None
    text = top_text(manifest, options)
    images = [name for name in IMAGES if manifest.core.depth(name)]
    mems = [f"{image}.mem" for image in images]
    name = identifier(manifest.name)
    top = f"{name}_top.v"
    depths = (manifest.core.scratch_depth, *(manifest.core.depth(image) for image in IMAGES))
    loops = 5000 + max(*depths, options.frame_depth, options.ledger_depth)
    frame = None if sample is None else frames_from_arrays(sample[None], manifest.input)[0]
    cycles = predict(machine.program, manifest.core).total
    bench = bench_files(recorded(machine, frame), name, options)

    def fill(folder: Path) -> None:
        files = [source for source in sources() if source.stem != SIMULATION_TOP]
        for source in files:
            (folder / source.name).write_bytes(source.read_bytes())
        for image in images:
            (folder / f"{image}.mem").write_bytes((bundle / f"{image}.mem").read_bytes())
        (folder / top).write_text(text)
        names = [source.name for source in files]
        (folder / FILE_LIST).write_text("".join(f"{n}\n" for n in [*names, top]))
        if options.serial:
            (folder / "vivado.tcl").write_text(vivado_of_a_board(name, names, top, images))
            (folder / "quartus.tcl").write_text(quartus_of_a_board(name, names, top, loops))
        else:
            (folder / "vivado.tcl").write_text(vivado(name, names, top, images))
            (folder / "quartus.tcl").write_text(quartus(name, names, top, options.axi_clock, loops))
        for constraints in ("clock.xdc", "clock.sdc"):
            (folder / constraints).write_text(clocks(options))
        (folder / "crossing.xdc").write_text(crossing_xdc(options))
        (folder / "crossing.sdc").write_text(crossing_sdc(options))
        if options.axi:
            parts = [*names, top, *mems, "crossing.xdc"]
            (folder / "component.xml").write_text(component_xml(manifest, options, parts))
            for script, content in catalog_scripts(manifest, options).items():
                (folder / script).write_text(content)
            litex = litex_module(manifest, options, mems)
            (folder / f"{name}_litex.py").write_text(litex)
        (folder / f"{name}_vhdl.vhd").write_text(vhdl(manifest, options))
        read = [file for file in bench if file != BENCH]
        (folder / f"{name}.core").write_text(core_file(name, [*names, top], mems, read))
        for file, content in bench.items():
            (folder / file).write_text(content)
        (folder / "Makefile").write_text(filled("Makefile", {"name": name, "bench": BENCH}))
        written = [file.name for file in folder.iterdir()]
        (folder / "README.md").write_text(readme(manifest, options, written, cycles))

    replace_folder(target, fill, OURS if (target / FILE_LIST).is_file() else SURELY_OURS)
    return target / top
