# SPDX-License-Identifier: Apache-2.0
"""component.xml of a written folder: the top with AXI4-Lite as IP, IEEE 1685-2009 (IP-XACT).

Bus and abstraction definitions are those of Vivado's catalog (``xilinx.com:interface``), by which
its block designs know them.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from bramcast.pack.axi.registers import (
    LEDGER_SLOT,
    REGISTERS,
    SCRATCH_SLOT,
    Bits,
    Register,
    bank_bits,
    stride,
    window_bits,
    window_offset,
)
from bramcast.pack.bundle.manifest import IMAGES, Core, Manifest
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.parameters import adjustable
from bramcast.sim.folder.top import Port, identifier, top_ports

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
VENDOR, LIBRARY, VERSION = "bramcast", "ip", "1.0"
_SYNTHESIS, _SIMULATION = "synthesis_files", "simulation_files"
_KINDS = {".sv": "systemVerilogSource", ".v": "verilogSource"}  # others are named for what they are
# The logical names of an AXI4-Lite slave and of both streams, as the definitions have them.
_BUS = {"s_axil": "aximm", "s_axis": "axis", "m_axis": "axis"}

ElementTree.register_namespace("spirit", SPIRIT)
Node = ElementTree.Element


def component_xml(manifest: Manifest, options: HdlOptions, files: Sequence[str]) -> str:
    """The text of component.xml.

    Args:
        files: of the folder, by name, in the order in which they are compiled; those that a
            synthesis or a simulation reads.
    """
    core, name = manifest.core, identifier(manifest.name)
    ports = top_ports(core, options)
    parameters = adjustable(options)
    root = _node(
        "component",
        _node("vendor", VENDOR),
        _node("library", LIBRARY),
        _node("name", f"{name}_top"),
        _node("version", VERSION),
        _node("busInterfaces", *_interfaces(ports, options)),
        _node("memoryMaps", _memory_map(core, options)),
        _node(
            "model",
            _node("views", _view("synthesis", name), _view("simulation", name)),
            _node("ports", *(_port(port) for port in ports)),
            _node(
                "modelParameters",
                *(
                    _node(
                        "modelParameter",
                        _node("name", p.name),
                        _value(p.value, f"MODELPARAM_VALUE.{p.name}", resolve="generated"),
                        dataType="integer",
                    )
                    for p in parameters
                ),
            ),
        ),
        _node(
            "choices",
            *(
                _node(
                    "choice",
                    _node("name", f"choices_of_{p.name}"),
                    *(_node("enumeration", str(value)) for value in p.allowed),
                )
                for p in parameters
            ),
        ),
        _node(
            "fileSets",
            *(
                _node("fileSet", _node("name", one), *(_file(file) for file in files))
                for one in (_SYNTHESIS, _SIMULATION)
            ),
        ),
        _node("description", f"The network {name}; written by bramcast {version('bramcast')}"),
        _node(
            "parameters",
            *(
                _node(
                    "parameter",
                    _node("name", p.name),
                    _node("displayName", p.name),
                    _node("description", p.text),
                    _value(
                        p.value,
                        f"PARAM_VALUE.{p.name}",
                        resolve="user",
                        choiceRef=f"choices_of_{p.name}",
                        minimum=str(min(p.allowed)),
                        maximum=str(max(p.allowed)),
                        rangeType="long",
                    ),
                )
                for p in parameters
            ),
        ),
    )
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n'
    return f"{head}{text}\n"


def _node(tag: str, *content: Node | str, **attributes: str) -> Node:
    """An element of the standard's name space; text, or elements."""
    node = ElementTree.Element(
        f"{{{SPIRIT}}}{tag}", {f"{{{SPIRIT}}}{name}": value for name, value in attributes.items()}
    )
    for part in content:
        if isinstance(part, str):
            node.text = part
        else:
            node.append(part)
    return node


def _value(value: int, name: str, **attributes: str) -> Node:
    return _node("value", str(value), id=name, format="long", **attributes)


# ------------------------------------------------------------------------------------- interfaces


@dataclass(frozen=True, slots=True)
class _Interface:
    """A bus interface: which definition, master or slave, its ports by their logical names."""

    name: str
    kind: tuple[str, str]  # "interface" or "signal", and the definition's name
    master: bool
    ports: dict[str, str]
    parameters: dict[str, str]


def _interfaces(ports: Sequence[Port], options: HdlOptions) -> Iterator[Node]:
    buses = [name for name in _BUS if name != "s_axil" or not options.axi_clock]
    for bus, kind in _BUS.items():
        mine = [p.name for p in ports if p.name.startswith(f"{bus}_") and not _is_clock(p.name)]
        logical = {name.removeprefix(f"{bus}_").upper(): name for name in mine}
        more = {"PROTOCOL": "AXI4LITE"} if bus == "s_axil" else {}
        yield _interface(_Interface(bus, ("interface", kind), bus.startswith("m_"), logical, more))
    yield from _clock("", ":".join(buses))
    if options.axi_clock:
        yield from _clock("s_axil_", "s_axil")
    yield _interface(
        _Interface(
            "irq",
            ("signal", "interrupt"),
            True,
            {"INTERRUPT": "irq_o"},
            {"SENSITIVITY": "LEVEL_HIGH"},
        )  # fmt: skip
    )


def _is_clock(port: str) -> bool:
    return port.endswith(("aclk", "aresetn"))


