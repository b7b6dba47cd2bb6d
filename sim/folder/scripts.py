# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vivado and Quartus of a project that ``bramcast hdl`` writes."""

from bramcast.sim.folder.boards import Board

_PART = 'set part [expr {$argc > 0 ? [lindex $argv 0] : "xc7a35ticsg324-1L"}]\n'


# Of a patchable top: its images lie where mmi.tcl looks for them.
_BANKED = " -generic BANKED=1"


def vivado(name: str, names: list[str], top: str, images: list[str], patchable: bool) -> str:
    """Vivado's script for the core alone, out of context."""
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# vivado -mode batch -source vivado.tcl -tclargs PART
# Synthesizes the core alone, out of context: resources and timing. For your own project: add these
# files (the .mem files too, as memory files) and instantiate {name}_top.
set here [file dirname [file normalize [info script]]]
{_PART}{_vivado_files(names, top, images)}\
read_xdc -mode out_of_context $here/clock.xdc
read_xdc $here/crossing.xdc
synth_design -top {name}_top -part $part -mode out_of_context{_BANKED * patchable}
{_vivado_flow(name)}"""


def vivado_of_a_known_board(
    name: str, names: list[str], top: str, images: list[str], board: Board, patchable: bool
) -> str:
    """Vivado's script for a board whose pins are known: a bitstream."""
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# vivado -mode batch -source vivado.tcl
# Writes {name}_top.bit for the board: {board.title}.
set here [file dirname [file normalize [info script]]]
set part {board.device}
{_vivado_files(names, top, images)}\
read_xdc $here/clock.xdc
read_xdc $here/crossing.xdc
read_xdc $here/{board.constraints}
synth_design -top {name}_top -part $part{_BANKED * patchable}
{_vivado_flow(name)}\
set_property CFGBVS VCCO [current_design]
set_property CONFIG_VOLTAGE 3.3 [current_design]
write_bitstream -force $here/{name}_top.bit
"""


def vivado_of_a_board(
    name: str, names: list[str], top: str, images: list[str], patchable: bool
) -> str:
    """Vivado's script for a core on a serial line: a bitstream, if it is told the pins."""
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# vivado -mode batch -source vivado.tcl -tclargs PART PINS.xdc
# Writes {name}_top.bit. PINS.xdc says where clk, resetn, rx, tx and irq are; without it the core
# alone is synthesized, out of context: resources and timing.
set here [file dirname [file normalize [info script]]]
{_PART}\
set pins [expr {{$argc > 1 ? [file normalize [lindex $argv 1]] : ""}}]
{_vivado_files(names, top, images)}\
read_xdc $here/clock.xdc
read_xdc $here/crossing.xdc
if {{$pins ne ""}} {{ read_xdc $pins }}
set mode [expr {{$pins ne "" ? "default" : "out_of_context"}}]
synth_design -top {name}_top -part $part -mode $mode{_BANKED * patchable}
{_vivado_flow(name)}\
if {{$pins ne ""}} {{ write_bitstream -force $here/{name}_top.bit }}
"""


def _vivado_files(names: list[str], top: str, images: list[str]) -> str:
    files = " ".join(f"$here/{n}" for n in names)
    memories = " ".join(f"$here/{image}.mem" for image in images)
    return f"""\
read_verilog -sv [list {files}]
read_verilog $here/{top}
read_mem [list {memories}]
"""


def _vivado_flow(name: str) -> str:
    return f"""\
opt_design
place_design
route_design
report_utilization -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt
write_checkpoint -force $here/{name}_top.dcp
"""


def quartus(name: str, names: list[str], top: str, axi_clock: bool) -> str:
    """Quartus' script for the core alone, with virtual pins."""
    clocks = "set_instance_assignment -name VIRTUAL_PIN OFF -to s_axil_aclk\n" * axi_clock
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# quartus_sh -t quartus.tcl FAMILY DEVICE   (without arguments: Cyclone V, 5CEBA4F23C7)
{_quartus_project(name, names, top)}\
set_instance_assignment -name VIRTUAL_PIN ON -to *
set_instance_assignment -name VIRTUAL_PIN OFF -to aclk
{clocks}execute_flow -compile
project_close
"""


def quartus_of_a_board(name: str, names: list[str], top: str) -> str:
    """Quartus' script for a core on a serial line: a bitstream, if it is told the pins."""
    pins = 'set pins [expr {$argc > 2 ? [file normalize [lindex $argv 2]] : ""}]\n'
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# quartus_sh -t quartus.tcl FAMILY DEVICE PINS.tcl   (without arguments: Cyclone V, 5CEBA4F23C7)
# PINS.tcl says where clk, resetn, rx, tx and irq are (set_location_assignment); without it all pins
# but the clock's are virtual: resources and timing.
{_quartus_project(name, names, top, pins)}\
if {{$pins ne ""}} {{
  source $pins
}} else {{
  set_instance_assignment -name VIRTUAL_PIN ON -to *
  set_instance_assignment -name VIRTUAL_PIN OFF -to clk
}}
execute_flow -compile
project_close
"""


def _quartus_project(name: str, names: list[str], top: str, arguments: str = "") -> str:
    """The project with its files; ``arguments``: lines that read those behind FAMILY DEVICE."""
    files = "\n".join(
        f"set_global_assignment -name SYSTEMVERILOG_FILE [file join $here {n}]" for n in names
    )
    return f"""\
set here [file dirname [file normalize [info script]]]
set family [expr {{$argc > 0 ? [lindex $argv 0] : "Cyclone V"}}]
set device [expr {{$argc > 1 ? [lindex $argv 1] : "5CEBA4F23C7"}}]
{arguments}load_package flow
project_new -overwrite {name}_top
set_global_assignment -name FAMILY $family
set_global_assignment -name DEVICE $device
set_global_assignment -name TOP_LEVEL_ENTITY {name}_top
set_global_assignment -name SEARCH_PATH $here
set_global_assignment -name VERILOG_MACRO "SYNTHESIS=1"
{files}
set_global_assignment -name VERILOG_FILE [file join $here {top}]
set_global_assignment -name SDC_FILE [file join $here clock.sdc]
set_global_assignment -name SDC_FILE [file join $here crossing.sdc]
"""
