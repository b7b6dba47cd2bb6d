// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_output loses, doubles and swaps no beat, whatever gaps
// both sides make, and keeps a beat that is not taken as it is, as AXI4-Stream wants it.
//
// test_formal.py puts this text in front of the module's `endmodule`. The solver chooses one beat of any
// chunk at any time: as many beats must leave before it as went in before it, then it itself, with its
// TLAST; then it may choose another one. Assumed is what bramcast_pace guarantees: no chunk comes
// that finds no room. With CLASS defined: m_axis_tuser is the number of the largest beat so far, the first one
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
      logic       last_q;
      logic       waits_q;        // a beat stood on the stream and was not taken
      logic [31:0] waits_data_q;
      logic       waits_last_q;
      logic       next_q;         // there must be a beat on the stream now
      initial started_q = 1'b0;

      logic taken;
      logic [7:0] remain;         // beats_q without the one that leaves now
      assign taken  = m_axis_tvalid && m_axis_tready;
      assign remain = beats_q - {7'd0, taken};

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        assume (!flush_i);
        assume (!chunk_valid_i || (room_q != 8'd0 && chunk_lanes_i < RQ));

        room_q  <= room_q + {7'd0, pop_o} - {7'd0, chunk_valid_i};
        beats_q <= chunk_valid_i ? remain + 8'd1 + chunk_lanes_i : remain;
        if (chosen_q && taken) begin
          chosen_q <= ahead_q != 8'd0;
          ahead_q  <= ahead_q - 8'd1;
        end
        if (!chosen_q && chunk_valid_i && choose && which <= chunk_lanes_i) begin
          chosen_q <= 1'b1;
          ahead_q  <= remain + which;
          data_q   <= chunk_i[32*which +: 32];
          last_q   <= chunk_end_i && which == chunk_lanes_i;
        end
        waits_q      <= m_axis_tvalid && !m_axis_tready;
        waits_data_q <= m_axis_tdata;
        waits_last_q <= m_axis_tlast;
        next_q       <= remain != 8'd0;
        if (rst) begin
          room_q   <= FIFO_CHUNKS;
          beats_q  <= 8'd0;
          chosen_q <= 1'b0;
          waits_q  <= 1'b0;
          next_q   <= 1'b0;
        end

`ifndef CLASS
        if (started_q) begin
          if (m_axis_tvalid) assert (beats_q != 8'd0);
          if (m_axis_tvalid && chosen_q && ahead_q == 8'd0) begin
            assert (m_axis_tdata == data_q);
            assert (m_axis_tlast == last_q);
          end
          if (waits_q) begin
            assert (m_axis_tvalid && m_axis_tdata == waits_data_q && m_axis_tlast == waits_last_q);
          end
          if (next_q) assert (m_axis_tvalid);  // at once: no cycle is lost
          assert (room_q <= FIFO_CHUNKS);
          if (beats_q == 8'd0) assert (room_q + {7'd0, pop_o} == FIFO_CHUNKS);  // all room is given back
        end
        cover (started_q && taken && chosen_q && ahead_q == 8'd0 && m_axis_tlast
               && read_q[POINTER_BITS] && beats_q == 8'd3);
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
        waiting = {7'd0, m_axis_tvalid} - {{(8-LANE_BITS){1'b0}}, lane_q};
        legal   = 1'b1;
        found   = m_axis_tvalid && ahead_q == 8'd0 && m_axis_tdata == data_q && m_axis_tlast == last_q;
        for (i = 0; i < FIFO_CHUNKS; i = i + 1) begin
          slot  = read_q + i;
          entry = entries[slot];
          lanes = entry[RQ*32 +: LANE_BITS];
          place = ahead_q - waiting;
          if (i < occupied) begin
            legal = legal && lanes < RQ && (i > 0 || lane_q <= lanes);
            if (ahead_q >= {7'd0, m_axis_tvalid} && place <= lanes && (i > 0 || place >= lane_q)
                && entry[32*place +: 32] == data_q
                && last_q == (entry[ENTRY_BITS-1] && place == lanes)) found = 1'b1;
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
        ended_beat_q <= taken && m_axis_tlast;
        if (taken && m_axis_tlast) ended_number_q <= number;
        if (rst) begin
          first_beat_q   <= 1'b1;
          number_q       <= 16'd0;
          ended_beat_q   <= 1'b0;
          ended_number_q <= 16'd0;
        end
        if (started_q && m_axis_tvalid) assert (m_axis_tuser == number);
        if (started_q) assert (class_o == ended_number_q);  // it stays until the next one
        cover (started_q && taken && m_axis_tlast && number == 16'd1 && number_q == 16'd3);
`ifdef HELP
        if (started_q) begin
          assert (first_q == first_beat_q && beat_q == number_q && ended_q == ended_beat_q);
          if (!first_q || ended_q) assert (best_beat_q == best_number_q);
          if (!first_q) assert (best_q == largest_q);
          if (ended_q) assert (first_q && best_number_q == ended_number_q);
          if (!ended_q) assert (class_q == ended_number_q);
        end
`endif
      end
`endif
    end
  endgenerate
