// SPDX-License-Identifier: Apache-2.0
// bramcast_watch: ends a run that takes too long, and counts the cycles that people tune by.
//
// Golden twin: none; docs/axi.md, LIMIT, SINK_LIMIT, WAITED, STALL_IN, STALL_OUT and OCCUPANCY.
//
// A run's cycles are those of cycles_o: with running_i, the first one apart. Those in which a beat waits
// for the sink count for SINK_LIMIT, the others for LIMIT, unless stopped_i is high; 0 is no limit. Three
// cycles behind the one with which a count meets its limit timeout_o or sink_o is high for a cycle, once a
// run, unless the run has ended meanwhile. A write to a limit begins its count anew.
//
//   clk        _/~\_/~\_/~\_/~\_/~\_/~\_    LIMIT = 2
//   running_i  __/~~~~~~~~~~~~~~~~~~~~~~
//   ran_q      --| 0 | 0 | 0 | 1 | 2 |--    timeout_o comes in the next cycle
//
// waited_o is what has been counted in the last completed run when snap_i was high; done_i comes in the
// cycle behind a run's last one.
//
`default_nettype none
module bramcast_watch #(
    parameter int LIMIT    = 1 << 27,  // 0.., of the register after reset
    parameter int COUNTERS = 0         // 1: STALL_IN, STALL_OUT and OCCUPANCY are there
) (
    input  logic        clk,
    input  logic        rst,
    // registers
    input  logic        put_limit_i,
    input  logic        put_sink_limit_i,
    input  logic [31:0] data_i,
    output logic [31:0] limit_o,
    output logic [31:0] sink_limit_o,
    input  logic        snap_i,
    output logic [31:0] waited_o,
    input  logic        clear_i,        // the three counters
    output logic [31:0] stall_in_o,
    output logic [31:0] stall_out_o,
    output logic [31:0] occupancy_o,
    // core
    input  logic        running_i,
    input  logic        stopped_i,      // behind STOP_AFTER
    input  logic        busy_i,
    input  logic        done_i,
    input  logic        s_axis_tvalid,
    input  logic        s_axis_tready,
    input  logic        m_axis_tvalid,
    input  logic        m_axis_tready,
    output logic        timeout_o,
    output logic        sink_o
);

  logic        running_q, running_q2, wait_q;  // a cycle ago, two
  logic        stopped_q;
  logic        armed_q;                       // no limit has been met in this run
  logic        limited_q, sink_limited_q;     // the limit is not 0
  logic        limit_hit_q, sink_hit_q;
  logic [31:0] ran_q, waited_q, last_waited_q;  // of the run in work, of the last completed one

  logic        may_hit;

  assign may_hit   = running_i && running_q && armed_q && !limit_hit_q && !sink_hit_q;
  assign timeout_o = limit_hit_q && running_i;
  assign sink_o    = sink_hit_q && running_i;

  always_ff @(posedge clk) begin
    running_q  <= running_i;
    running_q2 <= running_q;
    stopped_q  <= stopped_i;
    wait_q     <= m_axis_tvalid && !m_axis_tready;

    if (!running_q || !running_q2 || put_limit_i) ran_q <= 32'd0;
    else if (!wait_q && !stopped_q) ran_q <= ran_q + 32'd1;
    if (!running_q || put_sink_limit_i) waited_q <= 32'd0;
    else if (wait_q) waited_q <= waited_q + 32'd1;

    limit_hit_q <= may_hit && limited_q && ran_q == limit_o;
    sink_hit_q  <= may_hit && sink_limited_q && waited_q == sink_limit_o;
    if (!running_q) armed_q <= 1'b1;
    else if (limit_hit_q || sink_hit_q) armed_q <= 1'b0;

    if (done_i) last_waited_q <= waited_q;
    if (snap_i) waited_o <= last_waited_q;

    if (put_limit_i) begin
      limit_o   <= data_i;
      limited_q <= data_i != 32'd0;
    end
    if (put_sink_limit_i) begin
      sink_limit_o   <= data_i;
      sink_limited_q <= data_i != 32'd0;
    end

    if (rst) begin
      running_q      <= 1'b0;
      wait_q         <= 1'b0;
      armed_q        <= 1'b1;
      limit_hit_q    <= 1'b0;
      sink_hit_q     <= 1'b0;
      limit_o        <= LIMIT;
      limited_q      <= LIMIT != 0;
      sink_limit_o   <= 32'd0;
      sink_limited_q <= 1'b0;
      last_waited_q  <= 32'd0;
      waited_o       <= 32'd0;
    end
  end

  generate
    if (COUNTERS != 0) begin : g_counters
      logic stall_in_q, busy_q;
      always_ff @(posedge clk) begin
        stall_in_q <= s_axis_tready && !s_axis_tvalid;
        busy_q     <= busy_i;
        if (stall_in_q) stall_in_o <= stall_in_o + 32'd1;
        if (wait_q) stall_out_o <= stall_out_o + 32'd1;
        if (busy_q) occupancy_o <= occupancy_o + 32'd1;
        if (rst || clear_i) begin
          stall_in_q  <= 1'b0;
          busy_q      <= 1'b0;
          stall_in_o  <= 32'd0;
          stall_out_o <= 32'd0;
          occupancy_o <= 32'd0;
        end
      end
    end else begin : g_no_counters
      logic unused;
      assign unused      = &{1'b0, clear_i, busy_i, s_axis_tvalid, s_axis_tready};
      assign stall_in_o  = 32'd0;
      assign stall_out_o = 32'd0;
      assign occupancy_o = 32'd0;
    end
  endgenerate

endmodule
`default_nettype wire
