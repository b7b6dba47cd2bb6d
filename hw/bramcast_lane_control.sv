// SPDX-License-Identifier: Apache-2.0
// bramcast_lane_control: what the lanes do with a tap: its flags, stage for stage, from S1 to S6.
//
// Golden twin: docs/format.md, NEST: a tap outside the limits is no hit; it adds nothing, and a maximum skips it.
// A pixel's first tap loads the maximum, and so does its first hit. In product nests every other tap is a factor:
// it is held, nothing is added.
//
//   clk           _/~\_/~\_/~\_/~\_/~\_/~\_    a pixel of taps 0 and 1; s2_*_inside_i belongs to the tap in S2
//   s1_tap_i      __| 0 | 1 |______________    s3_hit_o clears or feeds the operand
//   s3_hit_o      __________| 0 | 1 |______    s4_pixel_o: a pixel's last tap is in S4
//   s4_pixel_o    __________________/~~~\__    s5_sum_o: an element's product is added
//   s5_sum_o      __________________| 0 | 1
//
`default_nettype none
module bramcast_lane_control #(
    parameter int GATES = 0  // 1: products of two tensors
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       product_i,        // of the nest at the back
    // S1
    input  logic       s1_tap_i,
    input  logic       s1_step_i,
    input  logic [2:0] s1_level_i,
    input  logic       s1_first_i,       // first tap of a pixel
    input  logic       s1_last_i,        // last tap of a pixel
    input  logic       s1_tail_group_i,
    input  logic       s1_end_i,         // last tap of the nest
    // S2
    output logic       s2_step_o,
    output logic [2:0] s2_level_o,
    input  logic       s2_y_inside_i,
    input  logic       s2_x_inside_i,
    // S3
    output logic       s3_hit_o,         // a tap inside the limits
    output logic       s3_factor_o,      // the tap is a factor
    // S4
    output logic       s4_factor_o,
    output logic       s4_max_load_o,
    output logic       s4_max_try_o,
    output logic       s4_pixel_o,       // last tap of a pixel; with it the next three:
    output logic [1:0] s4_level_o,       // loop that advances: 1 = g, 2 = oy, 3 = ox
    output logic       s4_tail_group_o,  // pixel of the last group
    output logic       s4_end_o,         // last pixel of the nest
    // S5
    output logic       s5_sum_o,
    output logic       s5_first_o,       // first sum of the pixel
    output logic       s5_last_o,        // last tap of a pixel
    // S6
    output logic       s6_last_o
);

  logic s2_tap, s2_first, s2_last, s2_tail_group, s2_end;

  always_ff @(posedge clk) begin
    s2_tap        <= s1_tap_i;
    s2_step_o     <= s1_step_i;
    s2_level_o    <= s1_level_i;
    s2_first      <= s1_first_i;
    s2_last       <= s1_last_i;
    s2_tail_group <= s1_tail_group_i;
    s2_end        <= s1_end_i;
    if (rst) begin
      s2_tap    <= 1'b0;
      s2_step_o <= 1'b0;
    end
  end

  logic       s3_tap, s3_first, s3_last, s3_tail_group, s3_end;
  logic [1:0] s3_level;

  always_ff @(posedge clk) begin
    s3_tap        <= s2_tap;
    s3_level      <= s2_level_o[1:0];
    s3_first      <= s2_first;
    s3_last       <= s2_last;
    s3_tail_group <= s2_tail_group;
    s3_end        <= s2_end;
    s3_hit_o      <= s2_tap && s2_y_inside_i && s2_x_inside_i;
    if (rst) begin
      s3_tap   <= 1'b0;
      s3_hit_o <= 1'b0;
    end
  end

  logic s4_tap, s4_first, s4_last;
  logic seen_q;  // the pixel has had a tap inside
  assign s4_pixel_o = s4_tap && s4_last;

  always_ff @(posedge clk) begin
    s4_tap          <= s3_tap;
    s4_level_o      <= s3_level;
    s4_first        <= s3_first;
    s4_last         <= s3_last;
    s4_tail_group_o <= s3_tail_group;
    s4_end_o        <= s3_end;
    if (s3_tap) seen_q <= s3_hit_o || (seen_q && !s3_first);
    s4_max_load_o <= s3_tap && (s3_first || (s3_hit_o && !seen_q));
    s4_max_try_o  <= s3_hit_o;
    if (rst) begin
      s4_tap        <= 1'b0;
      s4_max_load_o <= 1'b0;
      s4_max_try_o  <= 1'b0;
    end
  end

  logic s4_first_sum;
  generate
    if (GATES != 0) begin : g_gates
      logic s2_even, s3_even, s4_even, first_factor_q;
      assign s3_factor_o  = product_i && s3_even;
      assign s4_factor_o  = product_i && s4_even && s4_tap;
      assign s4_first_sum = product_i ? first_factor_q : s4_first;
      always_ff @(posedge clk) begin
        // Turns with every tap; a pixel's first tap is even.
        if (s1_tap_i) s2_even <= s1_first_i || !s2_even;
        s3_even <= s2_even;
        s4_even <= s3_even;
        if (s4_tap && s4_even) first_factor_q <= s4_first;
      end
    end else begin : g_no_gates
      assign s3_factor_o  = 1'b0;
      assign s4_factor_o  = 1'b0;
      assign s4_first_sum = s4_first;
      logic unused;
      assign unused = &{1'b0, product_i};
    end
  endgenerate

  always_ff @(posedge clk) begin
    s5_sum_o   <= s4_tap && !s4_factor_o;
    s5_first_o <= s4_first_sum;
    s5_last_o  <= s4_pixel_o;
    s6_last_o  <= s5_last_o;
    if (rst) begin
      s5_sum_o  <= 1'b0;
      s5_last_o <= 1'b0;
      s6_last_o <= 1'b0;
    end
  end

endmodule
`default_nettype wire
