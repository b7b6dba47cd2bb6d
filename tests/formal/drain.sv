// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): each pixel gives exactly the chunks that hold its lanes, one per cycle and in
// order, with its level, its bias addresses and its last chunk's lanes and flags; and nothing else comes.
//
// test_formal.py puts this text in front of the module's `endmodule`. Assumed is what bramcast_pace guarantees (no pixel
// comes before the last chunk of the one before), that tail_i is at most a group and stands still while a last
// group's pixel drains, and that a pixel that ends its group does not come with the next nest's base.
//
  generate
    if (1) begin : g_proof
      logic                 started_q, known_q;  // known: a nest's base has come
      logic                 busy_q;
      logic [7:0]           total_q, number_q;   // lanes of the pixel; of the chunk that stands there
      logic [7:0]           tail_total_q;        // lanes of the last group while its pixel drains
      logic                 end_pixel_q;
      logic [1:0]           level_q;
      logic [BIAS_BITS-1:0] next_q, bias_q;      // base + groups * step: of the next pixel, of this one
      initial started_q = 1'b0;
      initial known_q   = 1'b0;

      logic [7:0] lanes, first;  // of the pixel that comes; number of this chunk's first lane
      logic       last;
      assign lanes = pixel_tail_i ? 8'd1 + tail_i : lanewise_i ? LANES * TAPS : LANES;
      assign first = number_q * RQ;
      assign last  = first + RQ >= total_q;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        assume (tail_i < LANES * TAPS);
        if (busy_q && tail_total_q != 8'd0) assume (8'd1 + tail_i == tail_total_q);
        if (pixel_i) assume (known_q && !(busy_q && !last));
        if (pixel_i && pixel_level_i == 2'd1) assume (!load_i);

        if (pixel_i) begin
          total_q      <= lanes;
          number_q     <= 8'd0;
          tail_total_q <= pixel_tail_i ? lanes : 8'd0;
          end_pixel_q  <= pixel_end_i;
          level_q      <= pixel_level_i;
          bias_q       <= next_q;
        end else begin
          number_q <= number_q + 8'd1;
        end
        if (load_i) known_q <= 1'b1;
        if (load_i) next_q <= bias_base_i;
        else if (pixel_i && pixel_level_i == 2'd1) next_q <= next_q + bias_step_i;
        busy_q <= !rst && (pixel_i || (busy_q && !last));

        if (started_q) begin
          assert (chunk_valid_o == busy_q);
          if (busy_q) begin
            assert (first < total_q);
            assert (chunk_index_o == number_q);
            assert (chunk_last_o == last);
            assert (chunk_end_o == (last && end_pixel_q));
            assert (chunk_lanes_o == (last ? total_q - first - 8'd1 : RQ - 1));
            assert (chunk_level_o == level_q);
            assert (bias_address_o == ((bias_q + number_q) & ((1 << BIAS_BITS) - 1)));
          end
        end
        cover (started_q && busy_q && last && number_q == LANES * TAPS / RQ - 1 && chunk_end_o && bias_q == 4'd6);
        cover (started_q && busy_q && last && pixel_i && tail_total_q == 8'd1);
        cover (started_q && busy_q && number_q == 8'd0 && tail_total_q == LANES * TAPS && next_q != bias_q);
      end

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        if (known_q) assert (group_q == next_q);
        if (busy_q) begin
          assert (known_q);
          assert (first < total_q && total_q <= LANES * TAPS);
          if (!last) assert (left_q == (total_q - 8'd1) / RQ - number_q);
          assert (last_q == last && end_q == end_pixel_q && tail_q == (tail_total_q != 8'd0));
          if (tail_q) assert (tail_total_q == total_q);
          else assert (total_q == LANES || total_q == LANES * TAPS);
        end
      end
`endif
    end
  endgenerate
