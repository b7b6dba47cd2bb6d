// SPDX-License-Identifier: Apache-2.0
// bramcast_narrow: weights of 4 or 2 bits: several steps of a nest share a weight word.
//
// Golden twin: Memories.steps() in golden/memories.py. Step s lies in word s >> narrow_i; a lane's weight has
// 8 >> narrow_i bits, from bit (s % 2**narrow_i) * (8 >> narrow_i) of the lane's byte up. narrow_i is
// stable from the first step of a nest to the last word.
//
//   NARROW = 0   address_o = step_i, word_o = word_i: no logic
//   NARROW = 1   step_i and address_o in one cycle, its word_i and word_o two cycles later
//
`default_nettype none
module bramcast_narrow #(
    parameter int LANES        = 16,
    parameter int WEIGHT_BITS  = 8,   // 8
    parameter int ADDRESS_BITS = 10,
    parameter int STEP_BITS    = 10,  // ADDRESS_BITS, with NARROW two more
    parameter int NARROW       = 0    // 0 or 1
) (
    input  logic                         clk,
    input  logic [1:0]                   narrow_i,  // 0, 1, 2: 8, 4, 2 bits
    input  logic [STEP_BITS-1:0]         step_i,
    output logic [ADDRESS_BITS-1:0]      address_o,
    input  logic [LANES*WEIGHT_BITS-1:0] word_i,
    output logic [LANES*WEIGHT_BITS-1:0] word_o
);

  generate
    if (NARROW == 0) begin : g_plain
      logic unused;
      assign unused    = &{1'b0, clk, narrow_i};
      assign address_o = step_i;
      assign word_o    = word_i;
    end else begin : g_narrow
      logic [1:0] part_q2, part_q3;
      assign address_o = narrow_i[1] ? step_i[STEP_BITS-1:2]
                       : narrow_i[0] ? step_i[STEP_BITS-2:1]
                       :               step_i[STEP_BITS-3:0];
      always_ff @(posedge clk) begin
        part_q2 <= step_i[1:0];
        part_q3 <= part_q2;
      end
      genvar l;
      for (l = 0; l < LANES; l = l + 1) begin : g_lane
        logic [7:0] whole;
        logic [3:0] half;
        logic [1:0] quarter;
        assign whole   = word_i[8*l +: 8];
        assign half    = part_q3[0] ? whole[7:4] : whole[3:0];
        assign quarter = part_q3[1] ? (part_q3[0] ? whole[7:6] : whole[5:4])
                                    : (part_q3[0] ? whole[3:2] : whole[1:0]);
        assign word_o[8*l +: 8] = narrow_i[1] ? {{6{quarter[1]}}, quarter}
                                : narrow_i[0] ? {{4{half[3]}}, half}
                                :               whole;
      end
    end
  endgenerate

endmodule
`default_nettype wire
