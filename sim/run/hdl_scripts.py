# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vivado and Quartus of a project that ``bramcast hdl`` writes."""


def vivado(name: str, names: list[str], top: str, images: list[str]) -> str:
    """Vivado's script for the core alone, out of context."""
    files = " ".join(f"$here/{n}" for n in names)
    memories = " ".join(f"$here/{image}.mem" for image in images)
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# vivado -mode batch -source vivado.tcl -tclargs PART
# Synthesizes the core alone, out of context: resources and timing. For your own project: add these
# files (the .mem files too, as memory files) and instantiate {name}_top.
set here [file dirname [file normalize [info script]]]
set part [expr {{$argc > 0 ? [lindex $argv 0] : "xc7a35ticsg324-1L"}}]
read_verilog -sv [list {files}]
read_verilog $here/{top}
read_mem [list {memories}]
read_xdc -mode out_of_context $here/clock.xdc
read_xdc $here/crossing.xdc
synth_design -top {name}_top -part $part -mode out_of_context
opt_design
place_design
route_design
report_utilization -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt
write_checkpoint -force $here/{name}_top.dcp
"""


def quartus(name: str, names: list[str], top: str, axi_clock: bool) -> str:
    """Quartus' script for the core alone, with virtual pins."""
    files = "\n".join(
        f"set_global_assignment -name SYSTEMVERILOG_FILE [file join $here {n}]" for n in names
    )
    clocks = "set_instance_assignment -name VIRTUAL_PIN OFF -to s_axil_aclk\n" * axi_clock
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# quartus_sh -t quartus.tcl FAMILY DEVICE   (without arguments: Cyclone V, 5CEBA4F23C7)
set here [file dirname [file normalize [info script]]]
set family [expr {{$argc > 0 ? [lindex $argv 0] : "Cyclone V"}}]
set device [expr {{$argc > 1 ? [lindex $argv 1] : "5CEBA4F23C7"}}]
load_package flow
project_new -overwrite {name}_top
set_global_assignment -name FAMILY $family
set_global_assignment -name DEVICE $device
set_global_assignment -name TOP_LEVEL_ENTITY {name}_top
set_global_assignment -name SEARCH_PATH $here
{files}
set_global_assignment -name VERILOG_FILE [file join $here {top}]
set_global_assignment -name SDC_FILE [file join $here clock.sdc]
set_global_assignment -name SDC_FILE [file join $here crossing.sdc]
set_instance_assignment -name VIRTUAL_PIN ON -to *
set_instance_assignment -name VIRTUAL_PIN OFF -to aclk
{clocks}execute_flow -compile
project_close
"""


def vivado_of_a_board(name: str, names: list[str], top: str, images: list[str]) -> str:
    """Vivado's script for a core on a serial line: a bitstream, if it is told the pins."""
    files = " ".join(f"$here/{n}" for n in names)
    memories = " ".join(f"$here/{image}.mem" for image in images)
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# vivado -mode batch -source vivado.tcl -tclargs PART PINS.xdc
# Writes {name}_top.bit. PINS.xdc says where clk, resetn, rx, tx and irq are; without it the core
# alone is synthesized, out of context: resources and timing.
set here [file dirname [file normalize [info script]]]
set part [expr {{$argc > 0 ? [lindex $argv 0] : "xc7a35ticsg324-1L"}}]
set pins [expr {{$argc > 1 ? [file normalize [lindex $argv 1]] : ""}}]
read_verilog -sv [list {files}]
read_verilog $here/{top}
read_mem [list {memories}]
read_xdc $here/clock.xdc
read_xdc $here/crossing.xdc
if {{$pins ne ""}} {{ read_xdc $pins }}
synth_design -top {name}_top -part $part -mode [expr {{$pins ne "" ? "default" : "out_of_context"}}]
opt_design
place_design
route_design
report_utilization -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt
write_checkpoint -force $here/{name}_top.dcp
if {{$pins ne ""}} {{ write_bitstream -force $here/{name}_top.bit }}
"""


def quartus_of_a_board(name: str, names: list[str], top: str) -> str:
    """Quartus' script for a core on a serial line: a bitstream, if it is told the pins."""
    files = "\n".join(
        f"set_global_assignment -name SYSTEMVERILOG_FILE [file join $here {n}]" for n in names
    )
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# quartus_sh -t quartus.tcl FAMILY DEVICE PINS.tcl   (without arguments: Cyclone V, 5CEBA4F23C7)
# PINS.tcl says where clk, resetn, rx, tx and irq are (set_location_assignment); without it all pins
# but the clock's are virtual: resources and timing.
set here [file dirname [file normalize [info script]]]
set family [expr {{$argc > 0 ? [lindex $argv 0] : "Cyclone V"}}]
set device [expr {{$argc > 1 ? [lindex $argv 1] : "5CEBA4F23C7"}}]
set pins [expr {{$argc > 2 ? [file normalize [lindex $argv 2]] : ""}}]
load_package flow
project_new -overwrite {name}_top
set_global_assignment -name FAMILY $family
set_global_assignment -name DEVICE $device
set_global_assignment -name TOP_LEVEL_ENTITY {name}_top
set_global_assignment -name SEARCH_PATH $here
{files}
set_global_assignment -name VERILOG_FILE [file join $here {top}]
set_global_assignment -name SDC_FILE [file join $here clock.sdc]
set_global_assignment -name SDC_FILE [file join $here crossing.sdc]
if {{$pins ne ""}} {{
  source $pins
}} else {{
  set_instance_assignment -name VIRTUAL_PIN ON -to *
  set_instance_assignment -name VIRTUAL_PIN OFF -to clk
}}
execute_flow -compile
project_close
"""
