// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_input takes exactly the elements of a frame, whatever gaps
// the stream and room_i make, and every one leaves once, in order, in the next cycle, with the lane and
// unit that docs/format.md gives it; the unit's address is there in the cycle in which it is written.
// A frame is taken when TLAST comes with its last element and with no other. Any other frame is dropped: it is
// marked at its TLAST or at the last element that fits, what follows leaves no more, and behind its
// TLAST everything begins again with one cycle's pause (docs/core.md, "Borders of frames"; of several packets behind the last
// one's, "Packets"), unless withdraw_i says
// that nothing shall: then no element is taken. A TLAST without an
// element (none_i) makes a frame a short one.
// With flush_i a frame that has begun is taken up to its TLAST, an element in every cycle that brings one, and nothing is
// told of it; the stream is closed in the cycle behind that TLAST, or behind give_up_i, and stays so.
//
// test_formal.py puts this text in front of the module's `endmodule`. The descriptor is what stands in
// run_q, all_runs_q, base_q and first_lane (lead), with TLAST_ENDS = 2 also in packets_q and sizes, which leave the last
// packet an element of the frame at least. Assumed is the core's order of events: neither a start nor a
// descriptor while a frame is being taken, and a unit is written in the cycle after its last element left
// (tests/formal/assemble.sv), before the next start, but for the unit that is marked. With `buffered`, as in bramcast_frames, nothing is
// written, and the next frame may start at once. What stands under HELP lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      (* anyconst *) logic buffered;

      logic                    started_q, room_q, taking_q, fresh_q;
      logic                    skip_q, pause_q, wrong_q; // rest of a long frame; behind a dropped one; marked
      logic                    stop_q;                   // ... and nothing else shall begin
      logic                    short_q, long_q;          // errors
      logic                    short_q2, long_q2;        // ... since the start
      logic                    flush_q, flush_q2, open_q2; // open_o in the cycle before
      logic                    drained_q;                // flush_i has taken a frame's TLAST
      logic [COUNT_BITS-1:0]   element_q, number_q;      // of the next element in its run; of its run
      logic [UNIT_BITS-1:0]    unit_q, unit_q2, unit_q3; // of the next element, of element_o, being written
      logic                    valid_q, end_q, run_end_q2, run_end_q3, done_q, write_q;
      logic [DATA_BITS-1:0]    data_q;
      logic [COUNT_BITS-1:0]   lane_q2;
      logic                    first_q2;
      logic                  reset_q;     // behind a cycle of rst
      initial started_q = 1'b0;

      logic [3:0]            packet_q;    // of the next element, and its number in it
      logic [COUNT_BITS-1:0] within_q;
      logic take, run_end, unit_end, last, tl, wrong, whole, keep;
      logic last_of, ends;                // the packet is the frame's last; the element is its packet's
      logic [COUNT_BITS-1:0]   at;               // of the next element in its run's first word
      logic [UNIT_BITS-1:0] next;
      assign take     = s_axis_tvalid && s_axis_tready;
      assign run_end  = element_q == run_q;
      assign at       = element_q + first_lane;
      assign unit_end = run_end || at % LANES == LANES - 1;
      assign last     = run_end && number_q == all_runs_q;
      if (TLAST_ENDS == 2) begin : g_several
        assign last_of = packet_q == g_packets.packets_q;
        assign ends    = last_of ? last : within_q == g_packets.sizes[packet_q];
      end else begin : g_one
        assign last_of = 1'b1;
        assign ends    = last;
      end
      assign tl       = (TLAST_ENDS == 0) ? last && !skip_q : s_axis_tlast && last_of;
      assign wrong    = take && !skip_q && TLAST_ENDS != 0 && (s_axis_tlast != ends || none_i);
      assign whole    = take && !skip_q && tl && last && !wrong;
      // Of the frame that has begun there is more to come.
      assign keep     = TLAST_ENDS != 0 && !give_up_i
                        && (take ? !tl : taking_q && !fresh_q && !pause_q);
      // A run begins in a new word: of UNITS units.
      assign next     = run_end ? (unit_q / UNITS + 1) * UNITS : unit_q + 1'b1;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        if (flush_q && (!flush_q2 || open_q2)) assume (flush_i);
        assume (!none_i || (s_axis_tlast && TLAST_ENDS != 0));
        if (taking_q && !skip_q && !pause_q && !last_of) assume (!last);
        assume (!(taking_q && (start_i || we_i)) && !(start_i && we_i));
        assume (written_i == (!buffered && write_q && !flush_q));
        if (!buffered) assume (!(start_i && valid_q && end_q));

        flush_q  <= flush_i;
        flush_q2 <= flush_q;
        open_q2  <= open_o;
        room_q  <= room_i || flush_i;
        valid_q <= take && !skip_q;
        wrong_q <= wrong;
        pause_q <= take && tl && !whole && !flush_i;
        stop_q  <= pause_q && withdraw_i && !flush_i;
        data_q  <= s_axis_tdata;
        lane_q2 <= at % LANES;
        first_q2 <= element_q == '0 || at % LANES == '0;
        end_q   <= unit_end || wrong;
        unit_q2 <= unit_q;
        unit_q3 <= unit_q2;
        write_q <= valid_q && end_q && !wrong_q && !flush_i;
        done_q  <= whole;
        run_end_q2 <= run_end;
        run_end_q3 <= run_end_q2;
        if (take) begin
          element_q <= run_end ? '0 : element_q + 1'b1;
          if (run_end) number_q <= number_q + 1'b1;
          if (unit_end) unit_q <= next;
          fresh_q <= 1'b0;
          skip_q  <= !tl && (skip_q || wrong);
          packet_q <= s_axis_tlast ? packet_q + 4'd1 : packet_q;
          within_q <= s_axis_tlast ? '0 : within_q + 1'b1;
          if (whole) taking_q <= 1'b0;
        end
        if (withdrawn_o) taking_q <= 1'b0;
        if (start_i) taking_q <= 1'b1;
        if (start_i || pause_q) begin
          fresh_q   <= 1'b1;
          element_q <= '0;
          number_q  <= '0;
          packet_q  <= 4'd0;
          within_q  <= '0;
          unit_q    <= base_q * UNITS;
        end
        if (flush_i) begin
          taking_q <= keep;
          skip_q   <= keep;
        end
        if (flush_i && flush_q && take && tl) drained_q <= 1'b1;
        if (clear_error_i[0]) short_q <= 1'b0;
        if (clear_error_i[1]) long_q <= 1'b0;
        if (wrong && s_axis_tlast) short_q <= 1'b1;
        if (wrong && !s_axis_tlast) long_q <= 1'b1;
        if (wrong && s_axis_tlast) short_q2 <= 1'b1;
        if (wrong && !s_axis_tlast) long_q2 <= 1'b1;
        reset_q <= rst;
        if (rst) begin
          flush_q  <= 1'b0;
          flush_q2 <= 1'b0;
          drained_q <= 1'b0;
          taking_q <= 1'b0;
          valid_q  <= 1'b0;
          write_q  <= 1'b0;
          done_q   <= 1'b0;
          skip_q   <= 1'b0;
          pause_q  <= 1'b0;
          stop_q   <= 1'b0;
          short_q  <= 1'b0;
          long_q   <= 1'b0;
          short_q2 <= 1'b0;
          long_q2  <= 1'b0;
        end

        if (started_q) begin
          assert (open_o == taking_q);
          if (!taking_q) assert (!s_axis_tready);
          if (taking_q && !rst) assert (s_axis_tready == (room_q && !pause_q && !stop_q));  // no other cycle is lost
          if (flush_q && flush_i) begin
            assert (!dropped_o && !(taken_o || wrong_o && valid_o && flush_q2));
            assert (s_axis_tready == open_o);  // the bound: each element of the rest takes one cycle
            if (flush_q2 && !open_q2) assert (!open_o);
          end
          assert (waiting_o == (taking_q && fresh_q));
          assert (taken_o == whole);
          assert (dropped_o == pause_q);
          assert (withdrawn_o == (waiting_o && !take && withdraw_i));
          assert (valid_o == valid_q);
          if (!valid_q && !reset_q) assert (take_o == '0);
          if (valid_q) begin
            assert (element_o == data_q);
            assert (take_o == 1 << lane_q2);
            assert (first_o == first_q2);
            assert (word_end_o == end_q);
            assert (run_end_o == run_end_q2);
            assert (wrong_o == wrong_q);
          end
          if (written_i) assert (address_o == unit_q3);
          assert (done_o == done_q);
          assert (frame_error_o == {long_q, short_q});
        end
        cover (started_q && done_q && number_q == 2'd3 && run_q == 2'd2);
        cover (started_q && done_q && (TLAST_ENDS == 0 || drained_q));
        cover (started_q && done_q && run_q == 2'd2 && (TLAST_ENDS == 0 || (short_q2 && long_q2)));
      end

`ifdef HELP
      if (TLAST_ENDS == 2) begin : g_help
        always @(posedge clk) if (started_q && taking_q && !pause_q) begin
          assert (packet_q == g_packets.number_q);
          if (!skip_q && !last_of) begin
            assert (g_packets.left_q == g_packets.sizes[packet_q] - within_q);
            assert (g_packets.last_element_of_q == (g_packets.left_q == '0));
            assert (within_q <= g_packets.sizes[packet_q]);
          end
        end
      end
      always @(posedge clk) if (started_q) begin
        assert (discard_q == skip_q);
        if (TLAST_ENDS == 0) assert (!skip_q);
        if (!taking_q || fresh_q) assert (!skip_q && !pause_q);
        if (pause_q || s_axis_tready) assert (taking_q);
        if (pause_q) assert (!skip_q);
        if (taking_q) assert (none_q == fresh_q);
        if (taking_q && !skip_q && !pause_q) begin
          assert (element_q <= run_q && elements_q == run_q - element_q);
          assert (last_element_q == (elements_q == '0));
          assert (number_q <= all_runs_q && runs_q == all_runs_q - number_q);
          assert (last_run_q == (runs_q == '0));
          assert (lane_q == at % LANES);
          assert (run_first == (TAPS > 1 && element_q == '0));
          assert (unit_q % UNITS == at / LANES % UNITS);
          if (fresh_q) assert (element_q == '0 && number_q == '0);
        end
        // The unit that is written, then element_o's, then the next element's.
        if (flush_q) begin
          assert (taking_q == skip_q && !pause_q && !write_q);
        end else if (!buffered && write_q) begin
          assert (address_o == unit_q3);
          if (valid_q || !(skip_q || pause_q)) assert ((valid_q ? unit_q2 : unit_q)
                  == (run_end_q3 ? (unit_q3 / UNITS + 1) * UNITS : unit_q3 + 1'b1) % (1 << UNIT_BITS));
        end else if (!buffered && valid_q) begin
          assert (address_o == unit_q2);
        end else if (!buffered && taking_q && !skip_q && !pause_q) begin
          assert (address_o == unit_q);
        end
        if (!buffered && valid_q && end_q && !wrong_q) begin
          assert (unit_q == (run_end_q2 ? (unit_q2 / UNITS + 1) * UNITS : unit_q2 + 1'b1) % (1 << UNIT_BITS));
        end
        if (!buffered && valid_q && !end_q) assert (unit_q == unit_q2);
        if (valid_q) assert (first_o == first_q2 && word_end_o == end_q && run_end_o == run_end_q2);
        if (valid_q && (run_end_q2 || wrong_q)) assert (end_q);
        if (valid_q) assert (wrong_o == wrong_q);
        if (valid_q && wrong_q && !flush_q) assert (skip_q || pause_q);
        if (flush_q && flush_q2) assert (!valid_q && !done_q);
      end
`endif
    end
  endgenerate
