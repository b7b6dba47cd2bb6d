// SPDX-License-Identifier: Apache-2.0
// bramcast_lane_array: LANES * TAPS lanes side by side, and the multiplexer that empties them in chunks.
//
// Golden twin: docs/format.md, NEST. Multiplier t * LANES + l takes in dense nests neighbour t of the
// element that the address selects and weight t of lane l, in lane-wise nests the element and the weight
// with its own number.
//
//   S1  lane_i: the selected element's number in its word, of a dense tap
//   S3  act_word_i; a multiplexer gives TAPS neighbours to all lanes, in bramcast_lane's operand registers
//   S4  weight_word_i
//   S7  terms_o: of lane r of the chunk index_s7_i its TAPS terms from 32 * TAPS * r up; a maximum leaves the
//       lanes a stage earlier and has its register here: index_s6_i
//
// No bus holds all accumulators behind this module.
//
`default_nettype none
module bramcast_lane_array #(
    parameter int LANES       = 16,  // 1..64, a power of two
    parameter int TAPS        = 1,   // 1, 2, 4, 8
    parameter int DATA_BITS   = 8,   // 8 or 16
    parameter int WEIGHT_BITS = 8,   // 2..DATA_BITS
    parameter int RQ          = 2,   // 1..LANES, a power of two
    parameter int GATES       = 0,   // 1: products of two tensors
    parameter int LANE_BITS   = (LANES > 1) ? $clog2(LANES) : 1,                     // follows
    parameter int INDEX_BITS  = (LANES * TAPS > RQ) ? $clog2(LANES * TAPS / RQ) : 1  // follows
) (
    input  logic                              clk,
    // settings of the nest at the back
    input  logic                              lanewise_i,
    input  logic                              max_i,
    input  logic                              product_i,
    input  logic                              x_unsigned_i,
    input  logic                              factor_unsigned_i,
    // data
    input  logic [LANE_BITS-1:0]              lane_i,
    input  logic [LANES*TAPS*DATA_BITS-1:0]   act_word_i,
    input  logic [LANES*TAPS*WEIGHT_BITS-1:0] weight_word_i,
    // control, as bramcast_lane_control gives it
    input  logic                              s3_hit_i,
    input  logic                              s3_factor_i,
    input  logic                              s4_factor_i,
    input  logic                              s4_max_load_i,
    input  logic                              s4_max_try_i,
    input  logic                              s5_sum_i,
    input  logic                              s5_first_i,
    input  logic                              s5_last_i,
    input  logic                              s6_last_i,
    // results
    input  logic [INDEX_BITS-1:0]             index_s6_i,  // of the chunk
    input  logic [INDEX_BITS-1:0]             index_s7_i,
    output logic [TAPS*RQ*32-1:0]             terms_o
);

  localparam int CHUNKS     = LANES / RQ;  // of a sub-word
  localparam int INNER_BITS = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;  // index of a chunk in its sub-word
  localparam int MAX_PITCH  = 2 * DATA_BITS;  // a power of two: selecting a lane takes no multiplier

  logic [TAPS*DATA_BITS-1:0] broadcast;  // S3: neighbours, for all lanes

  generate
    if (LANES > 1) begin : g_select
      logic [LANE_BITS-1:0] lane_q2, lane_q3;
      always_ff @(posedge clk) begin
        lane_q2 <= lane_i;
        lane_q3 <= lane_q2;
      end
      assign broadcast = act_word_i[TAPS*DATA_BITS*lane_q3 +: TAPS*DATA_BITS];
    end else begin : g_whole
      assign broadcast = act_word_i;
      logic unused_lane;
      assign unused_lane = &{1'b0, lane_i};
    end
  endgenerate

  logic s3_unsigned;
  assign s3_unsigned = s3_factor_i ? factor_unsigned_i : x_unsigned_i;

  logic unused;  // the upper bits say which sub-word it is
  assign unused = &{1'b0, index_s6_i, index_s7_i};

  genvar t, l, r;
  generate
    for (t = 0; t < TAPS; t = t + 1) begin : g_tap
      logic [LANES*MAX_PITCH-1:0] max_bus;
      logic [LANES*32-1:0]        acc_bus;
      for (l = 0; l < LANES; l = l + 1) begin : g_lane
        localparam int M = t * LANES + l;  // number of the multiplier
        logic signed [DATA_BITS:0] max_lane;
        assign max_bus[MAX_PITCH*l +: MAX_PITCH] = MAX_PITCH'($unsigned(max_lane));
        bramcast_lane #(
            .DATA_BITS(DATA_BITS),
            .WEIGHT_BITS(WEIGHT_BITS),
            .GATES(GATES)
        ) u_lane (
            .clk(clk),
            .lanewise_i(lanewise_i),
            .unsigned_i(s3_unsigned),
            .clear_i(!s3_hit_i),
            .broadcast_i(broadcast[DATA_BITS*t +: DATA_BITS]),
            .own_i(act_word_i[DATA_BITS*M +: DATA_BITS]),
            .weight_i(weight_word_i[WEIGHT_BITS*M +: WEIGHT_BITS]),
            .max_load_i(s4_max_load_i),
            .max_try_i(s4_max_try_i),
            .product_i(product_i),
            .hold_i(s4_factor_i),
            .max_capture_i(s5_last_i),
            .acc_step_i(s5_sum_i),
            .acc_load_i(s5_first_i),
            .acc_capture_i(s6_last_i),
            .max_o(max_lane),
            .acc_o(acc_bus[32*l +: 32])
        );
      end
      for (r = 0; r < RQ; r = r + 1) begin : g_term
        logic signed [31:0]        acc_s7;
        logic signed [DATA_BITS:0] max_s6, max_q7;
        if (CHUNKS > 1) begin : g_serial
          assign max_s6 = max_bus[MAX_PITCH*(RQ*32'(index_s6_i[INNER_BITS-1:0]) + r) +: DATA_BITS+1];
          assign acc_s7 = acc_bus[32*(RQ*32'(index_s7_i[INNER_BITS-1:0]) + r) +: 32];
        end else begin : g_parallel
          assign max_s6 = max_bus[MAX_PITCH*r +: DATA_BITS+1];
          assign acc_s7 = acc_bus[32*r +: 32];
          logic unused_max;
          assign unused_max = &{1'b0, max_bus};
        end
        always_ff @(posedge clk) max_q7 <= max_s6;
        assign terms_o[32*(TAPS*r+t) +: 32] = max_i ? 32'(max_q7) : acc_s7;
      end
    end
  endgenerate

endmodule
`default_nettype wire
