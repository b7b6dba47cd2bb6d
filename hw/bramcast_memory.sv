// SPDX-License-Identifier: Apache-2.0
// bramcast_memory: one block RAM with a write port and a read port.
//
// Golden twin: an array. The word at raddr_i stands in word_o two clock edges later: one edge in the
// RAM, one in the output register that block RAMs need to be fast.
//
//   clk      _/~\_/~\_/~\_/~\_/~\_
//   raddr_i  __| A | B |__________
//   word_o   __________| A | B |__
//
// A read in the cycle that writes the same word gives the old or the new word: whoever builds the
// addresses keeps the two apart (docs/format.md, rules 3 and 4), hence no_rw_check.
//
// Contents before the first write: IMAGE, or zeros. In simulation the file behind the plusarg that
// PLUSARG names, e.g. +weights=FILE with PLUSARG = "weights=%s", wins.
//
`default_nettype none
module bramcast_memory #(
    parameter int WORD_BITS    = 8,                              // 1..
    parameter int DEPTH        = 16,                             // 1.., words
    parameter     IMAGE        = "",                             // file for $readmemh, DEPTH lines
    parameter     PLUSARG      = "",                             // "name=%s", simulation only
    parameter int ADDRESS_BITS = (DEPTH > 1) ? $clog2(DEPTH) : 1  // follows from DEPTH
) (
    input  logic                    clk,
    input  logic                    we_i,
    input  logic [ADDRESS_BITS-1:0] waddr_i,
    input  logic [WORD_BITS-1:0]    wdata_i,
    input  logic [ADDRESS_BITS-1:0] raddr_i,
    output logic [WORD_BITS-1:0]    word_o
);

  (* ram_style = "block", rom_style = "block", no_rw_check *)
  logic [WORD_BITS-1:0] mem [0:DEPTH-1];

`ifndef SYNTHESIS
  logic [8*1024-1:0] path;
`endif

  // Quartus stops at a loop of 5,000 turns (Error 10106), so that zeros come in runs of words.
  localparam int RUN = 4096;

  integer r, i;
  initial begin
    if (IMAGE != "") $readmemh(IMAGE, mem, 0, DEPTH - 1);
    else begin
      for (r = 0; r < DEPTH / RUN; r = r + 1) for (i = 0; i < RUN; i = i + 1) mem[RUN*r + i] = '0;
      for (i = 0; i < DEPTH % RUN; i = i + 1) mem[DEPTH - 1 - i] = '0;
    end
`ifndef SYNTHESIS
    if (PLUSARG != "") if ($value$plusargs(PLUSARG, path)) $readmemh(path, mem, 0, DEPTH - 1);
`endif
  end

  logic [WORD_BITS-1:0] read_q;

  always_ff @(posedge clk) begin
    if (we_i) mem[waddr_i] <= wdata_i;
    read_q <= mem[raddr_i];
    word_o <= read_q;
  end

endmodule
`default_nettype wire
