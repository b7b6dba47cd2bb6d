// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_output loses, doubles and swaps no beat, whatever gaps
// both sides make, and keeps a beat that is not taken as it is, as AXI4-Stream wants it.
//
// test_formal.py puts this text in front of the module's `endmodule`. The solver chooses one beat of any
// chunk at any time: as many beats must leave before it as went in before it, then it itself, with its
// TLAST and run_end_o; then it may choose another one. Assumed is what bramcast_pace guarantees: no chunk comes
// that finds no room, and what bramcast_core does with flush_i: it is high for two cycles or more, and until busy_o is low.
// From its second cycle on no beat leaves the FIFO; a run that is open, in a packet or between two of them, gets one beat
// with the mark, none other has it, and after four cycles of flush_i in which the sink is ready no run is open. With CLASS defined: m_axis_tuser is the number of the largest beat so far, the first one
// of equals. What stands under HELP is true of the module's registers and lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      (* anyseq *) logic                 choose;
      (* anyseq *) logic [LANE_BITS-1:0] which;   // lane of the chunk

      logic       started_q;
      logic [7:0] room_q;         // chunks that bramcast_pace may still send
      logic [7:0] beats_q;        // went in and are not out yet
      logic       chosen_q;       // a beat is chosen and not out yet
      logic [7:0] ahead_q;        // beats that leave before it
      logic [31:0] data_q;
      logic       last_q, end_q;  // TLAST; the run ends
      logic       waits_q;        // a beat stood on the stream and was not taken
      logic [31:0] waits_data_q;
      logic       waits_last_q, waits_end_q;
      logic       waits_mark_q;
      logic       next_q;         // there must be a beat on the stream now
      logic       close_q;        // ... the mark
      logic       opened_q;         // a run has had a beat, not its last one
      logic       flush_q, flush_q2, busy_q;
      logic [2:0] ready_q;        // cycles of flush_i in a row with a sink that is ready, up to 4
      initial started_q = 1'b0;

      logic taken, mark;
      logic [7:0] remain;         // beats_q without the one that leaves now
      assign mark   = m_axis_tuser[16];
      assign taken  = m_axis_tvalid && m_axis_tready;
      assign remain = beats_q - {7'd0, taken && !mark};

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        if (flush_q && (!flush_q2 || busy_q)) assume (flush_i);
        assume (!chunk_valid_i || (room_q != 8'd0 && chunk_lanes_i < RQ));
        assume (!chunk_end_i || chunk_tlast_i);

        flush_q  <= flush_i;
        flush_q2 <= flush_q;
        busy_q   <= busy_o;
        ready_q  <= !(flush_i && m_axis_tready) ? 3'd0 : ready_q == 3'd4 ? 3'd4 : ready_q + 3'd1;
        if (taken) opened_q <= !run_end_o && !mark;
        room_q  <= flush_i ? FIFO_CHUNKS : room_q + {7'd0, pop_o} - {7'd0, chunk_valid_i};
        beats_q <= flush_i ? {7'd0, remain != 8'd0}
                 : chunk_valid_i ? remain + 8'd1 + chunk_lanes_i : remain;
        if (chosen_q && taken && !mark) begin
          chosen_q <= ahead_q != 8'd0;
          ahead_q  <= ahead_q - 8'd1;
        end
        if (flush_i && ahead_q != {7'd0, taken && !mark}) chosen_q <= 1'b0;
        if (!chosen_q && !flush_i && chunk_valid_i && choose && which <= chunk_lanes_i) begin
          chosen_q <= 1'b1;
          ahead_q  <= remain + which;
          data_q   <= chunk_i[32*which +: 32];
          last_q   <= chunk_tlast_i && which == chunk_lanes_i;
          end_q    <= chunk_end_i && which == chunk_lanes_i;
        end
        waits_q      <= m_axis_tvalid && !m_axis_tready;
        waits_data_q <= m_axis_tdata;
        waits_last_q <= m_axis_tlast;
        waits_end_q  <= run_end_o;
        waits_mark_q <= mark;
        next_q       <= remain != 8'd0;
        close_q      <= flush_i && !m_axis_tvalid && remain == 8'd0 && opened_q;
        if (rst) begin
          flush_q  <= 1'b0;
          flush_q2 <= 1'b0;
          ready_q  <= 3'd0;
          opened_q   <= 1'b0;
          close_q  <= 1'b0;
          room_q   <= FIFO_CHUNKS;
          beats_q  <= 8'd0;
          chosen_q <= 1'b0;
          waits_q  <= 1'b0;
          next_q   <= 1'b0;
        end

`ifndef CLASS
        if (started_q) begin
          if (m_axis_tvalid && !mark) assert (beats_q != 8'd0);
          if (m_axis_tvalid && mark) begin
            assert (flush_q && opened_q && beats_q == 8'd0 && m_axis_tlast && !run_end_o && m_axis_tdata == 32'd0);
          end
          assert (busy_o == (m_axis_tvalid || opened_q));
          if (flush_q && flush_q2) assert (beats_q <= 8'd1);
          if (ready_q == 3'd4) assert (!busy_o);  // the bound
          if (m_axis_tvalid && !mark && chosen_q && ahead_q == 8'd0) begin
            assert (m_axis_tdata == data_q);
            assert (m_axis_tlast == last_q && run_end_o == end_q);
          end
          if (waits_q) begin
            assert (m_axis_tvalid && m_axis_tdata == waits_data_q && m_axis_tlast == waits_last_q);
            assert (mark == waits_mark_q && run_end_o == waits_end_q);
          end
          if (next_q) assert (m_axis_tvalid && !mark);  // at once: no cycle is lost
          if (close_q) assert (m_axis_tvalid && mark);
          assert (room_q <= FIFO_CHUNKS);
          if (beats_q == 8'd0) assert (room_q + {7'd0, pop_o} == FIFO_CHUNKS);  // all room is given back
        end
        cover (started_q && taken && chosen_q && ahead_q == 8'd0 && m_axis_tlast
               && read_q[POINTER_BITS] && beats_q == 8'd3);
        cover (started_q && taken && mark && ready_q == 3'd3);
        cover (started_q && flush_q && flush_q2 && taken && !mark && run_end_o);
        cover (started_q && taken && mark && first_q);  // behind a packet that is whole
`endif
      end

`ifdef HELP
      // Beats of the occupied entries, and the chosen beat's place among them.
      logic [7:0] waiting, before;
      logic       legal, found;
      integer     i;
      logic [POINTER_BITS:0]   occupied;
      logic [POINTER_BITS-1:0] slot;
      logic [ENTRY_BITS-1:0]   entry;
      logic [LANE_BITS-1:0]    lanes;
      logic [7:0]              place;    // of the chosen beat inside this entry
      assign occupied = write_q - read_q;
      always @* begin
        waiting = {7'd0, m_axis_tvalid && !mark} - {{(8-LANE_BITS){1'b0}}, lane_q};
        legal   = 1'b1;
        found   = m_axis_tvalid && !mark && ahead_q == 8'd0 && m_axis_tdata == data_q && m_axis_tlast == last_q
                  && run_end_o == end_q;
        for (i = 0; i < FIFO_CHUNKS; i = i + 1) begin
          slot  = read_q + i;
          entry = entries[slot];
          lanes = entry[RQ*32 +: LANE_BITS];
          place = ahead_q - waiting;
          if (i < occupied) begin
            legal = legal && lanes < RQ && (entry[TLAST] || !entry[END]) && (i > 0 || lane_q <= lanes);
            if (ahead_q >= {7'd0, m_axis_tvalid && !mark} && place <= lanes && (i > 0 || place >= lane_q)
                && entry[32*place +: 32] == data_q
                && last_q == (entry[TLAST] && place == lanes)
                && end_q == (entry[END] && place == lanes)) found = 1'b1;
            waiting = waiting + 8'd1 + lanes;
          end
        end
        if (occupied == 0) legal = legal && lane_q == '0;
      end
      always @(posedge clk) if (started_q) begin
        assert (occupied <= FIFO_CHUNKS);
        assert (room_q + occupied + pop_o == FIFO_CHUNKS);
        assert (legal);
        assert (beats_q == waiting);
        if (chosen_q) assert (found);
        assert (open_q == opened_q);
        if (!open_q) assert (first_q);
        if (m_axis_tvalid && run_end_o) assert (m_axis_tlast && !mark);
        if (mark) assert (m_axis_tvalid && m_axis_tlast && flush_q);
        if (flush_q) assert (occupied == 0 && !pop_o);
        // Every cycle with a sink that is ready comes closer to the end.
        if (ready_q != 3'd0) assert (flush_q);
        if (ready_q >= 3'd2) assert (!m_axis_tvalid || mark);
        if (ready_q >= 3'd3) assert (!busy_o || m_axis_tvalid);
        if (ready_q >= 3'd4) assert (!busy_o);
      end
`endif

`ifdef CLASS
      logic        first_beat_q, larger;
      logic [15:0] number_q, best_number_q, number;
      logic [31:0] largest_q;
      assign larger = first_beat_q || $signed(m_axis_tdata) > $signed(largest_q);
      assign number = larger ? number_q : best_number_q;
      logic        ended_beat_q;
      logic [15:0] ended_number_q;
      always @(posedge clk) begin
        if (taken) begin
          first_beat_q <= m_axis_tlast;
          number_q     <= m_axis_tlast ? 16'd0 : number_q + 16'd1;
          if (larger) begin
            largest_q     <= m_axis_tdata;
            best_number_q <= number_q;
          end
        end
        ended_beat_q <= taken && run_end_o;
        if (taken && run_end_o) ended_number_q <= number;
        if (rst) begin
          first_beat_q   <= 1'b1;
          number_q       <= 16'd0;
          ended_beat_q   <= 1'b0;
          ended_number_q <= 16'd0;
        end
        if (started_q && m_axis_tvalid && !mark) assert (m_axis_tuser == number);
        if (started_q) assert (class_o == ended_number_q);  // it stays until the next one
        cover (started_q && taken && m_axis_tlast && number == 16'd1 && number_q == 16'd3);
`ifdef HELP
        if (started_q) begin
          assert (first_q == first_beat_q && beat_q == number_q && ended_q == ended_beat_q);
          if (!first_q || ended_q) assert (best_beat_q == best_number_q);
          if (!first_q) assert (best_q == largest_q);
          if (m_axis_tvalid) assert (value_q == m_axis_tdata);
          if (ended_q) assert (first_q && best_number_q == ended_number_q);
          if (!ended_q) assert (class_q == ended_number_q);
        end
`endif
      end
`endif
    end
  endgenerate
