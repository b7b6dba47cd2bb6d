// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction): bramcast_pace lets no last tap by whose chunks would find no room in the output
// FIFO or would meet those of the pixel before, and holds none back for any other reason.
//
// test_formal.py puts this text in front of the module's `endmodule`. Assumed is that no last tap is taken while
// stall_o was high in the cycle before (tests/formal/nest.sv), that a pixel has at most CHUNKS chunks, and that only chunks leave the FIFO that
// went in. For the bound on a stall, with POPS defined: one leaves at least every PATIENCE cycles. Then no last
// tap waits for longer than the chunks of one group take.
//
  generate
    if (1) begin : g_proof
      localparam int PATIENCE = 3;

      logic       started_q;
      logic       stall_q;   // of this cycle's last tap
      logic       stream_q;  // stream_i a cycle ago: it does not change beside a last tap
      logic [7:0] used_q;    // chunks in the FIFO or on their way to it
      logic [7:0] since_q;   // cycles since the last pixel's last tap
      logic [7:0] drain_q;   // chunks of this pixel; 0: none yet
      initial started_q = 1'b0;

      logic [7:0] count;     // chunks of the pixel that comes now
      logic       drains, no_room;
      assign count   = 8'd1 + chunks_i;
      assign drains  = since_q < drain_q;
      assign no_room = FIFO_CHUNKS - used_q < CHUNKS;

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        assume (chunks_i < CHUNKS);
        if (pixel_end_i) assume (!stall_q && stream_i == stream_q);
        stream_q <= stream_i;
        stall_q  <= stall_o && !rst;
        if (used_q == 8'd0) assume (!pop_i);

        used_q <= used_q + ((pixel_end_i && stream_i) ? count : 8'd0) - {7'd0, pop_i};
        if (pixel_end_i) begin
          since_q <= 8'd1;
          drain_q <= count;
        end else if (drains) begin
          since_q <= since_q + 8'd1;
        end
        if (rst) begin
          used_q  <= 8'd0;
          since_q <= 8'd0;
          drain_q <= 8'd0;
        end

        if (started_q) begin
          assert (used_q <= FIFO_CHUNKS);
          if (drains) assert (stall_q);               // a last tap comes drain_q cycles later at the earliest
          if (stream_q && no_room) assert (stall_q);  // any group fits, also the largest
          if (!drains && !(stream_q && no_room)) assert (!stall_q);
        end
        cover (started_q && used_q == FIFO_CHUNKS && pop_i);
        cover (started_q && stream_i && pixel_end_i && used_q == FIFO_CHUNKS - CHUNKS && count == CHUNKS);
        cover (started_q && !stream_i && pixel_end_i && no_room);
      end

`ifdef POPS
      logic [7:0] idle_q;     // cycles since a chunk left, while there is one
      logic [7:0] stalled_q;  // cycles in a row in which a last tap had to wait
      always @(posedge clk) begin
        assume (idle_q < PATIENCE);
        idle_q    <= (used_q == 8'd0 || pop_i) ? 8'd0 : idle_q + 8'd1;
        stalled_q <= stall_q ? stalled_q + 8'd1 : 8'd0;
        if (rst) begin
          idle_q    <= 8'd0;
          stalled_q <= 8'd0;
        end
        if (started_q) assert (stalled_q < CHUNKS * PATIENCE);
        cover (started_q && stalled_q == CHUNKS * PATIENCE - 1);
      end
`ifdef HELP
      logic [7:0] over, drain, pops;  // chunks too many; cycles until they have left, and the pixel before
      assign over  = no_room ? used_q - (FIFO_CHUNKS - CHUNKS) : 8'd0;
      assign pops  = no_room ? over * PATIENCE - idle_q : 8'd0;
      assign drain = drains ? drain_q - since_q : 8'd0;
      always @(posedge clk) if (started_q) begin
        assert (stalled_q + (pops > drain ? pops : drain) < CHUNKS * PATIENCE);
      end
`endif
`endif

`ifdef HELP
      always @(posedge clk) if (started_q) begin
        assert ($signed(credit_q) == $signed(FIFO_CHUNKS - CHUNKS) - $signed({1'b0, used_q}));
        assert (blocked_q == drains && left_q == (drains ? drain_q - since_q : 8'd0));
        assert (drain_q <= CHUNKS && since_q <= drain_q);
      end
`endif
    end
  endgenerate
