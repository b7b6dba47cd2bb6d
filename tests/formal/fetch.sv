// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_fetch reads the program's descriptors one behind the other, each from its
// place, words 0 to 31 in consecutive cycles, with its ready flag in its cycle; a wrong opcode stops it, and whatever
// begins it again brings INPUT. With GATES a LOOP's body comes as often as it says, with the bases that move.
//
// test_formal.py puts this text in front of the module's `endmodule`. The program memory is cut out: every word is
// whatever the solver likes, and the proof says from which address it was read. Assumed is that only what is ready is taken
// (tests/formal/input.sv, bramcast_sequence), and docs/format.md, rule 9: the last nest belongs to no LOOP, and
// no base moves outside. With LOOP
// defined the search for counterexamples looks far ahead and not wide: nothing begins anew, what is ready is taken at
// once, and there are few programs.
//
  generate
    if (1) begin : g_proof
      localparam int PLACE_BITS = ADDRESS_BITS - 5;

      logic                    started_q;
      logic [ADDRESS_BITS-1:0] raddr_q, raddr_q2;  // the address that word was read from
      logic                    input_ready_q, nest_ready_q, stopped_q;
      logic                    input_q;            // the next descriptor, or the one in work, is INPUT
      logic [PLACE_BITS-1:0]   place_q;            // its number in the program
      logic [5:0]              cycle_q;            // 0: none in work; in cycle 3 + w its word w is here
      logic                    end_q;              // its last word is here
      logic [PLACE_BITS-1:0]   end_place_q;
      logic                    is_last_q, is_loop_q;
      logic                    in_loop_q;
      logic [PLACE_BITS-1:0]   body_q;
      logic [15:0]             iteration_q, nest_q, count_1_q, length_1_q;  // counts minus one
      logic [31:0]             act_q, result_q, act_by_q, result_by_q;      // offsets and what they move by
      logic                    act_here_q, result_here_q;
      initial started_q = 1'b0;

      logic                   again_now, here, opens, wrong, act_word, result_word, body_done;
      logic [3:0]             opcode;
      logic [4:0]             number;
      logic [31:0]            expected;
      assign again_now   = restart_i || host_read_i || host_we_i;
      assign here        = (cycle_q >= 6'd3 && cycle_q <= 6'd33) || end_q;
      assign number      = end_q ? 5'd31 : cycle_q - 6'd3;
      assign opcode      = word[3:0];
      assign opens       = cycle_q == 6'd3 && GATES != 0 && !input_q && !in_loop_q && opcode == 4'd3;
      assign wrong       = cycle_q == 6'd3 && !opens && opcode != (input_q ? 4'd1 : 4'd2);
      assign act_word    = here && number == 5'd4 && act_here_q;
      assign result_word = here && number == 5'd18 && result_here_q;
      assign expected    = word + (act_word ? act_q : result_word ? result_q : 32'd0);
      assign body_done   = in_loop_q && nest_q == length_1_q;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        if (take_input_i) assume (input_ready_q);
        if (take_nest_i) assume (nest_ready_q);
        if (cycle_q == 6'd3 && in_loop_q) assume (!word[9]);
        if (cycle_q == 6'd3 && !in_loop_q && !opens) assume (!word[15] && !word[25]);

        raddr_q  <= address_q;
        raddr_q2 <= raddr_q;
        if (take_input_i) input_ready_q <= 1'b0;
        if (take_nest_i) nest_ready_q <= 1'b0;
        if (wrong) stopped_q <= 1'b1;
        end_q <= 1'b0;

        if (cycle_q == 6'd0) begin
          if (!nest_ready_q && !(input_q && input_ready_q)) cycle_q <= 6'd1;
        end else if (cycle_q != 6'd34) begin
          cycle_q <= cycle_q + 6'd1;
        end
        if (cycle_q == 6'd3) begin
          is_last_q     <= word[9] && !input_q;
          is_loop_q     <= opens;
          act_here_q    <= GATES != 0 && word[15] && !opens;
          result_here_q <= GATES != 0 && word[25] && !opens;
        end
        if (is_loop_q && cycle_q == 6'd4) begin
          count_1_q  <= word[15:0];
          length_1_q <= word[31:16];
        end
        if (is_loop_q && cycle_q == 6'd7) act_by_q <= word;
        if (is_loop_q && cycle_q == 6'd21) result_by_q <= word;

        if (cycle_q == 6'd33) begin
          end_q       <= 1'b1;
          end_place_q <= place_q;
          if (!stopped_q) begin
            cycle_q <= 6'd0;
            place_q <= place_q + 1'b1;
            if (is_loop_q) begin
              in_loop_q   <= 1'b1;
              body_q      <= place_q + 1'b1;
              iteration_q <= 16'd0;
              nest_q      <= 16'd0;
              act_q       <= 32'd0;
              result_q    <= 32'd0;
            end else begin
              if (input_q) input_ready_q <= 1'b1;
              else nest_ready_q <= 1'b1;
              input_q <= is_last_q;
              if (is_last_q) place_q <= '0;
              if (in_loop_q && !input_q) begin
                nest_q <= nest_q + 16'd1;
                if (body_done) begin
                  nest_q      <= 16'd0;
                  iteration_q <= iteration_q + 16'd1;
                  act_q       <= act_q + act_by_q;
                  result_q    <= result_q + result_by_q;
                  in_loop_q   <= iteration_q != count_1_q;
                  if (iteration_q != count_1_q) place_q <= body_q;
                end
              end
            end
          end
          is_loop_q <= 1'b0;
        end
        if (rst || again_now) begin
          input_ready_q <= 1'b0;
          nest_ready_q  <= 1'b0;
          stopped_q     <= 1'b0;
          input_q       <= 1'b1;
          place_q       <= '0;
          cycle_q       <= 6'd0;
          end_q         <= 1'b0;
          is_loop_q     <= 1'b0;
          in_loop_q     <= 1'b0;
        end

        if (started_q) begin
          assert (input_ready_o == input_ready_q);
          assert (nest_ready_o == nest_ready_q);
          assert (error_o == stopped_q);
          assert (we_o == here);
          if (here) begin
            assert (index_o == number);
            assert (raddr_q2 == {end_q ? end_place_q : place_q, number});
            assert (word_o == expected);
          end
          if (here && !end_q) assert (input_o == input_q);
        end
`ifdef LOOP
        cover (started_q && is_loop_q && cycle_q == 6'd8 && act_by_q == 32'd5 && count_1_q == 16'd1);
`ifndef HELP
        assume (started_q ? !rst && !again_now && host_beat_i == 7'd0 : rst);
        assume (take_input_i == input_ready_q && take_nest_i == nest_ready_q);
        if (cycle_q == 6'd3 && place_q == 0) assume (word[9:0] == 10'd1 || word[9:0] == 10'd5);
        if (cycle_q == 6'd3 && place_q == 1) assume (word[9:0] == 10'd3 || word[9:0] == 10'h202);
        if (cycle_q == 6'd3 && place_q > 1) assume (word[9:0] == 10'd2);
        if (cycle_q == 6'd4 && place_q == 1) assume (word == 32'd1 || word == 32'h10001);
`endif
`else
        cover (started_q && stopped_q && cycle_q == 6'd20);
        cover (started_q && again_now && here && input_q && number == 5'd12);
`endif
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        assert (cycle_q <= 6'd34);
        assert (next_input_q == input_q);
        assert (busy_q == (cycle_q != 6'd0));
        assert (read_q == (cycle_q >= 6'd1 && cycle_q <= 6'd32));
        assert (read_q2 == (cycle_q >= 6'd2 && cycle_q <= 6'd33));
        assert (read_q3 == here);
        if (cycle_q == 6'd0) assert (address_q == {place_q, 5'd0});
        if (read_q) assert (address_q == {place_q, 5'd0} + (cycle_q - 6'd1));
        if (read_q2) assert (index_q2 == cycle_q - 6'd2 && raddr_q == {place_q, 5'd0} + (cycle_q - 6'd2));
        if (cycle_q == 6'd33) assert (address_q == {place_q + 1'b1, 5'd0});
        if (read_q3) assert (index_q3 == number && raddr_q2 == {end_q ? end_place_q : place_q, number});
        if (cycle_q >= 6'd4) assert (last_q == is_last_q);
        if (end_q) assert (cycle_q == 6'd0 || cycle_q == 6'd34);
        if (cycle_q == 6'd34) assert (stopped_q);
        if (GATES == 0) assert (!is_loop_q && !in_loop_q && (cycle_q < 6'd4 || !(act_here_q || result_here_q)));
        if (stopped_q) assert (cycle_q >= 6'd4 && !is_loop_q);
        if (cycle_q != 6'd0) assert (!nest_ready_q && !(input_q && input_ready_q));
      end
`endif
    end
`ifdef HELP
    if (GATES != 0) begin : g_help
      always @(posedge clk) if (g_proof.started_q) begin
        assert (g_loop.inside_q == g_proof.in_loop_q);
        assert (g_loop.loop_q == g_proof.is_loop_q);
        if (g_proof.is_loop_q) assert (!g_proof.input_q && !g_proof.in_loop_q && g_proof.cycle_q >= 6'd4);
        if (g_proof.cycle_q >= 6'd4 || g_proof.end_q) begin
          assert (g_loop.act_moves_q == g_proof.act_here_q && g_loop.result_moves_q == g_proof.result_here_q);
        end
        if (g_proof.is_loop_q && g_proof.cycle_q >= 6'd5) begin
          assert (g_loop.count_q == g_proof.count_1_q && g_loop.length_q == g_proof.length_1_q);
          assert (g_loop.left_q == g_proof.length_1_q);
        end
        if ((g_proof.is_loop_q && g_proof.cycle_q >= 6'd8) || g_proof.in_loop_q) assert (g_loop.act_step_q == g_proof.act_by_q);
        if ((g_proof.is_loop_q && g_proof.cycle_q >= 6'd22) || g_proof.in_loop_q) begin
          assert (g_loop.result_step_q == g_proof.result_by_q);
        end
        if (g_proof.in_loop_q) begin
          assert (!g_proof.input_q && !(g_proof.cycle_q >= 6'd4 && g_proof.is_last_q));
          assert (g_loop.start_q == {g_proof.body_q, 5'd0});
          assert (g_loop.length_q == g_proof.length_1_q);
          assert (g_loop.left_q == g_proof.length_1_q - g_proof.nest_q && g_proof.nest_q <= g_proof.length_1_q);
          assert (g_loop.count_q == g_proof.count_1_q - g_proof.iteration_q);
          assert (g_proof.iteration_q <= g_proof.count_1_q);
        end
        if (g_proof.in_loop_q) assert (g_loop.act_offset_q == g_proof.act_q);
        if (g_proof.in_loop_q) assert (g_loop.result_offset_q == g_proof.result_q);
        if (g_proof.cycle_q >= 6'd4 && !g_proof.in_loop_q) begin
          assert (!g_proof.act_here_q && !g_proof.result_here_q);
        end
      end
    end
`endif
  endgenerate
