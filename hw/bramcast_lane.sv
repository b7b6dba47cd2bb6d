// SPDX-License-Identifier: Apache-2.0
// bramcast_lane: one output: multiplier, accumulator, maximum and the registers that the results wait in.
//
// Golden twin: docs/format.md, NEST: acc += element * weight, or acc = max(acc, element); with GATES also
// acc += element * an element held before. The accumulator wraps modulo 2**32. Stage numbers are those of docs/core.md:
//
//   S3  element on broadcast_i / own_i; clear_i makes a tap that lies outside contribute 0
//   S4  operand register; weight_i, max_load_i, max_try_i and hold_i belong to it
//   S5  product register and maximum register; acc_step_i, acc_load_i, max_capture_i
//   S6  accumulator; acc_capture_i
//
// max_o is stable from S6 of a pixel's last tap, acc_o from S7, until the next capture.
//
`default_nettype none
module bramcast_lane #(
    parameter int DATA_BITS   = 8,  // 8 or 16
    parameter int WEIGHT_BITS = 8,  // 2..DATA_BITS
    parameter int GATES       = 0   // 1: the factor may be an element
) (
    input  logic                        clk,
    // S3
    input  logic                        lanewise_i,   // own_i, else broadcast_i
    input  logic                        unsigned_i,
    input  logic                        clear_i,
    input  logic [DATA_BITS-1:0]        broadcast_i,
    input  logic [DATA_BITS-1:0]        own_i,
    // S4
    input  logic [WEIGHT_BITS-1:0]      weight_i,
    input  logic                        max_load_i,
    input  logic                        max_try_i,
    input  logic                        product_i,    // the factor is the element that was held
    input  logic                        hold_i,       // hold this element
    // S5
    input  logic                        max_capture_i,
    input  logic                        acc_step_i,
    input  logic                        acc_load_i,   // first tap of a pixel
    // S6
    input  logic                        acc_capture_i,
    output logic signed [DATA_BITS:0]   max_o,
    output logic signed [31:0]          acc_o
);

  localparam int OPERAND_BITS = DATA_BITS + 1;
  localparam int FACTOR_BITS  = ((WEIGHT_BITS > DATA_BITS) ? WEIGHT_BITS : DATA_BITS) + 1;
  localparam int PRODUCT_BITS = OPERAND_BITS + FACTOR_BITS;

  logic [DATA_BITS-1:0] element;
  assign element = lanewise_i ? own_i : broadcast_i;

  logic signed [OPERAND_BITS-1:0] operand_q;
  logic signed [WEIGHT_BITS-1:0]  weight;
  logic signed [FACTOR_BITS-1:0]  factor;
  logic signed [PRODUCT_BITS-1:0] product_q;
  logic signed [31:0]             acc_q;
  logic signed [DATA_BITS:0]      max_q;

  assign weight = weight_i;
  generate
    if (GATES != 0) begin : g_gates
      logic signed [OPERAND_BITS-1:0] held_q;
      always_ff @(posedge clk) if (hold_i) held_q <= operand_q;
      assign factor = product_i ? FACTOR_BITS'(held_q) : FACTOR_BITS'(weight);
    end else begin : g_weights
      logic unused_gates;
      assign unused_gates = &{1'b0, product_i, hold_i};
      assign factor = FACTOR_BITS'(weight);
    end
  endgenerate

  logic unused;  // 16-bit data: the product's top bits are copies of the sign
  assign unused = &{1'b0, product_q};

  always_ff @(posedge clk) begin
    if (clear_i) operand_q <= '0;
    else operand_q <= {!unsigned_i && element[DATA_BITS-1], element};

    product_q <= operand_q * factor;
    if (max_load_i || (max_try_i && operand_q > max_q)) max_q <= operand_q;

    if (max_capture_i) max_o <= max_q;
    if (acc_step_i) acc_q <= (acc_load_i ? 32'sd0 : acc_q) + 32'(product_q);

    if (acc_capture_i) acc_o <= acc_q;
  end

endmodule
`default_nettype wire
