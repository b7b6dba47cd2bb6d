// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_beats hands on exactly the elements of the beats that it
// takes, in order, each once; TLAST comes with the last element of a beat that had it, or alone, if the beat has
// none; a beat with neither element nor TLAST leaves nothing; what is offered stays until it is taken. The
// next beat is taken as soon as one element per cycle allows, and never earlier.
//
// test_formal.py puts this text in front of the module's `endmodule`. The reference keeps the beat as it came and
// counts; the module shifts. Nothing is assumed about TKEEP. What stands under HELP lets induction start anywhere.
//
  generate
    if (BEAT > 1) begin : g_proof
      logic                      started_q;
      logic [BEAT*DATA_BITS-1:0] beat_q;        // as it came
      logic [3:0]                count_q, at_q; // its elements; that have left
      logic                      end_q;         // it had a TLAST that counts
      logic                      held_q;        // of it something is to leave
      logic                      open_q2;
      logic [DATA_BITS-1:0]      element_q2;    // what was offered
      logic                      last_q2, none_q2, offered_q;
      logic [2:0]                seen_q;        // a full, a partial, an empty beat has left
      initial started_q = 1'b0;

      logic       come, go, ends;
      logic [3:0] count;
      logic       whole;
      always @* begin
        count = 4'd0;
        whole = 1'b1;
        for (int i = 0; i < BEAT * DATA_BITS / 8; i++) begin
          if (!s_axis_tkeep[i]) whole = 1'b0;
          if (whole && i % (DATA_BITS / 8) == DATA_BITS / 8 - 1) count = count + 4'd1;
        end
      end
      assign come = s_axis_tvalid && s_axis_tready;
      assign go   = valid_o && ready_i;
      assign ends = s_axis_tlast && TLAST_ENDS == 1;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        open_q2 <= !rst && !clear_i;
        if (go) at_q <= at_q + 4'd1;
        if (go && at_q + 4'd1 >= count_q) held_q <= 1'b0;
        if (come) begin
          beat_q  <= s_axis_tdata;
          count_q <= count;
          at_q    <= 4'd0;
          end_q   <= ends;
          held_q  <= count != 4'd0 || ends;
        end
        if (rst || clear_i) held_q <= 1'b0;
        element_q2 <= element_o;
        last_q2    <= last_o;
        none_q2    <= none_o;
        offered_q  <= valid_o && !ready_i && !rst && !clear_i;
        if (go) seen_q <= seen_q | {none_o, last_o && count_q < BEAT && !none_o, count_q == BEAT};
        if (rst) seen_q <= 3'd0;

        if (started_q) begin
          assert (valid_o == held_q);
          if (held_q) begin
            if (count_q != 4'd0) assert (element_o == beat_q[at_q*DATA_BITS +: DATA_BITS]);
            assert (none_o == (count_q == 4'd0));
            assert (last_o == (end_q && at_q + 4'd1 >= count_q));
          end
          assert (s_axis_tready == (open_q2 && (!held_q || (ready_i && at_q + 4'd1 >= count_q))));
          if (offered_q) begin
            assert (valid_o && last_o == last_q2 && none_o == none_q2);
            if (!none_o) assert (element_o == element_q2);
          end
        end
        cover (started_q && (TLAST_ENDS == 1 ? seen_q == 3'b111 : seen_q[0]) && go && come);
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        assert (g_beats.full_q == held_q && g_beats.open_q == open_q2);
        if (held_q) begin
          assert (count_q <= BEAT && (at_q < count_q || (at_q == 4'd0 && count_q == 4'd0)));
          assert (g_beats.last_q == end_q);
          assert (count_q != 4'd0 || end_q);
          assert (g_beats.data_q == beat_q >> (DATA_BITS * at_q));
          for (int i = 0; i < BEAT; i++) begin
            if (i < count_q - at_q) assert (g_beats.keep_q[i]);
            if (i == count_q - at_q) assert (!g_beats.keep_q[i]);
          end
          if (offered_q) assert (element_o == element_q2 && last_o == last_q2 && none_o == none_q2);
        end
        if (offered_q) assert (held_q);
      end
`endif
    end
  endgenerate
