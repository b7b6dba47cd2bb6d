// SPDX-License-Identifier: Apache-2.0
// bramcast_sim_top: the core with its clock and reset; simulation only.
//
// Golden twin: none. The clock runs in HDL, so that a test bench may sleep while the core works: it is
// woken by done_o or by the streams. Clock period 10 time units; rst falls with the eighth falling edge.
//
// The outputs change one time unit after the clock edge: a test bench that is woken by the edge reads
// what the core sees at this edge, in every simulator (Verilator wakes it after all registers have
// changed). What it writes is seen at the next edge.
//
// The one file without a synthesizable line; synthesis sees it empty.
//
`ifndef SYNTHESIS
`default_nettype none
module bramcast_sim_top #(
    parameter int LANES         = 16,
    parameter int TAPS          = 1,
    parameter int DATA_BITS     = 8,
    parameter int WEIGHT_BITS   = 8,
    parameter int RQ            = 2,
    parameter int PROGRAM_DEPTH = 128,
    parameter int WEIGHTS_DEPTH = 1024,
    parameter int BIAS_DEPTH    = 64,
    parameter int TABLE_DEPTH   = 0,
    parameter int SCRATCH_DEPTH = 1024,
    parameter int NARROW        = 0,
    parameter int GATES         = 0,
    parameter int TILES         = 1,
    parameter int PAIRS         = 0,
    parameter int FRAME_DEPTH   = 0,
    parameter int TLAST_ENDS    = 1,
    parameter int BEAT          = 1
) (
    input  logic                 start_i,
    output logic                 busy_o,
    output logic                 done_o,
    output logic [31:0]          cycles_o,
    output logic [1:0]           frame_error_o,
    input  logic [BEAT*DATA_BITS-1:0]   s_axis_tdata,
    input  logic [BEAT*DATA_BITS/8-1:0] s_axis_tkeep,
    input  logic                 s_axis_tvalid,
    output logic                 s_axis_tready,
    input  logic                 s_axis_tlast,
    output logic [31:0]          m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    output logic                 m_axis_tlast
);

  logic clk;
  logic rst;

  logic        busy, done, s_tready, m_tvalid, m_tlast;
  logic [1:0]  frame_error;
  logic [31:0] cycles, m_tdata;

  logic        taken, dropped, ready, program_error, unused;
  logic        aborting, running, broken;
  logic [15:0] class_index;
  logic [16:0] tuser;
  logic [31:0] host_data;
  logic [20:0] nests;
  logic        stopped;
  assign unused = &{1'b0, aborting, running, broken, taken, dropped, ready, program_error, class_index, tuser,
                    host_data, nests, stopped};

  assign #1 busy_o        = busy;
  assign #1 done_o        = done;
  assign #1 cycles_o      = cycles;
  assign #1 frame_error_o = frame_error;
  assign #1 s_axis_tready = s_tready;
  assign #1 m_axis_tdata  = m_tdata;
  assign #1 m_axis_tvalid = m_tvalid;
  assign #1 m_axis_tlast  = m_tlast;

  initial clk = 1'b0;
  always #5 clk = !clk;

  initial begin
    rst = 1'b1;
    repeat (8) @(negedge clk);
    rst = 1'b0;
  end

  bramcast_core #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .WEIGHT_BITS(WEIGHT_BITS),
      .RQ(RQ),
      .PROGRAM_DEPTH(PROGRAM_DEPTH),
      .WEIGHTS_DEPTH(WEIGHTS_DEPTH),
      .BIAS_DEPTH(BIAS_DEPTH),
      .TABLE_DEPTH(TABLE_DEPTH),
      .SCRATCH_DEPTH(SCRATCH_DEPTH),
      .NARROW(NARROW),
      .GATES(GATES),
      .TILES(TILES),
      .PAIRS(PAIRS),
      .FRAME_DEPTH(FRAME_DEPTH),
      .TLAST_ENDS(TLAST_ENDS),
      .BEAT(BEAT)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .start_i(start_i),
      .abort_i(1'b0),
      .aborting_o(aborting),
      .running_o(running),
      .broken_o(broken),
      .taken_o(taken),
      .dropped_o(dropped),
      .busy_o(busy),
      .done_o(done),
      .cycles_o(cycles),
      .class_o(class_index),
      .ready_o(ready),
      .program_error_o(program_error),
      .frame_error_o(frame_error),
      .clear_error_i(2'b00),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tkeep(s_axis_tkeep),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_tready),
      .s_axis_tlast(s_axis_tlast),
      .m_axis_tdata(m_tdata),
      .m_axis_tvalid(m_tvalid),
      .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_tlast),
      .m_axis_tuser(tuser),
      .nests_o(nests),
      .stop_after_i(21'd0),
      .stopped_o(stopped),
      .host_read_i(6'd0),
      .host_we_i(4'd0),
      .host_word_i(24'd0),
      .host_beat_i(7'd0),
      .host_data_i(32'd0),
      .host_data_o(host_data)
  );

endmodule
`default_nettype wire
`endif
