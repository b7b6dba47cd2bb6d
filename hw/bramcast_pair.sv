// SPDX-License-Identifier: Apache-2.0
// bramcast_pair: two lanes with one weight, of tiles 0 and 1 of a pair, that share a multiplier.
//
// Golden twin: docs/format.md, NEST. Cycle for cycle what two bramcast_lane do (tests/formal/pair.sv), with their stages and
// ports; of those that each tile has for itself tile 0's bits lie lowest.
//
//   S6  operand register a1 * 2**16 + a0: the multiplier's pre-adder, where it has one, forms the borrow of a negative a0
//   S7  product register P = (a1 * 2**16 + a0) * factor
//   S8  accumulators: tile 0 adds P[15:0] with its sign, tile 1 what lies above, and P[15], which gives the borrow back
//
// Both products are whole because |a0 * weight| < 2**15: elements are -128..255, weights -128..127 (asserted in simulation).
// What is asked for:
//   - own_signed_i comes with lanewise_i only, broadcast_signed_i without it
//   - product_i stands still from S5 to S7 of a tap that is accumulated
//   - while product_i is high both tiles have the same elements: a0 = 0, and both accumulate the upper product, of up to
//     255 * 255. Tile 0's maximum is none then; nests of products have no use for it
//
`default_nettype none
module bramcast_pair #(
    parameter int DATA_BITS   = 8,  // 8
    parameter int WEIGHT_BITS = 8,  // 2..8
    parameter int GATES       = 0   // 1: the factor may be an element
) (
    input  logic                        clk,
    // S5
    input  logic                        lanewise_i,   // own_i, else broadcast_i
    input  logic                        own_signed_i,        // own_i is taken, and has a sign
    input  logic                        broadcast_signed_i,  // the same of broadcast_i
    input  logic [1:0]                  clear_i,
    input  logic [2*DATA_BITS-1:0]      broadcast_i,
    input  logic [2*DATA_BITS-1:0]      own_i,
    input  logic [WEIGHT_BITS-1:0]      weight_i,
    // S6
    input  logic [1:0]                  max_load_i,
    input  logic [1:0]                  max_try_i,
    input  logic                        product_i,    // the factor is the element that was held
    input  logic                        hold_i,       // hold this element
    // S7
    input  logic                        max_capture_i,
    input  logic                        acc_step_i,
    input  logic                        acc_load_i,   // first tap of a pixel
    // S8
    input  logic                        acc_capture_i,
    output logic [2*(DATA_BITS+1)-1:0]  max_o,
    output logic [63:0]                 acc_o
);

  generate
    if (DATA_BITS != 8) begin : g_check_data
      DATA_BITS_of_a_pair_must_be_8 u_error ();
    end
    if (WEIGHT_BITS < 2 || WEIGHT_BITS > 8) begin : g_check_weight
      WEIGHT_BITS_of_a_pair_must_be_2_to_8 u_error ();
    end
  endgenerate

  localparam int ELEMENT_BITS = DATA_BITS + 1;
  localparam int HALF_BITS    = 2 * DATA_BITS;  // of a product with a weight
  localparam int OPERAND_BITS = HALF_BITS + ELEMENT_BITS;
  localparam int FACTOR_BITS  = (GATES != 0) ? ELEMENT_BITS : WEIGHT_BITS;
  localparam int PRODUCT_BITS = OPERAND_BITS + FACTOR_BITS;
  localparam int UPPER_BITS   = PRODUCT_BITS - HALF_BITS;  // of tile 1's product

  logic product;  // both tiles take the upper product
  assign product = GATES != 0 && product_i;

  // ------------------------------------------------------------------ operands and maxima

  logic signed [2*ELEMENT_BITS-1:0] elements;    // S5, of both tiles
  logic signed [ELEMENT_BITS-1:0]   held_q;      // S6, tile 1's

  genvar t;
  generate
    for (t = 0; t < 2; t = t + 1) begin : g_tile
      logic [DATA_BITS-1:0]           own, broadcast;
      logic                           sign;
      logic signed [ELEMENT_BITS-1:0] element, element_q, max_q, max_out_q;
      assign own       = own_i[DATA_BITS*t +: DATA_BITS];
      assign broadcast = broadcast_i[DATA_BITS*t +: DATA_BITS];
      assign sign      = (own_signed_i && own[DATA_BITS-1])
                         || (broadcast_signed_i && broadcast[DATA_BITS-1]);
      assign element   = (clear_i[t] || (t == 0 && product)) ? '0
                         : $signed({sign, lanewise_i ? own : broadcast});
      assign elements[ELEMENT_BITS*t +: ELEMENT_BITS] = element;
      assign max_o[ELEMENT_BITS*t +: ELEMENT_BITS]    = max_out_q;

      always_ff @(posedge clk) begin
        element_q <= element;
        if (max_load_i[t] || (max_try_i[t] && element_q > max_q)) max_q <= element_q;
        if (max_capture_i) max_out_q <= max_q;
      end
    end
  endgenerate
  assign held_q = g_tile[1].element_q;

  logic signed [ELEMENT_BITS-1:0] a0, a1;  // S5
  logic signed [OPERAND_BITS-1:0] operand_q;
  logic signed [FACTOR_BITS-1:0]  factor_q;
  logic signed [PRODUCT_BITS-1:0] product_q;
  logic signed [WEIGHT_BITS-1:0]  weight;
  assign a0     = elements[ELEMENT_BITS-1:0];
  assign a1     = elements[2*ELEMENT_BITS-1:ELEMENT_BITS];
  assign weight = weight_i;

  always_ff @(posedge clk) begin
    operand_q <= $signed({a1, {HALF_BITS{1'b0}}}) + OPERAND_BITS'(a0);

    if (!product) factor_q <= FACTOR_BITS'(weight);
    else if (hold_i) factor_q <= FACTOR_BITS'(held_q);

    product_q <= operand_q * factor_q;
  end

  // ------------------------------------------------------------------ sums

  logic signed [HALF_BITS-1:0]  lower;
  logic signed [UPPER_BITS-1:0] upper;
  logic signed [31:0]           term0, acc_q0, acc_q1, acc_out_q0, acc_out_q1;
  assign lower = product_q[HALF_BITS-1:0];
  assign upper = product_q[PRODUCT_BITS-1:HALF_BITS];
  assign term0 = product ? 32'(upper) : 32'(lower);
  assign acc_o = {acc_out_q1, acc_out_q0};

  always_ff @(posedge clk) begin
    if (acc_step_i) begin
      acc_q0 <= term0 + (acc_load_i ? 32'sd0 : acc_q0);
      acc_q1 <= 32'(upper) + (acc_load_i ? 32'sd0 : acc_q1) + $signed({31'd0, product_q[HALF_BITS-1]});
    end
    if (acc_capture_i) begin
      acc_out_q0 <= acc_q0;
      acc_out_q1 <= acc_q1;
    end
  end

  logic unused;
  assign unused = &{1'b0, hold_i, product_i, held_q};

`ifndef SYNTHESIS
  // What is asked for, and that elements are as small as both products need them.
  logic same, same_q, same_q2, kind_q, kind_q2;
  assign same = clear_i[0] == clear_i[1]
                && (clear_i[0] || (lanewise_i ? own_i[DATA_BITS-1:0] == own_i[2*DATA_BITS-1:DATA_BITS]
                                   : broadcast_i[DATA_BITS-1:0] == broadcast_i[2*DATA_BITS-1:DATA_BITS]));
  always_ff @(posedge clk) begin
    same_q  <= same;
    same_q2 <= same_q;
    kind_q  <= product;
    kind_q2 <= kind_q;
    if (g_tile[0].element_q < -9'sd128 || g_tile[1].element_q < -9'sd128)
      $fatal(1, "bramcast_pair: an element below -128: a sign that is not its own");
    if (acc_step_i && product != kind_q2)
      $fatal(1, "bramcast_pair: product_i has changed behind a tap that is accumulated");
    if (product && ((acc_step_i && !same_q2) || (hold_i && !same_q)))
      $fatal(1, "bramcast_pair: a product of two elements, and those of the tiles differ");
  end
`endif


endmodule
`default_nettype wire
