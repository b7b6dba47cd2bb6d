# SPDX-License-Identifier: Apache-2.0
"""A cocotb bench that notes what stands on the ports of bramcast_core, cycle by cycle.

bench/pictures.py draws the timing pictures of docs/ from it, tests/cosim/test_pictures.py too.

    TIMING_FRAMES   lengths of the frames that are sent, separated by commas
    TIMING_ABORT    the beat behind which abort_i comes, in the cycle after: s2 for element 2 of the
                    input, m1 for result 1; "" for none
    TIMING_OUT      file for the trace: JSON, one list per port; before a rising edge of clk each
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from bramcast.sim.benches.unit_benches import put

CLOCK_NS = 10
QUIET = 6  # cycles without a frame in work that end the trace
PORTS = (
    "s_axis_tvalid", "s_axis_tready", "s_axis_tlast", "busy_o", "taken_o", "dropped_o",
    "frame_error_o", "m_axis_tvalid", "m_axis_tready", "m_axis_tlast", "m_axis_tuser", "done_o",
    "abort_i", "aborting_o",
)  # fmt: skip


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def ports_are_noted(dut):
    """Frames end to end, a sink that always takes; perhaps an abort."""
    lengths = [int(n) for n in os.environ["TIMING_FRAMES"].split(",")]
    abort = os.environ["TIMING_ABORT"]
    ends = [element == length for length in lengths for element in range(1, length + 1)]
    names = [f"{chr(97 + f)}{e}" for f, n in enumerate(lengths) for e in range(n)]
    put(dut, rst=1, start_i=0, abort_i=0, clear_error_i=0, s_axis_tvalid=0, s_axis_tdata=0)
    put(dut, s_axis_tlast=0, s_axis_tkeep=1, m_axis_tready=1, stop_after_i=0)
    put(dut, host_read_i=0, host_we_i=0, host_word_i=0, host_beat_i=0, host_data_i=0)
    Clock(dut.clk, CLOCK_NS, "ns").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    put(dut, rst=0)
    while not (dut.ready_o.value.is_resolvable and dut.ready_o.value):
        await RisingEdge(dut.clk)
    put(dut, start_i=1)
    for _ in range(4):
        await RisingEdge(dut.clk)

    trace: dict[str, list[str]] = {port: [] for port in (*PORTS, "s_axis_tdata", "m_axis_tdata")}
    sent = beats = quiet = cycle = 0
    pending = False
    while quiet < QUIET:
        more = 0 < cycle and sent < len(names)
        put(dut, s_axis_tvalid=int(more), s_axis_tdata=sent & 15, abort_i=int(pending))
        put(dut, s_axis_tlast=int(more and ends[sent]))
        pending = False
        await ReadOnly()
        for port in PORTS:
            trace[port].append(str(getattr(dut, port).value))
        trace["s_axis_tdata"].append(names[sent] if more else "")
        mark = int(dut.m_axis_tuser.value) >> 16
        standing = dut.m_axis_tvalid.value == 1
        trace["m_axis_tdata"].append(("mark" if mark else f"y{beats}") if standing else "")
        quiet = quiet + 1 if cycle and not more and dut.busy_o.value == 0 else 0
        if more and dut.s_axis_tready.value == 1:
            pending = abort == f"s{sent}"
            sent += 1
        if standing and dut.m_axis_tready.value == 1:
            pending = abort == f"m{beats}"
            beats = 0 if mark or dut.m_axis_tlast.value == 1 else beats + 1
        if pending:
            abort = ""
        await RisingEdge(dut.clk)
        cycle += 1
    Path(os.environ["TIMING_OUT"]).write_text(json.dumps(trace))
