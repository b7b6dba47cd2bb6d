// SPDX-License-Identifier: Apache-2.0
// hdl_bench: frames through the core, in SystemVerilog alone; what bench/speed.py measures cocotb against.
//
// Golden twin: none. Both streams run at full speed. +frames=FILE holds one element per line in hex;
// +beats=N elements a frame, +count=N frames. The core's plusargs (images, log) are as ever.
// Prints "clocks N" at the end.
//
`default_nettype none
module hdl_bench #(
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
    parameter int PAIRS         = 0
);

  localparam int ELEMENTS = 1 << 20;

  logic [DATA_BITS-1:0] elements [0:ELEMENTS-1];
  logic [8*1024-1:0]    path;
  int                   beats, count;

  logic                 clk, rst, done, tready, tvalid, tlast, m_tvalid, m_tlast, busy;
  logic [1:0]           frame_error;
  logic [31:0]          cycles, m_tdata;
  int                   next_q, beat_q, finished_q, clocks_q;

  initial begin
    if (!$value$plusargs("frames=%s", path)) $fatal(1, "+frames= is missing");
    if (!$value$plusargs("beats=%d", beats)) $fatal(1, "+beats= is missing");
    if (!$value$plusargs("count=%d", count)) $fatal(1, "+count= is missing");
    $readmemh(path, elements, 0, beats * count - 1);
  end

  initial clk = 1'b0;
  always #5 clk = !clk;

  initial begin
    rst = 1'b1;
    repeat (8) @(negedge clk);
    rst = 1'b0;
  end

  assign tvalid = next_q < beats * count;
  assign tlast  = beat_q == beats - 1;

  always_ff @(posedge clk) begin
    clocks_q <= clocks_q + 1;
    if (tvalid && tready) begin
      next_q <= next_q + 1;
      beat_q <= tlast ? 0 : beat_q + 1;
    end
    if (done) finished_q <= finished_q + 1;
    if (frame_error != 2'b00) $fatal(1, "TLAST at the wrong beat");
    if (finished_q == count) begin
      $display("clocks %0d", clocks_q);
      $finish;
    end
    if (rst) begin
      next_q     <= 0;
      beat_q     <= 0;
      finished_q <= 0;
      clocks_q   <= 0;
    end
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
      .PAIRS(PAIRS)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .start_i(1'b1),
      .abort_i(1'b0),
      .busy_o(busy),
      .done_o(done),
      .cycles_o(cycles),
      .frame_error_o(frame_error),
      .s_axis_tdata(elements[next_q]),
      .s_axis_tvalid(tvalid),
      .s_axis_tready(tready),
      .s_axis_tlast(tlast),
      .m_axis_tdata(m_tdata),
      .m_axis_tvalid(m_tvalid),
      .m_axis_tready(1'b1),
      .m_axis_tlast(m_tlast)
  );

endmodule
`default_nettype wire
