// SPDX-License-Identifier: Apache-2.0
// bramcast_table: looks RQ clamped values up in an activation table; one copy of the table each.
//
// Golden twin: docs/format.md, NEST. The host (bramcast_image) writes all copies and reads the first one.
//
// DATA_BITS = 8: a word is the result for the value with these 8 bits; it stands in result_o two clock
// edges after value_i.
//
// DATA_BITS = 16: a word {slope[15:0], value[15:0]} is a straight line for the 256 values with the same
// upper byte; the lower one, 0..255, says where on it. Nothing saturates: the packer stores no line
// that leaves the range. One DSP for each value, result_o four clock edges after value_i.
//
//   clk       _/~\_/~\_/~\_/~\_/~\_/~\_
//   value_i   __| A | B |______________
//   result_o  ______________| A | B |__   8 bits two cycles earlier
//
`default_nettype none
module bramcast_table #(
    parameter int RQ          = 2,    // 1..64
    parameter int DATA_BITS   = 8,    // 8 or 16
    parameter int TABLE_DEPTH = 256,  // 256.., a multiple of 256
    parameter int TABLE_BITS  = 1,    // bits of a table's number
    parameter     IMAGE       = "",
    parameter     PLUSARG     = "",
    parameter int BANKED      = 0     // as in bramcast_image
) (
    input  logic                    clk,
    input  logic [TABLE_BITS-1:0]   number_i,
    input  logic [RQ*DATA_BITS-1:0] value_i,
    output logic [RQ*DATA_BITS-1:0] result_o,
    // host, as in bramcast_image
    input  logic                    host_read_i,
    input  logic                    host_we_i,
    input  logic [23:0]             host_word_i,
    input  logic [6:0]              host_beat_i,
    input  logic [31:0]             host_data_i,
    output logic [31:0]             host_data_o
);

  localparam int ADDRESS_BITS = $clog2(TABLE_DEPTH);
  localparam int WORD_BITS    = (DATA_BITS == 8) ? 8 : 32;

  generate
    if (TABLE_DEPTH < 256 || TABLE_DEPTH % 256 != 0) begin : g_check
      TABLE_DEPTH_must_be_a_multiple_of_256 u_error ();
    end
  endgenerate

  genvar r;
  generate
    for (r = 0; r < RQ; r = r + 1) begin : g_copy
      logic [TABLE_BITS+7:0] address;
      logic [WORD_BITS-1:0]  word;  // two edges after value_i
      logic [31:0]           host_data;
      assign address = {number_i, value_i[DATA_BITS*(r+1)-1 -: 8]};
      bramcast_image #(
          .WORD_BITS(WORD_BITS),
          .DEPTH(TABLE_DEPTH),
          .IMAGE(IMAGE),
          .PLUSARG(PLUSARG),
          .BANKED(BANKED)
      ) u_table (
          .clk(clk),
          .raddr_i(address[ADDRESS_BITS-1:0]),
          .word_o(word),
          .host_read_i(host_read_i),
          .host_we_i(host_we_i),
          .host_word_i(host_word_i),
          .host_beat_i(host_beat_i),
          .host_data_i(host_data_i),
          .host_data_o(host_data)
      );
      if (DATA_BITS == 8) begin : g_entry
        assign result_o[8*r +: 8] = word;
      end else begin : g_line
        logic [7:0]         rest_q, rest_q2;
        logic signed [8:0]  rest;
        logic signed [15:0] slope;
        logic signed [23:0] product_q3;  // |slope * rest| < 2**23
        logic [23:0]        start_q3;    // the line's start and half an LSB
        logic [23:0]        sum_q4;
        assign rest  = {1'b0, rest_q2};
        assign slope = word[31:16];
        always_ff @(posedge clk) begin
          rest_q     <= value_i[DATA_BITS*r +: 8];
          rest_q2    <= rest_q;
          product_q3 <= slope * rest;
          start_q3   <= {word[15:0], 8'h80};
          sum_q4     <= start_q3 + $unsigned(product_q3);
        end
        assign result_o[DATA_BITS*r +: DATA_BITS] = sum_q4[23:8];
        logic unused_fraction;
        assign unused_fraction = &{1'b0, sum_q4[7:0]};
      end
      if (r == 0) begin : g_first
        assign host_data_o = host_data;
      end
      logic unused;
      assign unused = &{1'b0, address, host_data};
    end
  endgenerate

endmodule
`default_nettype wire
