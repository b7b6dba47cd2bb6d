// SPDX-License-Identifier: Apache-2.0
// bramcast_lane: one output: multiplier, accumulator, maximum and the registers that the results wait in.
//
// Golden twin: docs/format.md, NEST: acc += element * weight, or acc = max(acc, element); with GATES also
// acc += element * an element held before. The accumulator wraps modulo 2**32. Stage numbers are those of docs/core.md:
//
//   S5  element on broadcast_i / own_i and weight_i; clear_i makes a tap that lies outside contribute 0
//   S6  operand and factor register; max_load_i, max_try_i and hold_i belong to them
//   S7  product register and maximum register; acc_step_i, acc_load_i, max_capture_i
//   S8  accumulator; acc_capture_i
//
// Both factors stand in registers beside the multiplier, so that no wire of a memory ends in it.
// max_o is stable from S8 of a pixel's last tap, acc_o from S9, until the next capture.
//
`default_nettype none
module bramcast_lane #(
    parameter int DATA_BITS   = 8,  // 8 or 16
    parameter int WEIGHT_BITS = 8,  // 2..DATA_BITS
    parameter int GATES       = 0   // 1: the factor may be an element
) (
    input  logic                        clk,
    // S5
    input  logic                        lanewise_i,   // own_i, else broadcast_i
    input  logic                        own_signed_i,        // own_i is taken, and has a sign
    input  logic                        broadcast_signed_i,  // the same of broadcast_i
    input  logic                        clear_i,
    input  logic [DATA_BITS-1:0]        broadcast_i,
    input  logic [DATA_BITS-1:0]        own_i,
    input  logic [WEIGHT_BITS-1:0]      weight_i,
    // S6
    input  logic                        max_load_i,
    input  logic                        max_try_i,
    input  logic                        product_i,    // the factor is the element that was held
    input  logic                        hold_i,       // hold this element
    // S7
    input  logic                        max_capture_i,
    input  logic                        acc_step_i,
    input  logic                        acc_load_i,   // first tap of a pixel
    // S8
    input  logic                        acc_capture_i,
    output logic signed [DATA_BITS:0]   max_o,
    output logic signed [31:0]          acc_o
);

  localparam int OPERAND_BITS = DATA_BITS + 1;
  localparam int FACTOR_BITS  = ((WEIGHT_BITS > DATA_BITS) ? WEIGHT_BITS : DATA_BITS) + 1;
  localparam int PRODUCT_BITS = OPERAND_BITS + FACTOR_BITS;

  logic [DATA_BITS-1:0] element;
  logic                 sign;  // selected by itself: not behind the element's top bit
  assign element = lanewise_i ? own_i : broadcast_i;
  assign sign    = (own_signed_i && own_i[DATA_BITS-1])
                   || (broadcast_signed_i && broadcast_i[DATA_BITS-1]);

  logic signed [OPERAND_BITS-1:0] operand_q;
  logic signed [WEIGHT_BITS-1:0]  weight;
  logic signed [FACTOR_BITS-1:0]  factor_q;
  logic signed [PRODUCT_BITS-1:0] product_q;
  logic signed [31:0]             acc_q;
  logic signed [DATA_BITS:0]      max_q;

  assign weight = weight_i;

  logic unused;  // 16-bit data: the product's top bits are copies of the sign
  assign unused = &{1'b0, product_q};

  always_ff @(posedge clk) begin
    if (clear_i) operand_q <= '0;
    else operand_q <= {sign, element};

    if (GATES == 0 || !product_i) factor_q <= FACTOR_BITS'(weight);
    else if (hold_i) factor_q <= FACTOR_BITS'(operand_q);

    product_q <= operand_q * factor_q;
    if (max_load_i || (max_try_i && operand_q > max_q)) max_q <= operand_q;

    if (max_capture_i) max_o <= max_q;
    if (acc_step_i) acc_q <= (acc_load_i ? 32'sd0 : acc_q) + 32'(product_q);

    if (acc_capture_i) acc_o <= acc_q;
  end

endmodule
`default_nettype wire
