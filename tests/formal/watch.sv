// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_watch ends a run three cycles behind the one with which LIMIT or SINK_LIMIT
// is met, never before, and once; so a run that nothing holds up is ended in its cycle LIMIT + 4, for every limit.
//
// test_formal.py puts this text in front of the module's `endmodule`. All inputs are free; no run is in work behind a reset.
// What stands under HELP lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      logic        started_q, begun_q, reset_q;
      initial started_q = 1'b0;
      initial begun_q = 1'b0;
      logic        before_q;          // running_i in the last cycle
      logic [31:0] count_q, waits_q;  // cycles that count, before this one, since the run began or its limit was written
      logic [31:0] count_q2, waits_q2, limit_q, sink_q;  // a cycle ago; of the counts without what a write took
      logic [31:0] count_q3, waits_q3;
      logic [1:0]  late_q, sink_late_q;  // cycles since the limit was met
      logic        fired_q;           // the run has been ended
      logic        wait_now;
      logic [32:0] age_q;             // cycles of a run that nothing has held up; 0: something has
      logic        calm;
      assign wait_now = m_axis_tvalid && !m_axis_tready;
      assign calm     = running_i && !wait_now && !stopped_i && !put_limit_i && !put_sink_limit_i;

      always @(posedge clk) begin
        started_q <= 1'b1;
        begun_q   <= started_q;
        assume (started_q || rst);
        if (reset_q) assume (!running_i);
        reset_q  <= rst;
        before_q <= running_i;
        count_q  <= (put_limit_i ? 32'd0 : count_q) + (before_q && !wait_now && !stopped_i);
        waits_q  <= (put_sink_limit_i ? 32'd0 : waits_q) + wait_now;
        count_q2 <= put_limit_i ? 32'd0 : count_q;
        waits_q2 <= put_sink_limit_i ? 32'd0 : waits_q;
        count_q3 <= count_q2;
        waits_q3 <= waits_q2;
        limit_q  <= limit_o;
        sink_q   <= sink_limit_o;
        late_q      <= 2'd0;
        sink_late_q <= 2'd0;
        if (limit_o != 32'd0 && count_q >= limit_o && !put_limit_i && !fired_q) late_q <= late_q + 2'd1;
        if (sink_limit_o != 32'd0 && waits_q >= sink_limit_o && !put_sink_limit_i && !fired_q) begin
          sink_late_q <= sink_late_q + 2'd1;
        end
        fired_q <= fired_q || timeout_o || sink_o;
        age_q   <= calm && (age_q != 33'd0 || !before_q) ? age_q + 33'd1 : 33'd0;
        if (!running_i || rst) begin
          count_q     <= 32'd0;
          waits_q     <= 32'd0;
          late_q      <= 2'd0;
          sink_late_q <= 2'd0;
          fired_q     <= 1'b0;
          age_q       <= 33'd0;
        end
        if (rst) before_q <= 1'b0;

        if (begun_q) begin
          if (timeout_o || sink_o) assert (running_i && !fired_q);
          if (timeout_o) assert (limit_q != 32'd0 && count_q3 == limit_q);
          if (sink_o) assert (sink_q != 32'd0 && waits_q3 == sink_q);
          if (running_i && late_q == 2'd2) assert (timeout_o || sink_o || fired_q);
          if (running_i && sink_late_q == 2'd2) assert (timeout_o || sink_o || fired_q);
          if (calm && age_q != 33'd0 && age_q == limit_o + 33'd3 && limit_o != 32'd0) assert (timeout_o);
          if (!reset_q && !$past(put_limit_i)) assert (limit_o == limit_q);
          if (!reset_q && !$past(put_sink_limit_i)) assert (sink_limit_o == sink_q);
        end
        cover (begun_q && timeout_o && limit_o == 32'd5 && age_q == 33'd8);
        cover (begun_q && sink_o && sink_limit_o == 32'd2 && $past(m_axis_tready, 4));
        cover (begun_q && fired_q && age_q > limit_o + 33'd6 && limit_o != 32'd0);
      end

`ifdef HELP
      always @(posedge clk) if (begun_q) begin
        assert (running_q == before_q && limited_q == (limit_o != 32'd0));
        assert (sink_limited_q == (sink_limit_o != 32'd0));
        if (running_q) assert (ran_q == count_q2 && waited_q == waits_q2);
        if (!before_q) assert (count_q == 32'd0 && waits_q == 32'd0 && !fired_q && age_q == 33'd0);
        if (!before_q) assert (late_q == 2'd0 && sink_late_q == 2'd0);
        if (before_q) begin
          assert (armed_q == !fired_q);
          assert (count_q == count_q2 || count_q == count_q2 + 32'd1);
          assert (waits_q == waits_q2 || waits_q == waits_q2 + 32'd1);
        end
        if (before_q && !fired_q && limit_o != 32'd0) begin
          if (late_q == 2'd0) assert (count_q2 < limit_o);
          if (late_q == 2'd1) assert (count_q2 == limit_o);
        end
        if (before_q && !fired_q && sink_limit_o != 32'd0) begin
          if (sink_late_q == 2'd0) assert (waits_q2 < sink_limit_o);
          if (sink_late_q == 2'd1) assert (waits_q2 == sink_limit_o);
        end
        if (late_q == 2'd1 || sink_late_q == 2'd1) assert (!(limit_hit_q && sink_hit_q));
        if (late_q == 2'd3 || sink_late_q == 2'd3) assert (fired_q);
        if (limit_o == 32'd0) assert (late_q == 2'd0);
        if (sink_limit_o == 32'd0) assert (sink_late_q == 2'd0);
        if (age_q != 33'd0) begin
          assert (before_q && waits_q == 32'd0 && waits_q2 == 32'd0 && !sink_hit_q);
          assert (count_q == age_q[31:0] - 32'd1);
          if (age_q >= 33'd2) assert (count_q2 == age_q[31:0] - 32'd2 && limit_q == limit_o);
          if (age_q >= 33'd3) assert (count_q3 == age_q[31:0] - 32'd3);
          if (fired_q) assert (limit_o != 32'd0 && age_q > limit_o + 33'd3);
          else if (limit_o != 32'd0) assert (age_q <= limit_o + 33'd3);
          if (age_q == 33'd1) assert (!limit_hit_q && count_q2 == 32'd0);
          if (limit_hit_q) assert (limit_o != 32'd0 && age_q == limit_o + 33'd3);
        end
      end
`endif
    end
  endgenerate
