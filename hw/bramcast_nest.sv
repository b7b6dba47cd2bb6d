// SPDX-License-Identifier: Apache-2.0
// bramcast_nest: the six nested loops of a layer; says what happens in each cycle.
//
// Golden twin: docs/format.md, NEST: `for g, oy, ox: for ky, kx, ci`. One tap per cycle, with no
// bubble between pixels and groups, except that a pixel's last tap waits in the cycle behind one in which
// stall_i is high.
//
//   clk        _/~\_/~\_/~\_/~\_     prime_i loads the counters; the first tap follows at once.
//   prime_i    __|~~~|___________    S0 signals belong to the tap whose turn it is,
//   tap        ______|~~~|~~~|___    S1 signals are the same one cycle later, registered.
//   s1_tap_o   __________|~~~|~~~
//
// The counters count down and their zero flags are looked ahead, so that a tap's level, the loop that
// advances behind it, is one table of six flags: 1 = g, 2 = oy, 3 = ox, 4 = ky, 5 = kx, 6 = ci.
// Level 0 stands for the base: s1_step_o is high once with it, one cycle before the first tap's S1,
// and the address streams start from there. (A nest's last tap has level 0, too.)
//
`default_nettype none
module bramcast_nest (
    input  logic        clk,
    input  logic        rst,
    input  logic        prime_i,
    input  logic [95:0] counts_i,     // {ci, kx, ky, ox, oy, g}, 16 bits each, minus one
    input  logic        stall_i,      // of the tap of the next cycle
    input  logic        late_i,       // the activation addresses step two cycles later
    // S0
    output logic        tail_group_o,  // in the last group
    output logic        pixel_end_o,   // this tap is its pixel's last and is taken
    output logic        nest_end_o,    // ... and the nest's last
    // S1
    output logic        s1_tap_o,
    output logic        s1_step_o,     // the address streams advance at this cycle's end
    output logic [2:0]  s1_level_o,
    output logic        act_step_o,    // that of the activations: in S1, or if late_i in S3
    output logic [2:0]  act_level_o,
    output logic        s1_first_o,    // first tap of a pixel
    output logic        s1_last_o,     // last tap of a pixel
    output logic        s1_tail_group_o,
    output logic        s1_end_o       // last tap of the nest
);

  logic [95:0] count_q;
  logic [5:0]  last_q;   // loop l is in its last iteration
  logic [5:0]  one_q;    // loop l has one iteration
  logic [6:3]  inner;    // the pixel's loops inside loop l - 1 are in their last iteration
  logic        all_last; // ... and those around them, too
  logic        run, run_q;
  logic        go_q;     // run_q, and no stall: what a pixel's last tap takes
  logic        first_q;
  logic        tap;      // a tap is taken in this cycle

  assign inner    = {1'b1, last_q[5], &last_q[5:4], &last_q[5:3]};
  assign all_last = &last_q;

  assign tap          = go_q || (run_q && !inner[3]);
  assign tail_group_o = last_q[0];
  assign pixel_end_o  = go_q && inner[3];
  assign nest_end_o   = go_q && all_last;
  assign run          = prime_i || (run_q && !nest_end_o);

  genvar l;
  generate
    for (l = 0; l < 6; l = l + 1) begin : g_loop
      logic is_zero, ends;  // the loops inside this one end with this tap
      if (l < 3) begin : g_outer
        assign ends = pixel_end_o && &(last_q[2:0] | 3'((8'd1 << (l + 1)) - 8'd1));
      end else begin : g_inner
        assign ends = tap && inner[l+1];
      end
      assign is_zero = counts_i[16*l +: 16] == 16'd0;
      always_ff @(posedge clk) begin
        if (prime_i) begin
          one_q[l]             <= is_zero;
          last_q[l]            <= is_zero;
          count_q[16*l +: 16]  <= counts_i[16*l +: 16];
        end else if (ends) begin
          if (last_q[l]) begin
            last_q[l]           <= one_q[l];
            count_q[16*l +: 16] <= counts_i[16*l +: 16];
          end else begin
            last_q[l]           <= count_q[16*l +: 16] == 16'd1;
            count_q[16*l +: 16] <= count_q[16*l +: 16] - 16'd1;
          end
        end
      end
    end
  endgenerate

  logic [2:0] level;
  assign level = prime_i ? 3'd0
               : !last_q[5] ? 3'd6
               : !last_q[4] ? 3'd5
               : !last_q[3] ? 3'd4
               : !last_q[2] ? 3'd3
               : !last_q[1] ? 3'd2
               : !last_q[0] ? 3'd1
               : 3'd0;

  logic       s2_step;
  logic [2:0] s2_level;

  always_ff @(posedge clk) begin
    s1_tap_o        <= tap;
    s1_step_o       <= tap || prime_i;
    s1_level_o      <= level;
    s2_step         <= s1_step_o;
    s2_level        <= s1_level_o;
    act_step_o      <= late_i ? s2_step : tap || prime_i;
    act_level_o     <= late_i ? s2_level : level;
    s1_first_o      <= first_q;
    s1_last_o       <= inner[3];
    s1_tail_group_o <= last_q[0];
    s1_end_o        <= all_last;
    if (prime_i) first_q <= 1'b1;
    else if (tap) first_q <= inner[3];
    run_q <= run;
    go_q  <= run && !stall_i;
    if (rst) begin
      run_q      <= 1'b0;
      go_q       <= 1'b0;
      s1_tap_o   <= 1'b0;
      s1_step_o  <= 1'b0;
      s2_step    <= 1'b0;
      act_step_o <= 1'b0;
    end
  end

endmodule
`default_nettype wire
