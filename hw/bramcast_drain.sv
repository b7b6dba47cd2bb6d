// SPDX-License-Identifier: Apache-2.0
// bramcast_drain: walks over a pixel's lanes, RQ per cycle, and reads their biases.
//
// Golden twin: docs/format.md, NEST: bias word bias_base + g*bias_step + lane / RQ. A chunk is RQ
// lanes; a group has LANES / RQ chunks, in lane-wise nests TAPS times as many, the last group of a
// nest as many as hold its valid lanes.
//
//   clk             _/~\_/~\_/~\_/~\_/~\_/~\_    pixel_i comes in S4 of the pixel's last tap and
//   pixel_i         __/~~\___________________    never before the pixel before is through.
//   chunk_valid_o   ______|~~~~~~~~~~~~~~~|__    The bias address belongs to the same chunk.
//   chunk_index_o   ------| 0 | 1 | 2 | 3 |--
//
`default_nettype none
module bramcast_drain #(
    parameter int LANES     = 16,  // 1..64, a power of two
    parameter int TAPS      = 1,   // 1, 2, 4, 8
    parameter int RQ        = 2,   // 1..LANES, a power of two
    parameter int BIAS_BITS = 8,   // bits of a bias address
    parameter int TAIL_BITS  = 6 + $clog2(TAPS),                                     // follows
    parameter int INDEX_BITS = (LANES * TAPS > RQ) ? $clog2(LANES * TAPS / RQ) : 1,  // follows
    parameter int LANE_BITS  = (RQ > 1) ? $clog2(RQ) : 1               // follows
) (
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  load_i,          // a new nest's bias_base_i
    input  logic [BIAS_BITS-1:0]  bias_base_i,
    input  logic [BIAS_BITS-1:0]  bias_step_i,
    input  logic [TAIL_BITS-1:0]  tail_i,          // valid lanes of the last group, minus one
    input  logic                  lanewise_i,
    input  logic                  pixel_i,
    input  logic [1:0]            pixel_level_i,   // loop that advances: 1 = g, 2 = oy, 3 = ox
    input  logic                  pixel_tail_i,    // pixel of the last group
    input  logic                  pixel_end_i,     // last pixel of the nest
    output logic [BIAS_BITS-1:0]  bias_address_o,
    output logic                  chunk_valid_o,
    output logic [INDEX_BITS-1:0] chunk_index_o,
    output logic                  chunk_last_o,    // last chunk of its pixel
    output logic [1:0]            chunk_level_o,   // pixel_level_i
    output logic [LANE_BITS-1:0]  chunk_lanes_o,   // valid lanes, minus one
    output logic                  chunk_end_o      // last chunk of the nest
);

  localparam int RQ_LOG = $clog2(RQ);
  localparam logic [TAIL_BITS-1:0] WHOLE = TAIL_BITS'(LANES / RQ - 1);
  localparam logic [TAIL_BITS-1:0] WIDE  = TAIL_BITS'(LANES * TAPS / RQ - 1);

  logic [TAIL_BITS-1:0] chunks;  // of this pixel, minus one
  assign chunks = pixel_tail_i ? tail_i >> RQ_LOG : lanewise_i ? WIDE : WHOLE;

  logic [BIAS_BITS-1:0] group_q;   // bias address of the group that is next to come
  logic [TAIL_BITS-1:0] left_q;    // chunks behind this one
  logic                 last_q;    // none
  logic                 tail_q;
  logic                 end_q;

  always_ff @(posedge clk) begin
    if (pixel_i) begin
      chunk_index_o  <= '0;
      bias_address_o <= group_q;
      left_q         <= chunks;
      last_q         <= chunks == '0;
      tail_q         <= pixel_tail_i;
      end_q          <= pixel_end_i;
      chunk_level_o  <= pixel_level_i;
    end else begin
      chunk_index_o  <= chunk_index_o + 1'b1;
      bias_address_o <= bias_address_o + 1'b1;
      left_q         <= left_q - 1'b1;
      last_q         <= left_q == TAIL_BITS'(1);
    end

    if (load_i) group_q <= bias_base_i;
    else if (pixel_i && pixel_level_i == 2'd1) group_q <= group_q + bias_step_i;

    if (pixel_i) chunk_valid_o <= 1'b1;
    else if (last_q) chunk_valid_o <= 1'b0;
    if (rst) chunk_valid_o <= 1'b0;
  end

  assign chunk_last_o = last_q;
  assign chunk_end_o  = last_q && end_q;

  generate
    if (RQ > 1) begin : g_lanes
      assign chunk_lanes_o = (last_q && tail_q) ? tail_i[LANE_BITS-1:0] : '1;
    end else begin : g_lane
      assign chunk_lanes_o = '0;
      logic unused;
      assign unused = &{1'b0, tail_q};
    end
  endgenerate

endmodule
`default_nettype wire
