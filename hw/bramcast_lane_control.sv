// SPDX-License-Identifier: Apache-2.0
// bramcast_lane_control: what the lanes do with a tap: its flags, stage for stage, from S1 to S6.
//
// Golden twin: docs/format.md, NEST: a tap outside the limits is no hit; it adds nothing, and a maximum skips it.
// A pixel's first tap loads the maximum, and so does its first hit. In product nests every other tap is a factor:
// it is held, nothing is added.
//
// What the lanes take a stage later leaves without a register: bramcast_lane_array has one for each group of lanes.
// Whether a tap is a hit is each tile's own matter.
//
//   clk           _/~\_/~\_/~\_/~\_/~\_/~\_/~\_    a pixel of taps 0 and 1; s4_*_inside_i belongs to the tap in S4
//   s1_tap_i      __| 0 | 1 |__________________    s4_hit_o clears or feeds the operand two edges later
//   s4_hit_o      ______________| 0 | 1 |______    s6_pixel_o: a pixel's last tap is in S6
//   s6_pixel_o    __________________________/~~    s6_sum_o: its product is to be added
//
`default_nettype none
module bramcast_lane_control #(
    parameter int GATES = 0,  // 1: products of two tensors
    parameter int TILES = 1   // 1, 2, 4, 8
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
    // S3
    output logic       s3_step_o,
    output logic [2:0] s3_level_o,
    // S4
    input  logic [TILES-1:0] s4_y_inside_i,
    input  logic       s4_x_inside_i,
    output logic [TILES-1:0] s4_hit_o,         // a tap inside the limits
    // S5
    output logic       s5_factor_o,      // the tap is a factor
    output logic [TILES-1:0] s5_max_load_o,
    output logic [TILES-1:0] s5_max_try_o,
    // S6
    output logic       s6_factor_o,
    output logic       s6_sum_o,
    output logic       s6_first_o,       // first sum of the pixel
    output logic       s6_pixel_o,       // last tap of a pixel; with it the next three:
    output logic [1:0] s6_level_o,       // loop that advances: 1 = g, 2 = oy, 3 = ox
    output logic       s6_tail_group_o,  // pixel of the last group
    output logic       s6_end_o          // last pixel of the nest
);

  // ------------------------------------------------------------------ S2, S3: as long as an element is selected

  logic       s2_tap, s2_step, s2_first, s2_last, s2_tail_group, s2_end;
  logic       s3_tap, s3_first, s3_last, s3_tail_group, s3_end;
  logic [2:0] s2_level;

  always_ff @(posedge clk) begin
    s2_tap        <= s1_tap_i;
    s2_step       <= s1_step_i;
    s2_level      <= s1_level_i;
    s2_first      <= s1_first_i;
    s2_last       <= s1_last_i;
    s2_tail_group <= s1_tail_group_i;
    s2_end        <= s1_end_i;

    s3_tap        <= s2_tap;
    s3_step_o     <= s2_step;
    s3_level_o    <= s2_level;
    s3_first      <= s2_first;
    s3_last       <= s2_last;
    s3_tail_group <= s2_tail_group;
    s3_end        <= s2_end;
    if (rst) begin
      s2_tap    <= 1'b0;
      s2_step   <= 1'b0;
      s3_tap    <= 1'b0;
      s3_step_o <= 1'b0;
    end
  end

  // ------------------------------------------------------------------ S4..S6

  logic       s4_tap, s4_first, s4_last, s4_tail_group, s4_end;
  logic       s5_tap, s5_first, s5_last, s5_tail_group, s5_end;
  logic [1:0] s4_level, s5_level;
  assign s4_hit_o = {TILES{s4_tap && s4_x_inside_i}} & s4_y_inside_i;

  always_ff @(posedge clk) begin
    s4_tap        <= s3_tap;
    s4_level      <= s3_level_o[1:0];
    s4_first      <= s3_first;
    s4_last       <= s3_last;
    s4_tail_group <= s3_tail_group;
    s4_end        <= s3_end;

    s5_tap        <= s4_tap;
    s5_level      <= s4_level;
    s5_first      <= s4_first;
    s5_last       <= s4_last;
    s5_tail_group <= s4_tail_group;
    s5_end        <= s4_end;
    s5_max_try_o  <= s4_hit_o;
    if (rst) begin
      s4_tap       <= 1'b0;
      s5_tap       <= 1'b0;
      s5_max_try_o <= '0;
    end
  end

  logic s6_tap, s6_first, s6_last;
  logic [TILES-1:0] seen_q;  // the pixel has had a tap inside
  assign s5_max_load_o = {TILES{s5_tap}} & ({TILES{s5_first}} | (s5_max_try_o & ~seen_q));
  assign s6_pixel_o    = s6_tap && s6_last;

  always_ff @(posedge clk) begin
    s6_tap          <= s5_tap;
    s6_level_o      <= s5_level;
    s6_first        <= s5_first;
    s6_last         <= s5_last;
    s6_tail_group_o <= s5_tail_group;
    s6_end_o        <= s5_end;
    if (s5_tap) seen_q <= s5_max_try_o | (seen_q & ~{TILES{s5_first}});
    if (rst) s6_tap <= 1'b0;
  end

  assign s6_sum_o = s6_tap && !s6_factor_o;

  generate
    if (GATES != 0) begin : g_gates
      logic s4_even, s5_even, s6_even, first_factor_q;
      assign s5_factor_o = product_i && s5_even;
      assign s6_factor_o = product_i && s6_even && s6_tap;
      assign s6_first_o  = product_i ? first_factor_q : s6_first;
      always_ff @(posedge clk) begin
        // Turns with every tap; a pixel's first tap is even.
        if (s3_tap) s4_even <= s3_first || !s4_even;
        s5_even <= s4_even;
        s6_even <= s5_even;
        if (s6_tap && s6_even) first_factor_q <= s6_first;
      end
    end else begin : g_no_gates
      assign s5_factor_o = 1'b0;
      assign s6_factor_o = 1'b0;
      assign s6_first_o  = s6_first;
      logic unused;
      assign unused = &{1'b0, product_i};
    end
  endgenerate

endmodule
`default_nettype wire
