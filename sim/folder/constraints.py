# SPDX-License-Identifier: Apache-2.0
"""Constraints of a project that ``bramcast hdl`` writes: its clocks, and what follows none."""

from bramcast.sim.folder.options import HdlOptions

# What crosses in bramcast_lite_cross: the register, and where its bit is synchronized; the data
# that stand still meanwhile, to the core and back.
_TURNS = (
    ("u_cross", "request_q", "u_request"),
    ("u_cross", "answer_q", "u_answer"),
    ("u_registers", "irq_o", "u_irq"),
)
_HELD = ("write_o", "address_o", "wdata_o", "whole_o", "rdata_o", "resp_o")


def _pins(options: HdlOptions) -> list[str]:
    button, lamps = "resetn", "irq"
    if options.board is not None:
        button, lamps = "button" if options.board.button else "", "led[*]"
    return [
        "",
        "# Pins that follow no clock; u_uart/line_q takes rx into this one.",
        "set_false_path -from [get_ports rx]",
        *([f"set_false_path -from [get_ports {button}]"] if button else []),
        f"set_false_path -to [get_ports {{tx {lamps}}}]",
    ]


def _head(options: HdlOptions) -> list[str]:
    reset = "The reset" if options.board else "resetn" if options.serial else "aresetn"
    return [
        "# SPDX-License-Identifier: Apache-2.0",
        "# For this folder's top, wherever it is instantiated.",
        "#",
        f"# {reset} comes at any time; only its release is timed, inside u_reset.",
    ]


def _two_clocks(file: str) -> list[str]:
    return [
        "",
        "# AXI4-Lite's clock and the core's: no path takes longer than the shorter period.",
        f"# With other clocks than those of {file} put that number here.",
    ]


def crossing_xdc(options: HdlOptions) -> str:
    """Vivado's constraints of what is asynchronous; by names that hold in any hierarchy."""

    def cells(name: str) -> str:
        return f"[get_cells -hierarchical -filter {{NAME =~ {name}_reg*}}]"

    lines = [
        *_head(options),
        f"set_property ASYNC_REG TRUE {cells('*reset/release_q')}",
        "set_false_path -to [get_pins -hierarchical -filter {NAME =~ *reset/release_q_reg*/PRE}]",
    ]
    if options.serial:
        lines += _pins(options)
    if options.axi_clock:
        lines += _two_clocks("clock.xdc")
        for module, name, sync in _TURNS:
            lines += [
                f"set_property ASYNC_REG TRUE {cells(f'*u_cross/{sync}/{register}')}"
                for register in ("meta_q", "sync_q")
            ]
            lines.append(
                f"set_max_delay -datapath_only -from {cells(f'*{module}/{name}')} "
                f"-to {cells(f'*u_cross/{sync}/meta_q')} {options.period_ns:g}"
            )
        lines += [
            f"set_max_delay -datapath_only -from {cells(f'*u_cross/{name}')} {options.period_ns:g}"
            for name in _HELD
        ]
    return "\n".join([*lines, ""])


def crossing_sdc(options: HdlOptions) -> str:
    """The same for Quartus."""

    def registers(name: str) -> str:
        return f"[get_registers {{*{name}}}]"

    lines = [
        *_head(options),
        "set_false_path -to [get_pins -compatibility_mode {*reset|release_q*|clrn}]",
    ]
    if options.serial:
        lines += _pins(options)
    if options.axi_clock:
        lines += _two_clocks("clock.sdc")
        paths = [
            f"-from {registers(f'{module}|{name}')} -to {registers(f'{sync}|meta_q')}"
            for module, name, sync in _TURNS
        ]
        paths += [f"-from {registers(f'u_cross|{name}*')}" for name in _HELD]
        for path in paths:
            lines += [f"set_max_delay {path} {options.period_ns:g}", f"set_min_delay {path} -100"]
    return "\n".join([*lines, ""])


def clocks(options: HdlOptions) -> str:
    """The clocks of a top, for Vivado and Quartus alike."""
    names = ("clk",) if options.serial else ("aclk", "s_axil_aclk")[: 1 + options.axi_clock]
    lines = ["# SPDX-License-Identifier: Apache-2.0"]
    lines += [
        f"create_clock -name {clock} -period {options.period_ns:g} [get_ports {clock}]"
        for clock in names
    ]
    return "\n".join([*lines, ""])
