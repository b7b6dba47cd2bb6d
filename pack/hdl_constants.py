"""hw/bramcast_pkg.sv: the descriptor's field layout for the SystemVerilog core.

``python -m bramcast.pack.hdl_constants > hw/bramcast_pkg.sv`` writes it; a test compares the file
with what ``systemverilog_package`` returns.
"""

import sys

from bramcast.pack.descriptor import (
    DESCRIPTOR_WORDS,
    INPUT_FIELDS,
    NEST_FIELDS,
    OP_INPUT,
    OP_NEST,
    OPCODE,
    Field,
)

_HEAD = """\
// bramcast_pkg: where the fields of a descriptor lie: word, lowest bit and number of bits.
//
// Generated from pack/descriptor.py by `python -m bramcast.pack.hdl_constants`; do not edit.
// docs/format.md explains the fields.
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


def systemverilog_package() -> str:
    """The text of hw/bramcast_pkg.sv.

    >>> "localparam int NEST_TAIL_LSB = 16;" in systemverilog_package()
    True
    """
    lines = [
        f"  localparam int DESCRIPTOR_WORDS = {DESCRIPTOR_WORDS};",
        f"  localparam int OP_INPUT = {OP_INPUT};",
        f"  localparam int OP_NEST = {OP_NEST};",
        *_field_lines("opcode", OPCODE),
    ]
    for prefix, layout in (("nest", NEST_FIELDS), ("input", INPUT_FIELDS)):
        lines.append("")
        for name, field in layout.items():
            lines += _field_lines(f"{prefix}_{name}", field)
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


if __name__ == "__main__":
    sys.stdout.write(systemverilog_package())
