// SPDX-License-Identifier: Apache-2.0
// bramcast_line: the core on a serial line without registers, for parts that have no room for them: a frame's bytes come
// in, its results' bytes go out.
//
// Golden twin: sim/folder/bench_line.sv.in is the other end of the line; docs/boards has the bytes.
//
//   rx   the frame's elements, lowest byte first; frames are counted, nothing stands between them
//   tx   32 bits for each result, lowest byte first
//
// A break (a byte without a stop bit) resets the core: behind it the next byte begins a frame. Bytes that come while the
// core computes are lost but for one element; error_o stays high then, until a break, as with a program in error.
//
// Parameters are those of bramcast_core but for TLAST_ENDS, LEDGER_DEPTH, PEEK and BEAT, and DIVISOR of bramcast_uart.
//
`default_nettype none
module bramcast_line #(
    parameter int LANES         = 16,
    parameter int TAPS          = 1,
    parameter int DATA_BITS     = 8,
    parameter int WEIGHT_BITS   = 8,
    parameter int RQ            = 2,
    parameter int NARROW        = 0,
    parameter int GATES         = 0,
    parameter int TILES         = 1,
    parameter int PAIRS         = 0,
    parameter int PROGRAM_DEPTH = 128,
    parameter int WEIGHTS_DEPTH = 1024,
    parameter int BIAS_DEPTH    = 64,
    parameter int TABLE_DEPTH   = 0,
    parameter int SCRATCH_DEPTH = 1024,
    parameter int FRAME_DEPTH   = 0,
    parameter int DIVISOR       = 868,  // 4..65536, clock cycles of a bit on the line
    parameter     PROGRAM_IMAGE = "",
    parameter     WEIGHTS_IMAGE = "",
    parameter     BIAS_IMAGE    = "",
    parameter     TABLE_IMAGE   = ""
) (
    input  logic        clk,
    input  logic        rst,      // synchronous, active high
    input  logic        rx,
    output logic        tx,
    output logic [15:0] class_o,  // of the last frame; all bits 1 until there is one
    output logic        busy_o,
    output logic        error_o
);

  logic                 rx_valid, rx_error, tx_ready;
  logic [7:0]           rx_byte;
  logic                 core_rst;
  logic [DATA_BITS-1:0] in_q;
  logic                 in_valid_q, in_ready;
  logic [31:0]          result, out_q;
  logic [2:0]           left_q;     // bytes of out_q that are still to go
  logic                 result_valid, result_ready;
  logic [15:0]          class_index;
  logic                 done, program_error, broken;
  logic                 seen_q, error_q;

  bramcast_uart #(
      .DIVISOR(DIVISOR)
  ) u_uart (
      .clk(clk),
      .rst(rst),
      .rx(rx),
      .tx(tx),
      .valid_o(rx_valid),
      .error_o(rx_error),
      .byte_o(rx_byte),
      .send_i(left_q != 3'd0),
      .byte_i(out_q[7:0]),
      .ready_o(tx_ready)
  );

  assign core_rst = rst || (rx_valid && rx_error);

  // ------------------------------------------------------------------ elements

  logic element;  // a byte ends one
  generate
    if (DATA_BITS == 8) begin : g_byte
      assign element = rx_valid;
      always_ff @(posedge clk) if (rx_valid) in_q <= rx_byte;
    end else begin : g_bytes
      logic odd_q;
      assign element = rx_valid && odd_q;
      always_ff @(posedge clk) begin
        if (rx_valid) begin
          in_q  <= {rx_byte, in_q[DATA_BITS-1:8]};
          odd_q <= !odd_q;
        end
        if (core_rst) odd_q <= 1'b0;
      end
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (in_ready) in_valid_q <= 1'b0;
    if (element) in_valid_q <= 1'b1;
    if ((rx_valid && in_valid_q && !in_ready) || program_error || broken) error_q <= 1'b1;
    if (done) seen_q <= 1'b1;
    if (core_rst) begin
      in_valid_q <= 1'b0;
      error_q    <= 1'b0;
    end
    if (rst) seen_q <= 1'b0;
  end
  assign error_o = error_q;
  assign class_o = seen_q ? class_index : '1;

  // ------------------------------------------------------------------ results

  assign result_ready = left_q == 3'd0;
  always_ff @(posedge clk) begin
    if (result_valid && result_ready) begin
      out_q  <= result;
      left_q <= 3'd4;
    end else if (left_q != 3'd0 && tx_ready) begin
      out_q  <= {8'd0, out_q[31:8]};
      left_q <= left_q - 3'd1;
    end
    if (core_rst) left_q <= 3'd0;
  end

  // ------------------------------------------------------------------ core

  logic        unused, aborting, running, taken, dropped, ready, last, stopped;
  logic [31:0] cycles, host_data;
  logic [16:0] user;
  logic [20:0] nests;
  logic [1:0]  frame_error;
  assign unused = &{1'b0, aborting, running, taken, dropped, ready, last, stopped, cycles, host_data, user, nests,
                    frame_error};

  bramcast_core #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .WEIGHT_BITS(WEIGHT_BITS),
      .RQ(RQ),
      .NARROW(NARROW),
      .GATES(GATES),
      .TILES(TILES),
      .PAIRS(PAIRS),
      .PROGRAM_DEPTH(PROGRAM_DEPTH),
      .WEIGHTS_DEPTH(WEIGHTS_DEPTH),
      .BIAS_DEPTH(BIAS_DEPTH),
      .TABLE_DEPTH(TABLE_DEPTH),
      .SCRATCH_DEPTH(SCRATCH_DEPTH),
      .FRAME_DEPTH(FRAME_DEPTH),
      .TLAST_ENDS(0),
      .PROGRAM_IMAGE(PROGRAM_IMAGE),
      .WEIGHTS_IMAGE(WEIGHTS_IMAGE),
      .BIAS_IMAGE(BIAS_IMAGE),
      .TABLE_IMAGE(TABLE_IMAGE)
  ) u_core (
      .clk(clk),
      .rst(core_rst),
      .start_i(1'b1),
      .abort_i(1'b0),
      .aborting_o(aborting),
      .running_o(running),
      .broken_o(broken),
      .taken_o(taken),
      .dropped_o(dropped),
      .busy_o(busy_o),
      .done_o(done),
      .cycles_o(cycles),
      .class_o(class_index),
      .ready_o(ready),
      .program_error_o(program_error),
      .frame_error_o(frame_error),
      .clear_error_i(2'd0),
      .s_axis_tdata(in_q),
      .s_axis_tkeep({DATA_BITS / 8{1'b1}}),
      .s_axis_tvalid(in_valid_q),
      .s_axis_tready(in_ready),
      .s_axis_tlast(1'b0),
      .m_axis_tdata(result),
      .m_axis_tvalid(result_valid),
      .m_axis_tready(result_ready),
      .m_axis_tlast(last),
      .m_axis_tuser(user),
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
