// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_assemble writes every unit and every sub-word once, in the
// cycle that its diagram says, with each element in its lane and zeros in the lanes that got none.
//
// test_formal.py puts this text in front of the module's `endmodule`. The solver chooses one lane. Assumed
// is what bramcast_input (tests/formal/input.sv) and bramcast_drain do: chunks count up from 0, lanes from any,
// elements and chunks don't come together nor into each other's words, and a chunk that fills a
// sub-word alone (LANES = RQ) doesn't come in the cycle behind an element.
//
  generate
    if (1) begin : g_proof
      localparam int LANE_BITS = (UNIT > 1) ? $clog2(UNIT) : 1;
      (* anyconst *) logic [LANE_BITS-1:0] chosen;
      (* anyseq *) logic [LANE_BITS-1:0]   element_lane;  // the lane of element_take_i

      logic                 started_q, inside_q, chunks_q;  // in a word; of chunks
      logic [LANE_BITS-1:0] lane_q2;       // next element's
      logic [INDEX_BITS-1:0] index_q;      // next chunk's
      logic [DATA_BITS-1:0] value_q;       // of the chosen lane so far
      logic                 write_q, unit_q;
      initial started_q = 1'b0;

      logic                 begins, full;
      logic [DATA_BITS-1:0] value;         // with what comes now
      assign begins = element_valid_i ? element_first_i : chunk_index_i == '0;
      assign full   = chunk_valid_i && chunk_index_i == CHUNKS - 1;
      always @* begin
        value = ((element_valid_i || chunk_valid_i) && begins) ? '0 : value_q;
        if (element_valid_i && element_lane == chosen) value = element_i;
        if (chunk_valid_i && chosen < LANES && chosen / RQ == chunk_index_i) begin
          value = chunk_i[DATA_BITS*(chosen % RQ) +: DATA_BITS];
        end
      end

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        assume (chosen < UNIT);
        assume (!(element_valid_i && chunk_valid_i));
        assume (element_lane < UNIT);
        if (element_valid_i) assume (element_take_i == 1 << element_lane);
        else if (inside_q || write_q || chunk_valid_i) assume (element_take_i == 0);  // else: behind rst
        if (element_valid_i) begin
          assume (!(inside_q && chunks_q));
          // A frame that is dropped leaves its last unit without an end.
          assume (element_first_i || inside_q);
          if (!element_first_i) assume (element_lane == lane_q2);
          inside_q <= !element_end_i && element_lane != UNIT - 1;
          chunks_q <= 1'b0;
          lane_q2  <= element_lane + 1'b1;
        end
        if (chunk_valid_i) begin
          assume (!(inside_q && !chunks_q));
          assume (chunk_index_i == (inside_q ? index_q : '0));
          if (CHUNKS == 1) assume (!unit_q);
          inside_q <= !(chunk_last_i || full);
          chunks_q <= 1'b1;
          index_q  <= chunk_index_i + 1'b1;
        end
        value_q <= value;
        write_q <= (element_valid_i && element_end_i) || (chunk_valid_i && chunk_last_i && !full);
        unit_q  <= element_valid_i;
        if (rst) begin
          inside_q <= 1'b0;
          write_q  <= 1'b0;
        end

        if (started_q) begin
          assert (we_o == (full || write_q));
          assert (held_o == write_q);
          if (write_q) assert (from_input_o == unit_q);
          if (full) assert (!from_input_o);
          if (full && chosen < LANES) assert (word_o[DATA_BITS*chosen +: DATA_BITS] == value);
          if (write_q) assert (word_o[DATA_BITS*chosen +: DATA_BITS] == value_q);
        end
        cover (started_q && write_q && unit_q && chosen == 1 && value_q == 8'd7);
        cover (started_q && full && chosen == LANES - 1 && value == 8'd7);
      end

`ifdef HELP
      logic [DATA_BITS-1:0] kept [0:UNIT-1];
      genvar k;
      for (k = 0; k < UNIT; k = k + 1) begin : g_kept
        assign kept[k] = g_lane[k].lane_q;
      end
      always @(posedge clk) if (started_q) begin
        assert (complete_q == write_q);
        if (inside_q || write_q) assert (kept[chosen] == value_q);
        if (inside_q && !chunks_q) assert (lane_q2 != '0 && lane_q2 <= UNIT - 1);
        if (inside_q && chunks_q) assert (index_q != '0 && index_q <= CHUNKS - 1);
        if (write_q) assert (input_q == unit_q);
      end
`endif
    end
  endgenerate
