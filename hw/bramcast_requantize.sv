// SPDX-License-Identifier: Apache-2.0
// bramcast_requantize: add the bias, round, shift and clamp one accumulator per cycle.
//
// Golden twin: requantize() in golden/arith.py; change both together. Ties round towards +inf. The
// sum acc + bias + half is exact: half + bias fits 32 bits, the whole sum 33.
//
//   clk      _/~\_/~\_/~\_/~\_/~\_/~\_     latency 4 cycles, one result per cycle, no handshake;
//   acc_i    __| A | B |______________     lo_i, hi_i: used three and four cycles after acc_i
//   value_o  __________________| A | B
//
`default_nettype none
module bramcast_requantize (
    input  logic               clk,
    input  logic signed [31:0] acc_i,
    input  logic [35:0]        entry_i,  // {shift[4:0], bias[30:0]}
    input  logic signed [31:0] lo_i,
    input  logic signed [31:0] hi_i,     // lo_i <= hi_i
    output logic signed [31:0] value_o   // lo_i..hi_i
);

  logic signed [30:0] bias;
  logic [4:0]         shift;
  logic [31:0]        half;  // 0..2**30
  assign bias  = entry_i[30:0];
  assign shift = entry_i[35:31];
  assign half  = (32'd1 << shift) >> 1;

  logic signed [31:0] acc_q;
  logic signed [31:0] offset_q;  // bias + half: -2**30..2**31-1
  logic [4:0]         shift_q, shift_q2;
  logic signed [32:0] sum_q2;
  logic signed [32:0] shifted_q3;
  logic signed [31:0] inside_q4;  // the result where neither flag is set
  logic               below_q4;
  logic               above_q4;

  // The signs of differences: shorter paths than those of comparisons.
  logic signed [33:0] above_lo, below_hi;
  assign above_lo = 34'(shifted_q3) - 34'(lo_i);
  assign below_hi = 34'(hi_i) - 34'(shifted_q3);

  logic unused;
  assign unused = &{1'b0, above_lo, below_hi};

  always_ff @(posedge clk) begin
    acc_q      <= acc_i;
    offset_q   <= 32'(bias) + $signed(half);
    shift_q    <= shift;

    sum_q2     <= 33'(acc_q) + 33'(offset_q);
    shift_q2   <= shift_q;

    shifted_q3 <= sum_q2 >>> shift_q2;

    inside_q4  <= shifted_q3[31:0];
    below_q4   <= above_lo[33];
    above_q4   <= below_hi[33];
  end

  // Behind the register: two comparisons and a multiplexer are too much for one cycle.
  assign value_o = below_q4 ? lo_i : above_q4 ? hi_i : inside_q4;

endmodule
`default_nettype wire
