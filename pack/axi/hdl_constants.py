# SPDX-License-Identifier: Apache-2.0
"""hw/bramcast_pkg.sv: the descriptor's fields and the register map for the SystemVerilog core.

``python -m bramcast.pack.axi.hdl_constants > hw/bramcast_pkg.sv`` writes it; a test compares the
file with what ``systemverilog_package`` returns.
"""

import sys

from bramcast.pack.axi.registers import (
    IDENTIFICATION,
    INTERFACE,
    LEAST_WINDOW_BITS,
    REGISTERS,
    SLOT_BITS,
)
from bramcast.pack.bundle.manifest import FORMAT
from bramcast.pack.bundle.program import (
    DESCRIPTOR_WORDS,
    LOOP_FIELDS,
    MOVED_FIELDS,
    NEST_FIELDS,
    OP_INPUT,
    OP_LOOP,
    OP_NEST,
    OPCODE,
    STRIP_FIELDS,
    TILED_INPUT_FIELDS,
    TILED_NEST_FIELDS,
    Field,
)

_HEAD = """\
// SPDX-License-Identifier: Apache-2.0
// bramcast_pkg: where the fields of a descriptor lie: word, lowest bit and number of bits; where
// the registers of the AXI4-Lite slave lie: byte offset, lowest bit and number of bits of a field.
//
// Generated from pack/bundle/program.py and pack/axi/registers.py by `python -m
// bramcast.pack.axi.hdl_constants`; do not edit. docs/format.md explains the descriptors,
// docs/axi.md the registers.
//
`default_nettype none
/* verilator lint_off UNUSEDPARAM */  // the whole layout stands here, the core needs a part of it
package bramcast_pkg;
"""

_TAIL = """\
endpackage
/* verilator lint_on UNUSEDPARAM */
`default_nettype wire
"""


def _field_lines(name: str, field: Field) -> list[str]:
    parts = (("WORD", field.word), ("LSB", field.lsb), ("BITS", field.bits))
    return [f"  localparam int {name.upper()}_{part} = {value};" for part, value in parts]


def _register_lines() -> list[str]:
    numbers = {
        "IDENTIFICATION": f"32'h{IDENTIFICATION:08X}",
        "INTERFACE": INTERFACE,
        "IMAGE_FORMAT": FORMAT,
        "SLOT_BITS": SLOT_BITS,
        "LEAST_WINDOW_BITS": LEAST_WINDOW_BITS,
    }
    for register in REGISTERS:
        numbers[f"REG_{register.name}"] = register.offset
        for b in register.fields:
            numbers[f"{register.name}_{b.name}_LSB"] = b.lsb
            numbers[f"{register.name}_{b.name}_BITS"] = b.bits
    return [f"  localparam int {name} = {value};" for name, value in numbers.items()]


def systemverilog_package() -> str:
    """The text of hw/bramcast_pkg.sv.

    >>> "localparam int NEST_TAIL_LSB = 16;" in systemverilog_package()
    True
    """
    lines = [
        f"  localparam int DESCRIPTOR_WORDS = {DESCRIPTOR_WORDS};",
        f"  localparam int OP_INPUT = {OP_INPUT};",
        f"  localparam int OP_NEST = {OP_NEST};",
        f"  localparam int OP_LOOP = {OP_LOOP};",
        *_field_lines("opcode", OPCODE),
    ]
    moved = {name: TILED_NEST_FIELDS[name] for name in MOVED_FIELDS}
    layouts = {
        "nest": {**NEST_FIELDS, **STRIP_FIELDS},
        "tiled_nest": moved,
        "input": TILED_INPUT_FIELDS,
        "loop": LOOP_FIELDS,
    }
    for prefix, layout in layouts.items():
        lines.append("")
        for name, field in layout.items():
            lines += _field_lines(f"{prefix}_{name}", field)
    lines += ["", *_register_lines()]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


if __name__ == "__main__":
    sys.stdout.write(systemverilog_package())
