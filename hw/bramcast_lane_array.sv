// SPDX-License-Identifier: Apache-2.0
// bramcast_lane_array: LANES * TAPS lanes side by side, and the multiplexer that empties them in chunks.
//
// Golden twin: docs/format.md, NEST. Multiplier t * LANES + l takes in dense nests neighbour t of the
// element that the address selects and weight t of lane l, in lane-wise nests the element and the weight
// with its own number.
//
//   S1  lane_i: the selected element's number in its word, of a dense tap
//   S3  act_word_i of a dense tap: one of a few neighbours,
//   S4  then one of those that are left: TAPS elements
//   S5  of them a register for each group of lanes; act_word_i of a lane-wise tap, weight_word_i: to the operands
//   S9  terms_o: of lane r of a chunk its TAPS terms from 32 * TAPS * r up; index_s7_i is the chunk's index
//
// What goes to all lanes has registers of its own for each group of 16 of them, the index of a chunk for each of RQ
// lanes: wires across the whole device end in them. `keep` stands at the process, as Yosys asks for, and at the register.
// No bus holds all accumulators behind this module.
//
// With TILES = 2 there are the lanes of two tiles, each multiplier shared by one of each (bramcast_pair). What is an
// array has the first tile lowest.
//
`default_nettype none
module bramcast_lane_array #(
    parameter int LANES       = 16,  // 1..64, a power of two
    parameter int TAPS        = 1,   // 1, 2, 4, 8
    parameter int DATA_BITS   = 8,   // 8 or 16
    parameter int WEIGHT_BITS = 8,   // 2..DATA_BITS
    parameter int RQ          = 2,   // 1..LANES, a power of two
    parameter int GATES       = 0,   // 1: products of two tensors
    parameter int TILES       = 1,   // 1, 2
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
    input  logic [TILES*LANES*TAPS*DATA_BITS-1:0] act_word_i,
    input  logic [LANES*TAPS*WEIGHT_BITS-1:0] weight_word_i,
    // control, as bramcast_lane_control gives it
    input  logic [TILES-1:0]                  s4_hit_i,
    input  logic                              s5_factor_i,
    input  logic [TILES-1:0]                  s5_max_load_i,
    input  logic [TILES-1:0]                  s5_max_try_i,
    input  logic                              s6_factor_i,
    input  logic                              s6_sum_i,
    input  logic                              s6_first_i,
    input  logic                              s6_last_i,
    // results
    input  logic [INDEX_BITS-1:0]             index_s7_i,  // of the chunk
    output logic [TILES*TAPS*RQ*32-1:0]       terms_o
);

  localparam int CHUNKS     = LANES / RQ;  // of a sub-word
  localparam int INNER_BITS = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;  // index of a chunk in its sub-word
  localparam int MAX_PITCH  = 2 * DATA_BITS;  // a power of two: selecting a lane takes no multiplier

  localparam int NEIGHBOURS = TAPS * DATA_BITS;         // bits of what a dense tap selects
  localparam int NEAR_BITS  = (LANES > 1) ? (LANE_BITS + 1) / 2 : 0;
  localparam int NEAR       = 1 << NEAR_BITS;           // the first stage selects one of so many that lie together
  localparam int FAR        = LANES / NEAR;             // the second one of so many
  localparam int GROUP      = (LANES > 16) ? 16 : LANES;

  localparam int WORD_BITS = LANES * TAPS * DATA_BITS;

  logic [TILES*NEIGHBOURS-1:0] selected;  // S4, LANES = 1: S5

  genvar k, t, g, l, r, n;
  generate
    if (LANES > 1) begin : g_select
      logic [LANE_BITS-1:0] lane_q2, lane_q3;
      always_ff @(posedge clk) begin
        lane_q2 <= lane_i;
        lane_q3 <= lane_q2;
      end
      for (k = 0; k < TILES; k = k + 1) begin : g_tile
        logic [FAR*NEIGHBOURS-1:0] near_q4;
        for (n = 0; n < FAR; n = n + 1) begin : g_near
          always_ff @(posedge clk) begin
            near_q4[NEIGHBOURS*n +: NEIGHBOURS] <=
                act_word_i[WORD_BITS*k + NEIGHBOURS*(NEAR*n+32'(lane_q3[NEAR_BITS-1:0])) +: NEIGHBOURS];
          end
        end
        if (FAR > 1) begin : g_far
          logic [LANE_BITS-NEAR_BITS-1:0] lane_q4;
          always_ff @(posedge clk) lane_q4 <= lane_q3[LANE_BITS-1:NEAR_BITS];
          assign selected[NEIGHBOURS*k +: NEIGHBOURS] = near_q4[NEIGHBOURS*lane_q4 +: NEIGHBOURS];
        end else begin : g_near_only
          assign selected[NEIGHBOURS*k +: NEIGHBOURS] = near_q4;
        end
      end
    end else begin : g_whole
      assign selected = act_word_i;
      logic unused_lane;
      assign unused_lane = &{1'b0, lane_i};
    end
  endgenerate

  logic unused;  // the upper bits say which sub-word it is
  assign unused = &{1'b0, index_s7_i};

  generate
    for (t = 0; t < TAPS; t = t + 1) begin : g_tap
      logic [TILES*LANES*MAX_PITCH-1:0] max_bus;
      logic [TILES*LANES*32-1:0]        acc_bus;
      for (g = 0; g < LANES / GROUP; g = g + 1) begin : g_group
        (* keep = "true" *) logic [TILES-1:0] miss_q5, max_load_q6, max_try_q6;
        (* keep = "true" *) logic sum_q7, first_q7, last_q7, last_q8;
        (* keep = "true" *) logic lanewise_q;  // settings: they are there before the first element
        (* keep *) always_ff @(posedge clk) begin
          lanewise_q  <= lanewise_i;
          miss_q5     <= ~s4_hit_i;
          max_load_q6 <= s5_max_load_i;
          max_try_q6  <= s5_max_try_i;
          sum_q7      <= s6_sum_i;
          first_q7    <= s6_first_i;
          last_q7     <= s6_last_i;
          last_q8     <= last_q7;
        end
        logic own_signed, broadcast_signed;  // S5
        if (GATES != 0) begin : g_each_signed
          logic element_signed;
          assign element_signed   = !(s5_factor_i ? factor_unsigned_i : x_unsigned_i);
          assign own_signed       = lanewise_q && element_signed;
          assign broadcast_signed = !lanewise_q && element_signed;
        end else begin : g_all_signed
          (* keep = "true" *) logic own_signed_q, broadcast_signed_q;
          (* keep *) always_ff @(posedge clk) begin
            own_signed_q       <= lanewise_i && !x_unsigned_i;
            broadcast_signed_q <= !lanewise_i && !x_unsigned_i;
          end
          assign own_signed       = own_signed_q;
          assign broadcast_signed = broadcast_signed_q;
          logic unused_factor;
          assign unused_factor = &{1'b0, s5_factor_i, factor_unsigned_i};
        end
        logic [TILES*DATA_BITS-1:0] broadcast;  // S5
        for (k = 0; k < TILES; k = k + 1) begin : g_tile
          logic [DATA_BITS-1:0] neighbour;
          assign neighbour = selected[NEIGHBOURS*k + DATA_BITS*t +: DATA_BITS];
          if (LANES > 1) begin : g_copy
            (* keep = "true" *) logic [DATA_BITS-1:0] broadcast_q5;
            (* keep *) always_ff @(posedge clk) broadcast_q5 <= neighbour;
            assign broadcast[DATA_BITS*k +: DATA_BITS] = broadcast_q5;
          end else begin : g_no_copy
            assign broadcast[DATA_BITS*k +: DATA_BITS] = neighbour;
          end
        end
        for (l = GROUP * g; l < GROUP * (g + 1); l = l + 1) begin : g_lane
          localparam int M = t * LANES + l;  // number of the multiplier
          logic [TILES*(DATA_BITS+1)-1:0] max_lane;
          logic [TILES*DATA_BITS-1:0]     own;
          logic [TILES*32-1:0]            acc;
          for (k = 0; k < TILES; k = k + 1) begin : g_tile
            assign own[DATA_BITS*k +: DATA_BITS] = act_word_i[WORD_BITS*k + DATA_BITS*M +: DATA_BITS];
            assign max_bus[MAX_PITCH*(LANES*k+l) +: MAX_PITCH] =
                MAX_PITCH'(max_lane[(DATA_BITS+1)*k +: DATA_BITS+1]);
            assign acc_bus[32*(LANES*k+l) +: 32] = acc[32*k +: 32];
          end
          if (TILES > 1) begin : g_pair
            bramcast_pair #(
                .DATA_BITS(DATA_BITS),
                .WEIGHT_BITS(WEIGHT_BITS),
                .GATES(GATES)
            ) u_pair (
                .clk(clk),
                .lanewise_i(lanewise_q),
                .own_signed_i(own_signed),
                .broadcast_signed_i(broadcast_signed),
                .clear_i(miss_q5),
                .broadcast_i(broadcast),
                .own_i(own),
                .weight_i(weight_word_i[WEIGHT_BITS*M +: WEIGHT_BITS]),
                .max_load_i(max_load_q6),
                .max_try_i(max_try_q6),
                .product_i(product_i),
                .hold_i(s6_factor_i),
                .max_capture_i(last_q7),
                .acc_step_i(sum_q7),
                .acc_load_i(first_q7),
                .acc_capture_i(last_q8),
                .max_o(max_lane),
                .acc_o(acc)
            );
          end else begin : g_single
            bramcast_lane #(
                .DATA_BITS(DATA_BITS),
                .WEIGHT_BITS(WEIGHT_BITS),
                .GATES(GATES)
            ) u_lane (
                .clk(clk),
                .lanewise_i(lanewise_q),
                .own_signed_i(own_signed),
                .broadcast_signed_i(broadcast_signed),
                .clear_i(miss_q5),
                .broadcast_i(broadcast),
                .own_i(own),
                .weight_i(weight_word_i[WEIGHT_BITS*M +: WEIGHT_BITS]),
                .max_load_i(max_load_q6),
                .max_try_i(max_try_q6),
                .product_i(product_i),
                .hold_i(s6_factor_i),
                .max_capture_i(last_q7),
                .acc_step_i(sum_q7),
                .acc_load_i(first_q7),
                .acc_capture_i(last_q8),
                .max_o(max_lane),
                .acc_o(acc)
            );
          end
        end
      end
      for (k = 0; k < TILES; k = k + 1) begin : g_tile
        for (r = 0; r < RQ; r = r + 1) begin : g_term
          logic signed [31:0]        acc_s9;
          logic signed [DATA_BITS:0] max_s8, max_q9;
          if (CHUNKS > 1) begin : g_serial
            (* keep = "true" *) logic [INNER_BITS-1:0] index_q8, index_q9;
            (* keep *) always_ff @(posedge clk) begin
              index_q8 <= index_s7_i[INNER_BITS-1:0];
              index_q9 <= index_q8;
            end
            assign max_s8 = max_bus[MAX_PITCH*(LANES*k+RQ*32'(index_q8)+r) +: DATA_BITS+1];
            assign acc_s9 = acc_bus[32*(LANES*k+RQ*32'(index_q9)+r) +: 32];
          end else begin : g_parallel
            assign max_s8 = max_bus[MAX_PITCH*(LANES*k+r) +: DATA_BITS+1];
            assign acc_s9 = acc_bus[32*(LANES*k+r) +: 32];
            logic unused_max;
            assign unused_max = &{1'b0, max_bus};
          end
          always_ff @(posedge clk) max_q9 <= max_s8;
          assign terms_o[32*(TAPS*(RQ*k+r)+t) +: 32] = max_i ? 32'(max_q9) : acc_s9;
        end
      end
    end
  endgenerate

endmodule
`default_nettype wire
