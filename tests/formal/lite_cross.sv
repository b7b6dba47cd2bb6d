// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_lite_cross asks the core once for each request of the bus, what
// the bus asked, and answers the bus once, what the core answered, whatever the two clocks do. What crosses in more
// than one bit is used only if it has stood still for an edge of the clock that uses it, and stands until then.
// The bus' reset may come at any time: a request that has been sent is still put to the core and answered by it,
// once, and nobody else gets that answer. Each side waits for not more than four of its edges for the other one.
//
// test_formal.py puts this text in front of the module's `endmodule` and makes each clock an enable: in every
// step of the solver either clock, both or none may have an edge. A synchronizer that sees its bit
// change in the step before takes the old value or the new one. Assumed is what bramcast_lite and
// bramcast_registers do: inputs change behind an edge of their clock, a request stays until it is answered or the
// bus is reset, answers come to requests only. What stands under HELP lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      logic                     started_q;
      logic                     valid_q, write_q, whole_q, bus_rst_q, done_q, done_o_q, bus_q, core_q;
      logic [ADDRESS_BITS-1:0]  address_q;
      logic [31:0]              wdata_q, rdata_q;
      logic [1:0]               resp_q;
      logic [ADDRESS_BITS+33:0] asked_q;   // by the bus
      logic [33:0]              given_q;   // by the core
      logic                     sent_q, answered_q;  // not answered yet; not taken yet
      logic                     lost_q;    // the bus has been reset meanwhile
      logic                     new_asked_q, new_given_q;  // since the last edge of the clock that takes it
      logic [2:0]               waits_q, waits_q2;         // edges in which nothing is seen
      logic [1:0]               seen_q;    // for the cover statement
      initial started_q = 1'b0;

      initial begin
        sent_q      = 1'b0;
        answered_q  = 1'b0;
        lost_q      = 1'b0;
        new_asked_q = 1'b0;
        new_given_q = 1'b0;
        waits_q     = 3'd0;
        waits_q2    = 3'd0;
        seen_q      = 2'd0;
      end

      always @($global_clock) begin
        started_q <= 1'b1;
        valid_q   <= valid_i;
        write_q   <= write_i;
        whole_q   <= whole_i;
        address_q <= address_i;
        wdata_q   <= wdata_i;
        bus_rst_q <= bus_rst;
        done_q    <= done_i;
        rdata_q   <= rdata_i;
        resp_q    <= resp_i;
        done_o_q  <= done_o;
        bus_q     <= bus_clk;
        core_q    <= clk;

        if (started_q && !bus_q) begin
          assume (valid_i == valid_q && write_i == write_q && whole_i == whole_q);
          assume (address_i == address_q && wdata_i == wdata_q && bus_rst == bus_rst_q);
        end
        if (started_q && bus_q && (done_o_q || bus_rst_q)) assume (!valid_i);
        if (started_q && bus_q && valid_q && !done_o_q && !bus_rst_q) begin
          assume (valid_i && write_i == write_q && whole_i == whole_q);
          assume (address_i == address_q && wdata_i == wdata_q);
        end
        if (started_q && !core_q) begin
          assume (done_i == done_q && rdata_i == rdata_q && resp_i == resp_q);
        end
        if (!valid_o) assume (!done_i);

        if (bus_clk) begin
          new_given_q <= 1'b0;
          waits_q2    <= answered_q && !ended_q ? waits_q2 + 3'd1 : 3'd0;
          if (valid_i && !bus_rst && !sent_q && !answered_q) begin
            sent_q      <= 1'b1;
            asked_q     <= {write_i, address_i, wdata_i, whole_i};
            lost_q      <= 1'b0;
          end
          if ((sent_q || answered_q) && bus_rst) lost_q <= 1'b1;
          if (back) begin
            answered_q <= 1'b0;
            lost_q     <= 1'b0;
            seen_q     <= seen_q | {lost_q, done_o};
          end
        end
        if (clk) begin
          new_asked_q <= 1'b0;
          waits_q     <= (sent_q && !valid_o) ? waits_q + 3'd1 : 3'd0;
          if (valid_o && done_i) begin
            sent_q      <= 1'b0;
            answered_q  <= 1'b1;
            given_q     <= {rdata_i, resp_i};
            new_given_q <= 1'b1;
          end
        end
        if (bus_clk && valid_i && !bus_rst && !sent_q && !answered_q) new_asked_q <= 1'b1;

        if (started_q) begin
          if (valid_o) assert (sent_q && !new_asked_q && {write_o, address_o, wdata_o, whole_o} == asked_q);
          if (ended_q) assert ({write_o, address_o, wdata_o, whole_o} == asked_q);
          if (back) assert (answered_q);
          if (done_o) assert (!lost_q && !new_given_q && {rdata_o, resp_o} == given_q);
          if (back && !lost_q) assert (done_o);
          assert (waits_q <= 3'd4 && waits_q2 <= 3'd4);
        end
        cover (started_q && seen_q == 2'b11);
      end

`ifdef HELP
      logic behind, behind2;  // a turn is on its way
      assign behind  = sent_q && !valid_o;
      assign behind2 = answered_q && !ended_q;
      always @($global_clock) if (started_q) begin
        assert (!(sent_q && answered_q));
        assert (busy_q == (sent_q || answered_q));
        assert (dropped_q == lost_q);
        if (!busy_q) assert (!lost_q && !valid_o);
        if (busy_q && !lost_q && !(bus_q && bus_rst_q)) assert (valid_i);
        if (busy_q && bus_q && bus_rst_q) assert (lost_q);
        if (answered_q) assert (!valid_o);
        // the turns
        assert (request_seen_q == (behind ? !request_q : request_q));
        if (!behind || request == request_q) assert (request_meta == request_q);
        if (!behind) assert (request == request_q);
        if (request_before != request_q || new_asked_q) assert (behind && request_meta != request_q);
        assert (answer_seen_q == (behind2 ? !answer_q : answer_q));
        if (!behind2 || answer == answer_q) assert (answer_meta == answer_q);
        if (!behind2) assert (answer == answer_q);
        if (answer_before != answer_q || (new_given_q && !ended_q)) assert (behind2 && answer_meta != answer_q);
        // how long
        if (!sent_q) assert (waits_q == 3'd0);
        if (sent_q) assert (waits_q2 == 3'd0);
        if (behind && request_meta != request_q) begin
          assert (waits_q <= (request_before != request_q || new_asked_q ? 3'd0 : 3'd1));
        end
        if (behind && request_meta == request_q) assert (waits_q <= 3'd2 + (request == request_q));
        if (behind2 && answer_meta != answer_q) begin
          assert (waits_q2 <= (answer_before != answer_q || new_given_q ? 3'd0 : 3'd1));
        end
        if (behind2 && answer_meta == answer_q) assert (waits_q2 <= 3'd2 + (answer == answer_q));
        if (ended_q) assert (answered_q && waits_q2 == 3'd0);
        if (sent_q || ended_q) assert ({write_o, address_o, wdata_o, whole_o} == asked_q);
        if (answered_q) assert ({rdata_o, resp_o} == given_q);
      end
`endif
    end
  endgenerate
