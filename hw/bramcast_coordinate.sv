// SPDX-License-Identifier: Apache-2.0
// bramcast_coordinate: one coordinate of the taps (y or x) and whether it lies inside the limit.
//
// Golden twin: docs/format.md, NEST: y = y_start + oy*y_step_oy + ky*y_step_ky, 0 <= y < y_limit.
// Steps with the levels of bramcast_address. PIXEL_LEVEL is the loop that moves the pixel: 2 = oy for
// y, 3 = ox for x; the tap's loop (ky, kx) is two further in. An outer loop returns to the start, the
// loop between the two returns to the pixel's coordinate.
//
//   clk       _/~\_/~\_/~\_     A step at the end of cycle n sets the coordinate of cycle n + 1;
//   step_i    __/~~\_______     inside_o tells about it in cycle n + 2.
//   inside_o  __________|~~
//
`default_nettype none
module bramcast_coordinate #(
    parameter int PIXEL_LEVEL = 2  // 2 or 3
) (
    input  logic               clk,
    input  logic               step_i,
    input  logic [2:0]         level_i,
    input  logic signed [15:0] start_i,
    input  logic signed [15:0] pixel_step_i,
    input  logic signed [15:0] tap_step_i,
    input  logic [15:0]        limit_i,     // 1..32767
    output logic               inside_o
);

  generate
    if (PIXEL_LEVEL != 2 && PIXEL_LEVEL != 3) begin : g_check
      PIXEL_LEVEL_must_be_2_or_3 u_error ();
    end
  endgenerate

  localparam logic [2:0] PIXEL  = 3'(PIXEL_LEVEL);
  localparam logic [2:0] RETURN = 3'(PIXEL_LEVEL + 1);
  localparam logic [2:0] TAP    = 3'(PIXEL_LEVEL + 2);

  logic signed [15:0] pixel_q;  // coordinate of the pixel's first tap
  logic signed [15:0] tap_q;

  logic signed [15:0] pixel_next;
  logic signed [15:0] tap_next;
  assign pixel_next = pixel_q + pixel_step_i;
  assign tap_next   = tap_q + tap_step_i;

  always_ff @(posedge clk) begin
    if (step_i) begin
      if (level_i < PIXEL) begin
        pixel_q <= start_i;
        tap_q   <= start_i;
      end else if (level_i == PIXEL) begin
        pixel_q <= pixel_next;
        tap_q   <= pixel_next;
      end else if (level_i == RETURN) begin
        tap_q   <= pixel_q;
      end else if (level_i == TAP) begin
        tap_q   <= tap_next;
      end
    end
    inside_o <= $unsigned(tap_q) < limit_i;  // a negative coordinate is 32768 or more
  end

endmodule
`default_nettype wire
