# SPDX-License-Identifier: Apache-2.0
"""A written folder for those who build with FuseSoC or LiteX, or instantiate it in VHDL."""

import re
from collections.abc import Sequence
from importlib.metadata import version

from bramcast.pack.bundle.manifest import Manifest
from bramcast.sim.folder.ipxact import LIBRARY, VENDOR, VERSION
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.parameters import adjustable
from bramcast.sim.folder.template import filled
from bramcast.sim.folder.top import Port, identifier, top_ports

_VHDL_NAME = re.compile(r"[a-z]+(_?[a-z0-9])*")


def core_file(
    name: str, sources: Sequence[str], images: Sequence[str], bench: Sequence[str]
) -> str:
    """The text of NAME.core, CAPI 2 of FuseSoC.

    Args:
        name: of the network, as a Verilog name.
        sources: for synthesis, in order; images: names of .mem; bench: what the bench reads.
    """

    def read(names: Sequence[str], kind: str) -> str:
        return "\n".join(f"      - {n}: {{file_type: {kind}, copyto: {n}}}" for n in names)

    kinds = {".sv": "systemVerilogSource", ".v": "verilogSource"}
    rtl = [f"      - {n}: {{file_type: {kinds[n[n.rindex('.') :]]}}}" for n in sources]
    return "CAPI=2:\n" + filled(
        "fusesoc.core",
        {
            "name": name,
            "vlnv": f"{VENDOR}:{LIBRARY}:{name}_top:{VERSION}",
            "version": version("bramcast"),
            "rtl": "\n".join(rtl),
            "images": read(images, "mem"),
            "bench": read(bench, "user"),
        },
    )


def litex_module(manifest: Manifest, options: HdlOptions, images: Sequence[str]) -> str:
    """The text of NAME_litex.py: a module of LiteX around the top with AXI4-Lite."""
    core, name = manifest.core, identifier(manifest.name)
    domains = [""] + ["s_axil_"] * options.axi_clock
    clocks = [
        f"            i_{bus}aclk=ClockSignal(clock_domain),\n"
        f"            i_{bus}aresetn=~ResetSignal(clock_domain),"
        for bus in domains
    ]
    bits = options.beat * core.data_bits
    return filled(
        "litex.py",
        {
            "name": name,
            "class": "".join(part.capitalize() for part in name.split("_")),
            "address_bits": options.address_bits(core),
            "stream_bits": bits,
            "keep_bits": bits // 8,
            "clocks": "\n".join(clocks),
            "keep": "            i_s_axis_tkeep=sink.keep," if options.beat > 1 else "",
            "images": "".join(f'"{image}", ' for image in images).strip(),
        },
    ).replace("user,\n\n        )", "user,\n        )")


# ------------------------------------------------------------------------------------------- VHDL


def vhdl(manifest: Manifest, options: HdlOptions) -> str:
    """The text of NAME_vhdl.vhd: a component declaration, and an entity around the top."""
    name = identifier(manifest.name)
    ports = top_ports(manifest.core, options)
    generics = [(p.name, p.value) for p in adjustable(options)]
    interface = _generics(generics) + _ports(ports)
    maps = [
        ("generic", [given for given, _ in generics]),
        ("port", [port.name for port in ports]),
    ]
    mapped = [
        f"    {kind} map (\n" + ",\n".join(f"      {n} => {n}" for n in names) + "\n    )"
        for kind, names in maps
        if names
    ]
    return filled(
        "vhdl.vhd",
        {
            "name": name,
            "package": _vhdl_name(f"{name}_pkg"),
            "component": _vhdl_name(f"{name}_top"),
            "entity": _vhdl_name(f"{name}_vhdl"),
            "component_interface": "\n".join(f"    {line}" for line in interface),
            "entity_interface": "\n".join(f"  {line}" for line in interface),
            "maps": "\n".join(mapped),
        },
    )


def _vhdl_name(name: str) -> str:
    r"""An identifier of VHDL, an extended one where a plain one is not allowed.

    >>> _vhdl_name("net_top"), _vhdl_name("a__b_top")
    ('net_top', '\\a__b_top\\')
    """
    return name if _VHDL_NAME.fullmatch(name) else f"\\{name}\\"


def _generics(generics: Sequence[tuple[str, int]]) -> list[str]:
    if not generics:
        return []
    lines = [f"  {name} : integer := {value};" for name, value in generics]
    return ["generic (", *lines[:-1], lines[-1].removesuffix(";"), ");"]


def _ports(ports: Sequence[Port]) -> list[str]:
    lines = []
    for port in ports:
        way = "in" if port.direction == "input" else "out"
        kind = f"std_logic_vector({port.bits - 1} downto 0)" if port.bits > 1 else "std_logic"
        lines.append(f"  {port.name} : {way} {kind};")
    return ["port (", *lines[:-1], lines[-1].removesuffix(";"), ");"]
