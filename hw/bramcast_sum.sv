// SPDX-License-Identifier: Apache-2.0
// bramcast_sum: adds the TAPS partial sums of a lane, or lets one of them through.
//
// Golden twin: docs/format.md, NEST: the sum over t < TAPS. Terms whose use_i is low count as 0. Sums
// wrap modulo 2**32. With TAPS = 1 there is nothing to add: sum_o is the term, in the same cycle.
//
//   clk      _/~\_/~\_/~\_/~\_     TAPS = 4: latency log2(TAPS) = 2 cycles, one sum per cycle;
//   terms_i  __| A | B |______     the last addition stands behind the last register
//   sum_o    __________| A | B
//
`default_nettype none
module bramcast_sum #(
    parameter int TAPS = 4  // 1, 2, 4, 8
) (
    input  logic                clk,
    input  logic [TAPS*32-1:0]  terms_i,
    input  logic [TAPS-1:0]     use_i,
    output logic [31:0]         sum_o
);

  localparam int LEVELS = $clog2(TAPS);

  // Level 0 has TAPS nodes, every level half as many as the one before: 2 * TAPS - 1 in all.
  wire [(2*TAPS-1)*32-1:0] node;
  assign sum_o = node[32*(2*TAPS-2) +: 32];

  genvar k, i;
  generate
    if (TAPS == 1) begin : g_one
      assign node = terms_i;
      logic unused;
      assign unused = &{1'b0, clk, use_i};
    end else begin : g_tree
      for (i = 0; i < TAPS; i = i + 1) begin : g_term
        logic [31:0] term_q;
        always_ff @(posedge clk) term_q <= use_i[i] ? terms_i[32*i +: 32] : 32'd0;
        assign node[32*i +: 32] = term_q;
      end
      for (k = 1; k <= LEVELS; k = k + 1) begin : g_level
        localparam int FROM = 2 * TAPS - (2 * TAPS >> (k - 1));
        localparam int TO   = 2 * TAPS - (2 * TAPS >> k);
        for (i = 0; i < (TAPS >> k); i = i + 1) begin : g_pair
          logic [31:0] pair;
          assign pair = node[32*(FROM+2*i) +: 32] + node[32*(FROM+2*i+1) +: 32];
          if (k == LEVELS) begin : g_last
            assign node[32*(TO+i) +: 32] = pair;
          end else begin : g_stage
            logic [31:0] pair_q;
            always_ff @(posedge clk) pair_q <= pair;
            assign node[32*(TO+i) +: 32] = pair_q;
          end
        end
      end
    end
  endgenerate

endmodule
`default_nettype wire
