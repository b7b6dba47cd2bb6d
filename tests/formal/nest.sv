// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_nest takes the taps of six nested loops in their order, one in every cycle
// in which no pixel's last tap is stalled, each with its level and flags, and ends behind the last one.
//
// test_formal.py puts this text in front of the module's `endmodule`. Six indices count up from 0 as a nest of loops
// does; the module counts down. Assumed is that no nest is begun while one runs and that its counts stand still.
// With PRODUCT defined, and counts up to 2: the number of the taps taken is the index in the unrolled nest, and
// when the nest ends it has been all of them, the product of the counts. (Only there does a multiplier stand in
// the solver's way; what the loops do does not depend on the counts.) The steps of the activations are the same, with late_i
// two cycles later.
//
  generate
    if (1) begin : g_proof
      logic        started_q, active_q, primed_q;
      logic        stall_q;  // of this cycle's tap
      logic [95:0] index_q, counts_q, next;
      logic [2:0]  level;  // of the loop that advances behind this tap; 0: the nest ends
      logic        waits, takes, first, last, final_group;
      logic        takes_q, first_q2, last_q2, final_group_q, end_q2;
      logic [2:0]  level_q, level_q2, level_q3;
      logic        steps_q, steps_q2, steps_q3, late_q;  // as s1_step_o, one and two cycles later
      integer      l;
      initial started_q = 1'b0;

      always @* begin
        level = 3'd0;
        for (l = 0; l < 6; l = l + 1) if (index_q[16*l +: 16] != counts_q[16*l +: 16]) level = l + 1;
        next = index_q;
        for (l = 0; l < 6; l = l + 1) begin
          if (l + 1 == level) next[16*l +: 16] = index_q[16*l +: 16] + 16'd1;
          else if (l + 1 > level) next[16*l +: 16] = 16'd0;
        end
      end
      assign first       = index_q[95:48] == 48'd0;
      assign last        = index_q[95:48] == counts_q[95:48];
      assign final_group = index_q[15:0] == counts_q[15:0];
      assign waits       = last && stall_q;
      assign takes       = active_q && !waits;
      assign steps_q     = takes_q || primed_q;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        if (active_q) assume (!prime_i && counts_i == counts_q);
        if (prime_i) begin
          active_q <= 1'b1;
          index_q  <= 96'd0;
          counts_q <= counts_i;
        end else if (takes) begin
          active_q <= level != 3'd0;
          index_q  <= next;
        end
        primed_q      <= prime_i;
        stall_q       <= stall_i;
        takes_q       <= takes;
        first_q2      <= first;
        last_q2       <= last;
        final_group_q <= final_group;
        end_q2        <= level == 3'd0;
        level_q       <= prime_i ? 3'd0 : level;
        level_q2      <= level_q;
        level_q3      <= level_q2;
        steps_q2      <= steps_q;
        steps_q3      <= steps_q2;
        late_q        <= late_i;
        if (rst) begin
          active_q <= 1'b0;
          primed_q <= 1'b0;
          takes_q  <= 1'b0;
          steps_q2 <= 1'b0;
          steps_q3 <= 1'b0;
        end

        if (started_q) begin
          assert (pixel_end_o == (takes && last));
          assert (nest_end_o == (takes && level == 3'd0));
          if (active_q) assert (tail_group_o == final_group);
          assert (s1_tap_o == takes_q);
          assert (s1_step_o == steps_q);
          if (steps_q) assert (s1_level_o == level_q);
          assert (act_step_o == (late_q ? steps_q3 : steps_q));
          if (act_step_o) assert (act_level_o == (late_q ? level_q3 : level_q));
          if (takes_q) begin
            assert (s1_first_o == first_q2);
            assert (s1_last_o == last_q2);
            assert (s1_tail_group_o == final_group_q);
            assert (s1_end_o == end_q2);
          end
        end
        cover (started_q && nest_end_o && counts_q[15:0] == 16'd1 && counts_q[63:48] == 16'd1);
        cover (started_q && active_q && waits && level == 3'd3);
        cover (started_q && late_q && act_step_o && act_level_o == 3'd4);
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        assert (run_q == active_q && go_q == (active_q && !stall_q));
        assert (s2_step == steps_q2);
        if (steps_q2) assert (s2_level == level_q2);
        if (active_q) begin
          assert (first_q == first);
          for (l = 0; l < 6; l = l + 1) begin
            assert (one_q[l] == (counts_q[16*l +: 16] == 16'd0));
            assert (last_q[l] == (index_q[16*l +: 16] == counts_q[16*l +: 16]));
            assert (index_q[16*l +: 16] <= counts_q[16*l +: 16]);
            assert (count_q[16*l +: 16] == counts_q[16*l +: 16] - index_q[16*l +: 16]);
          end
        end
      end
`endif

`ifdef PRODUCT
      logic [11:0] number_q;  // of this tap: taps taken before it
      logic [11:0] place, product;
      always @* begin
        place   = 12'd0;
        product = 12'd1;
        for (l = 0; l < 6; l = l + 1) begin
          place   = place * (12'd1 + counts_q[16*l +: 2]) + index_q[16*l +: 2];
          product = product * (12'd1 + counts_q[16*l +: 2]);
        end
      end
      always @(posedge clk) begin
        for (l = 0; l < 6; l = l + 1) if (prime_i) assume (counts_i[16*l +: 16] < 16'd2);
        if (prime_i) number_q <= 12'd0;
        else if (takes) number_q <= number_q + 12'd1;
        if (started_q && active_q) assert (number_q == place);
        if (started_q && nest_end_o) assert (number_q + 12'd1 == product);
        cover (started_q && nest_end_o && number_q == 12'd7);
`ifdef HELP
        for (l = 0; l < 6; l = l + 1) if (started_q && active_q) assert (counts_q[16*l +: 16] < 16'd2);
`endif
      end
`endif
    end
  endgenerate
