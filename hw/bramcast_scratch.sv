// SPDX-License-Identifier: Apache-2.0
// bramcast_scratch: the scratchpad: TAPS banks side by side, one sub-word of LANES elements each.
//
// Golden twin: docs/format.md, "Words of the scratchpad". A word is read whole; word_o follows raddr_i by
// two clock edges, as in bramcast_memory. What is written is a sub-word of results, or a unit of
// the input frame: max(LANES, TAPS) elements, one or (LANES < TAPS) several sub-words.
//
//   clk        _/~\_/~\_     unit_i low: sub-word address_i, data in the lowest LANES elements;
//   we_i       __/~~\___     unit_i high: unit unit_address_i
//   data_i     --|  |---
//
`default_nettype none
module bramcast_scratch #(
    parameter int LANES        = 16,    // 1..64, a power of two
    parameter int TAPS         = 1,     // 1, 2, 4, 8
    parameter int DATA_BITS    = 8,     // 8 or 16
    parameter int DEPTH        = 1024,  // words
    parameter int ADDRESS_BITS = (DEPTH > 1) ? $clog2(DEPTH) : 1,                 // follows: of a word
    parameter int SUB_BITS     = ADDRESS_BITS + $clog2(TAPS),                     // of a sub-word
    parameter int UNIT         = (LANES > TAPS) ? LANES : TAPS,                   // elements of a unit
    parameter int UNIT_BITS    = ADDRESS_BITS + $clog2((LANES > TAPS) ? TAPS : LANES)  // its address
) (
    input  logic                            clk,
    input  logic                            we_i,
    input  logic                            unit_i,
    input  logic [UNIT_BITS-1:0]            unit_address_i,
    input  logic [SUB_BITS-1:0]             address_i,
    input  logic [UNIT*DATA_BITS-1:0]       data_i,
    input  logic [ADDRESS_BITS-1:0]         raddr_i,
    output logic [LANES*TAPS*DATA_BITS-1:0] word_o
);

  localparam int SUB        = LANES * DATA_BITS;  // bits of a sub-word
  localparam int PER_UNIT   = UNIT / LANES;       // sub-words
  localparam int UNITS      = TAPS / PER_UNIT;    // of a word

  logic [ADDRESS_BITS-1:0] waddr;
  assign waddr = unit_i ? unit_address_i[UNIT_BITS-1 -: ADDRESS_BITS]
                        : address_i[SUB_BITS-1 -: ADDRESS_BITS];

  genvar t;
  generate
    for (t = 0; t < TAPS; t = t + 1) begin : g_bank
      logic           in_unit, in_word;  // the address means this bank
      logic [SUB-1:0] data;
      if (UNITS > 1) begin : g_units
        assign in_unit = unit_address_i[$clog2(UNITS)-1:0] == ($clog2(UNITS))'(t / PER_UNIT);
      end else begin : g_unit
        assign in_unit = 1'b1;
      end
      if (TAPS > 1) begin : g_sub_words
        assign in_word = address_i[$clog2(TAPS)-1:0] == ($clog2(TAPS))'(t);
      end else begin : g_word
        assign in_word = 1'b1;
      end
      if (PER_UNIT > 1) begin : g_part
        assign data = unit_i ? data_i[SUB*(t%PER_UNIT) +: SUB] : data_i[SUB-1:0];
      end else begin : g_whole
        assign data = data_i;
      end
      bramcast_memory #(
          .WORD_BITS(SUB),
          .DEPTH(DEPTH)
      ) u_bank (
          .clk(clk),
          .we_i(we_i && (unit_i ? in_unit : in_word)),
          .waddr_i(waddr),
          .wdata_i(data),
          .raddr_i(raddr_i),
          .word_o(word_o[SUB*t +: SUB])
      );
    end
  endgenerate

endmodule
`default_nettype wire
