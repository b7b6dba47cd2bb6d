# SPDX-License-Identifier: Apache-2.0
"""Runs a vendor's script under tclsh, with recording stubs in place of the vendor's commands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

# Of AMD's Vivado Design Suite Tcl Command Reference Guide (UG835), constraints in the last line;
# ipx:: are the IP packager's own, as Vivado's journal and packaging scripts have them.
VIVADO = frozenset(
    """
    read_verilog read_mem read_xdc synth_design opt_design place_design route_design
    report_utilization report_timing_summary write_checkpoint write_bitstream
    create_project current_project close_project set_property update_ip_catalog get_files
    create_bd_design create_bd_cell connect_bd_net connect_bd_intf_net get_bd_pins get_bd_intf_pins
    make_bd_intf_pins_external assign_bd_address validate_bd_design save_bd_design make_wrapper
    launch_runs wait_on_run write_hw_platform
    ipx::open_core ipx::current_core ipx::create_xgui_files ipx::update_checksums
    ipx::check_integrity ipx::save_core ipx::unload_core
    get_property current_design
    create_clock set_false_path set_max_delay get_ports get_cells get_pins
    """.split()
)
# Of the Quartus Prime Standard Edition User Guide: Scripting, packages ::quartus::project, ::flow
# and ::misc; the last line are those of ::sdc and ::sta.
QUARTUS = frozenset(
    """
    load_package project_new project_close set_global_assignment set_instance_assignment
    set_location_assignment execute_flow
    create_clock set_false_path set_max_delay set_min_delay get_ports get_registers get_pins
    """.split()
)

# What is no command of Tcl comes here: recorded if it is known, and its last word is its result.
_STUBS = """
set known [list %s]
proc unknown {args} {
  if {[lindex $args 0] ni $::known} { error "no such command: [lindex $args 0]" }
  puts [join [string map [list \\n " " \\t " "] $args] \\t]
  return [lindex $args end]
}
set argv [list %s]
set argc [llength $argv]
source %s
"""


def run_script(script: Path, known: frozenset[str], *arguments: str) -> list[list[str]]:
    """The vendor's commands that a script calls, each with its words."""
    done = tclsh(script, known, *arguments)
    assert not done.stderr, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def tclsh(
    script: Path, known: frozenset[str], *arguments: str, answers: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a script; ``answers`` defines those of the known commands whose results it looks at."""
    assert set(re.findall(r"^proc (\S+)", answers, re.M)) <= known
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is missing: apt install tcl")
    stubs = _STUBS % (" ".join(known), " ".join(arguments), script)
    return subprocess.run(
        ["tclsh"],
        input=f"{answers}\n{stubs}",
        capture_output=True,
        text=True,
        check=False,
        cwd=script.parent,
    )