def _clock(prefix: str, buses: str) -> Iterator[Node]:
    """A clock, of which buses, and its reset."""
    clock, reset = f"{prefix}aclk", f"{prefix}aresetn"
    of = {"ASSOCIATED_BUSIF": buses, "ASSOCIATED_RESET": reset}
    yield _interface(_Interface(clock, ("signal", "clock"), False, {"CLK": clock}, of))
    low = {"POLARITY": "ACTIVE_LOW"}
    yield _interface(_Interface(reset, ("signal", "reset"), False, {"RST": reset}, low))


def _interface(one: _Interface) -> Node:
    library, name = one.kind
    of = {"vendor": "xilinx.com", "library": library, "version": "1.0"}
    if one.name == "s_axil":
        role = _node("slave", _node("memoryMapRef", memoryMapRef="s_axil"))
    else:
        role = _node("master" if one.master else "slave")
    return _node(
        "busInterface",
        _node("name", one.name),
        _node("busType", name=name, **of),
        _node("abstractionType", name=f"{name}_rtl", **of),
        role,
        _node(
            "portMaps",
            *(
                _node(
                    "portMap",
                    _node("logicalPort", _node("name", logical)),
                    _node("physicalPort", _node("name", physical)),
                )
                for logical, physical in one.ports.items()
            ),
        ),
        *(
            [
                _node(
                    "parameters",
                    *(
                        _node(
                            "parameter",
                            _node("name", key),
                            _node("value", value, id=f"BUSIFPARAM_VALUE.{one.name}.{key}"),
                        )
                        for key, value in one.parameters.items()
                    ),
                )
            ]
            if one.parameters
            else []
        ),
    )


# ------------------------------------------------------------------------------- what an address is


def _memory_map(core: Core, options: HdlOptions) -> Node:
    """The slots of docs/axi.md: registers, and each memory that software reaches."""
    bits = window_bits(core, options.ledger_depth, options.peek)
    built = {"LEDGER_DEPTH": options.ledger_depth > 0, "PEEK": options.peek}
    registers = [r for r in REGISTERS if built.get(r.needs, True)]
    images = [
        (image, window_offset(image, bits), core.depth(image), core.word_bits(image))
        for image in IMAGES
        if core.depth(image)
    ]
    if options.ledger_depth:
        images.append(("ledger", LEDGER_SLOT << bits, options.ledger_depth, 64))
    if options.peek:
        width = core.word * core.data_bits
        words = ((core.tiles - 1) << bank_bits(core)) + core.scratch_depth  # bank after bank
        images.append(("scratchpad", SCRATCH_SLOT << bits, words, width))
    return _node(
        "memoryMap",
        _node("name", "s_axil"),
        _node(
            "addressBlock",
            _node("name", "registers"),
            *_place(0, 1 << bits),
            _node("usage", "register"),
            *(_register(register) for register in registers),
        ),
        *(
            _node(
                "addressBlock",
                _node("name", image),
                *_place(base, words * stride(width)),
                _node("usage", "memory"),
                _node("access", "read-write" if image in IMAGES else "read-only"),
            )
            for image, base, words, width in images
        ),
        _node("addressUnitBits", "8"),
    )


def _place(base: int, size: int) -> tuple[Node, Node, Node]:
    return _node("baseAddress", hex(base)), _node("range", hex(size)), _node("width", "32")


def _register(register: Register) -> Node:
    access = "read-only" if register.access == "R" else "read-write"
    return _node(
        "register",
        _node("name", register.name),
        _node("description", register.text),
        _node("addressOffset", hex(register.offset)),
        _node("size", "32"),
        _node("volatile", "true"),
        _node("access", access),
        *(_field(bits) for bits in register.fields),
    )


_ACCESS = {"R": "read-only", "W": "write-only"}
_WRITTEN = {"W1C": "oneToClear", "RW1": "oneToSet"}


def _field(bits: Bits) -> Node:
    written = _WRITTEN.get(bits.access)
    return _node(
        "field",
        _node("name", bits.name),
        _node("description", bits.text),
        _node("bitOffset", str(bits.lsb)),
        _node("bitWidth", str(bits.bits)),
        _node("access", _ACCESS.get(bits.access, "read-write")),
        *([_node("modifiedWriteValue", written)] if written else []),
    )


# ------------------------------------------------------------------------------------- the model


def _view(use: str, name: str) -> Node:
    files = _SYNTHESIS if use == "synthesis" else _SIMULATION
    return _node(
        "view",
        _node("name", f"xilinx_anylanguage{use}"),
        _node("displayName", use.capitalize()),
        _node("envIdentifier", f":vivado.xilinx.com:{use}"),
        _node("language", "verilog"),
        _node("modelName", f"{name}_top"),
        _node("fileSetRef", _node("localName", files)),
    )


def _port(port: Port) -> Node:
    vector = [
        _node(
            "vector",
            _node("left", str(port.bits - 1), format="long"),
            _node("right", "0", format="long"),
        )
    ]
    kind = _node(
        "wireTypeDef",
        _node("typeName", "std_logic_vector" if port.bits > 1 else "std_logic"),
        _node("viewNameRef", "xilinx_anylanguagesynthesis"),
        _node("viewNameRef", "xilinx_anylanguagesimulation"),
    )
    return _node(
        "port",
        _node("name", port.name),
        _node(
            "wire",
            _node("direction", "in" if port.direction == "input" else "out"),
            *(vector if port.bits > 1 else []),
            _node("wireTypeDefs", kind),
        ),
    )


def _file(name: str) -> Node:
    suffix = name[name.rindex(".") :]
    kind = _KINDS.get(suffix)
    typed = _node("fileType", kind) if kind else _node("userFileType", suffix[1:])
    return _node("file", _node("name", name), typed)
