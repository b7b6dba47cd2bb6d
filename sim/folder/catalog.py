# SPDX-License-Identifier: Apache-2.0
"""Scripts that make a written folder an IP of Vivado's catalog and put it into a block design."""

from bramcast.pack.bundle.manifest import Manifest
from bramcast.sim.folder.ipxact import LIBRARY, VENDOR, VERSION
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.template import filled
from bramcast.sim.folder.top import identifier


def catalog_scripts(manifest: Manifest, options: HdlOptions) -> dict[str, str]:
    """package.tcl and block_design.tcl, by name."""
    name = identifier(manifest.name)
    buses = ("", "s_axil_")[: 1 + options.axi_clock]
    values: dict[str, object] = {
        "name": name,
        "vlnv": f"{VENDOR}:{LIBRARY}:{name}_top:{VERSION}",
        "mhz": f"{options.mhz:g}",
        "stream_bits": options.beat * manifest.core.data_bits,
        "clocks": " ".join(f"core/{bus}aclk" for bus in buses),
        "resets": " ".join(f"core/{bus}aresetn" for bus in buses),
    }
    return {name: filled(name, values) for name in ("package.tcl", "block_design.tcl")}
