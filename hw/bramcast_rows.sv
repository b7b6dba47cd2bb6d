// SPDX-License-Identifier: Apache-2.0
// bramcast_rows: where the row of a tap lies among the strips of a picture, TILES > 1.
//
// Golden twin: tap_rows() in golden/strips.py. An offset u among the rows of all strips, which lie one behind the
// other, is kept as a strip and an offset within it, u = strip * span + row: a step adds both parts, and where the
// row leaves its strip it begins the next one. Steps with the levels of bramcast_address: outside oy they
// return to the start, oy moves the pixel, ox returns to it, ky moves the tap.
//
//   clk      _/~\_/~\_/~\_     A step at the end of cycle n sets row_o and strip_o of cycle n + 1;
//   step_i   __/~~\_______     below_o tells about that row in cycle n + 2.
//   row_o    ------| r |---
//
`default_nettype none
module bramcast_rows #(
    parameter int ROW_BITS   = 12,  // bits of an element's address
    parameter int STRIP_BITS = 10   // of a strip's number
) (
    input  logic                         clk,
    // settings: there from two cycles before the first step that adds them
    input  logic [ROW_BITS-1:0]          row_start_i,
    input  logic [ROW_BITS-1:0]          row_step_oy_i,
    input  logic [ROW_BITS-1:0]          row_step_ky_i,
    input  logic [ROW_BITS:0]            span_i,       // 1.., more than any row
    input  logic [ROW_BITS-1:0]          row_limit_i,
    input  logic signed [STRIP_BITS-1:0] strip_start_i,
    input  logic signed [STRIP_BITS-1:0] strip_step_oy_i,
    input  logic signed [STRIP_BITS-1:0] strip_step_ky_i,
    input  logic                         step_i,
    input  logic [2:0]                   level_i,
    output logic [ROW_BITS-1:0]          row_o,
    output logic signed [STRIP_BITS-1:0] strip_o,
    output logic                         below_o       // the row is less than row_limit_i
);

  localparam logic [2:0] PIXEL  = 3'd2;
  localparam logic [2:0] RETURN = 3'd3;
  localparam logic [2:0] TAP    = 3'd4;

  logic [ROW_BITS-1:0]          pixel_q;   // of the pixel's first tap
  logic signed [STRIP_BITS-1:0] pixel_strip_q;
  logic signed [ROW_BITS+1:0]   oy_less_q, ky_less_q;  // steps minus span

  // Both sums at once: which one counts shows in the sign of the second.
  logic [ROW_BITS-1:0]          pixel_sum, tap_sum;
  logic signed [ROW_BITS+1:0]   pixel_less, tap_less;
  logic                         pixel_wraps, tap_wraps;
  logic [ROW_BITS-1:0]          pixel_next, tap_next;
  logic signed [STRIP_BITS-1:0] pixel_strip_next, tap_strip_next;
  assign pixel_sum        = pixel_q + row_step_oy_i;
  assign tap_sum          = row_o + row_step_ky_i;
  assign pixel_less       = $signed({2'b00, pixel_q}) + oy_less_q;
  assign tap_less         = $signed({2'b00, row_o}) + ky_less_q;
  assign pixel_wraps      = !pixel_less[ROW_BITS+1];
  assign tap_wraps        = !tap_less[ROW_BITS+1];
  assign pixel_next       = pixel_wraps ? pixel_less[ROW_BITS-1:0] : pixel_sum;
  assign tap_next         = tap_wraps ? tap_less[ROW_BITS-1:0] : tap_sum;
  assign pixel_strip_next = pixel_strip_q + strip_step_oy_i + $signed(STRIP_BITS'(pixel_wraps));
  assign tap_strip_next   = strip_o + strip_step_ky_i + $signed(STRIP_BITS'(tap_wraps));

  logic unused;
  assign unused = &{1'b0, pixel_less, tap_less};

  always_ff @(posedge clk) begin
    oy_less_q <= $signed({2'b00, row_step_oy_i}) - $signed({1'b0, span_i});
    ky_less_q <= $signed({2'b00, row_step_ky_i}) - $signed({1'b0, span_i});
    if (step_i) begin
      if (level_i < PIXEL) begin
        pixel_q       <= row_start_i;
        pixel_strip_q <= strip_start_i;
        row_o         <= row_start_i;
        strip_o       <= strip_start_i;
      end else if (level_i == PIXEL) begin
        pixel_q       <= pixel_next;
        pixel_strip_q <= pixel_strip_next;
        row_o         <= pixel_next;
        strip_o       <= pixel_strip_next;
      end else if (level_i == RETURN) begin
        row_o         <= pixel_q;
        strip_o       <= pixel_strip_q;
      end else if (level_i == TAP) begin
        row_o         <= tap_next;
        strip_o       <= tap_strip_next;
      end
    end
    below_o <= row_o < row_limit_i;
  end

endmodule
`default_nettype wire
