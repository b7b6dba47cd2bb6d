// SPDX-License-Identifier: Apache-2.0
// bramcast_ledger: what each executed nest of a run made, as a CRC-32, and how many cycles it took; and
// whether the core shall hold behind it.
//
// Golden twin: golden/ledger.py; docs/axi.md, "The ledger". Entry n is two words of a small memory: first the
// CRC, then the cycles with STALLED in bit 31. Entries beyond LEDGER_DEPTH are not written; nests_o counts on.
//
// A nest is open from its first tap (nest_start_i) to the next one's, the last one to the run's last beat (done_i
// comes behind it). While it is open the cycles count in which no beat waits. Its CRC is that of its
// chunks: RQ numbers of 32 bits, lane 0 first, least significant byte first; a result for the scratchpad has
// zeros above its DATA_BITS, an unused lane is zero. With TILES > 1 each tile that writes has a sum of its own, and
// the CRC is the xor of them all, tile t's rotated to the left by t.
//
//   clk           _/~\_/~\_/~\_/~\_/~\_/~\_     nest n ends: cycles and CRC are written, the CRC when
//   nest_start_i  __/~~\___________________     the last chunk, in that cycle at the latest, is in it;
//   nests_o       n - 1        | n              then nests_o counts it
//   cycles                |w|
//   CRC                        |w|
//
// A beat that waits delays a stream nest, then or later, as long as beats are late: STALLED says that in a cycle
// of the nest the stream was behind that of a sink that is always ready.
//
// hold_o (PEEK): the sequence takes no nest behind number stop_after_i. It answers with held_i in the cycle in
// which it would have taken one: two cycles later the nest ends as if the next one began, and its entry is written.
//
`default_nettype none
module bramcast_ledger #(
    parameter int RQ           = 2,   // 1..64, a power of two
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int NEST_BITS    = 21,  // 1..21: bits of a number of executed nests
    parameter int LEDGER_DEPTH = 0,   // 0, or a power of two from 2 on: entries
    parameter int PEEK         = 0,   // 1: the core can hold behind a nest
    parameter int TILES        = 1,   // 1, 2, 4, 8
    parameter int LANE_BITS    = (RQ > 1) ? $clog2(RQ) : 1  // follows
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    flush_i,       // the run is given up: its entries and nests_o stay
    // nests
    input  logic                    run_start_i,   // the next nest is the run's first
    input  logic                    nest_start_i,  // its first tap is in S0
    input  logic                    done_i,        // the run's last beat has left
    output logic [NEST_BITS-1:0]    nests_o,       // of this run, ended, with their entries
    // what they make
    input  logic                    chunk_valid_i,
    input  logic                    chunk_stream_i,  // ... for the stream
    input  logic [LANE_BITS-1:0]    chunk_lanes_i,   // valid lanes, minus one
    input  logic [TILES-1:0]        chunk_banks_i,   // ... else for these banks, of these tiles
    input  logic [TILES*RQ*32-1:0]  beats_i,         // of all tiles; for the stream tile 0's
    // the stream
    input  logic                    m_axis_tvalid,
    input  logic                    m_axis_tready,
    // hold
    input  logic [20:0]             stop_after_i,  // number of a nest, 1 is the first; 0: none
    output logic                    hold_o,
    input  logic                    held_i,
    // host, as in bramcast_image
    input  logic                    host_read_i,
    input  logic [23:0]             host_word_i,   // entry
    input  logic [6:0]              host_beat_i,   // 0 CRC, 1 cycles
    output logic [31:0]             host_data_o
);

  localparam int CHUNK_BITS = 32 * RQ;

  generate
    if (LEDGER_DEPTH < 0 || LEDGER_DEPTH == 1 || (LEDGER_DEPTH & (LEDGER_DEPTH - 1)) != 0)
    begin : g_check_depth
      LEDGER_DEPTH_must_be_0_or_a_power_of_two_from_2_on u_error ();
    end
    if (PEEK != 0 && PEEK != 1) begin : g_check_peek
      PEEK_must_be_0_or_1 u_error ();
    end
  endgenerate

  // ------------------------------------------------------------------ nests

  logic clear;
  assign clear = rst || flush_i;

  logic ends;     // the open nest ends in this cycle
  logic count_q;  // its entry is complete with this cycle

  generate
    if (LEDGER_DEPTH > 0 || PEEK != 0) begin : g_nests
      logic                 first_q;          // the next nest is the run's first
      logic                 open_q;
      logic                 end_q, end_q2;    // a nest has ended, its CRC is still on its way
      logic                 held_q, held_q2;
      logic                 held;             // long enough: the next nest would begin now
      logic [NEST_BITS-1:0] next;
      assign held = held_q2 && held_i;
      assign ends = open_q && (nest_start_i || done_i || held) && !(end_q || end_q2 || count_q);
      assign next = nests_o + 1'b1;

      always_ff @(posedge clk) begin
        if (run_start_i) first_q <= 1'b1;
        else if (nest_start_i) first_q <= 1'b0;
        held_q  <= held_i;
        held_q2 <= held_i && held_q;

        if (nest_start_i) open_q <= 1'b1;
        else if (ends) open_q <= 1'b0;
        end_q   <= ends && !done_i;
        end_q2  <= end_q;
        count_q <= end_q2 || (ends && done_i);  // its last chunk left long before the last beat
        if (count_q) nests_o <= next;
        else if (nest_start_i && first_q) nests_o <= '0;

        if (clear) begin
          open_q  <= 1'b0;
          end_q   <= 1'b0;
          end_q2  <= 1'b0;
          count_q <= 1'b0;
          held_q  <= 1'b0;
          held_q2 <= 1'b0;
        end
        if (rst) nests_o <= '0;
      end

      if (PEEK != 0) begin : g_hold
        // While an entry is being completed the core stays held, or nothing has begun to hold it.
        always_ff @(posedge clk) begin
          if (!(ends || end_q || end_q2 || count_q)) begin
            hold_o <= stop_after_i != 21'd0 && stop_after_i == 21'(open_q ? next : nests_o);
          end
          if (clear) hold_o <= 1'b0;
        end
      end else begin : g_no_hold
        assign hold_o = 1'b0;
        logic unused;
        assign unused = &{1'b0, stop_after_i};
      end
    end else begin : g_no_nests
      assign ends    = 1'b0;
      assign count_q = 1'b0;
      assign nests_o = '0;
      assign hold_o  = 1'b0;
      logic unused;
      assign unused = &{1'b0, clk, clear, run_start_i, nest_start_i, done_i, stop_after_i, held_i};
    end
  endgenerate

  // ------------------------------------------------------------------ entries

  // The CRC is linear: a set bit p of a chunk adds (by xor) column p to the sum behind the chunk; a bit of
  // the sum before it adds as much as the chunk's bit that it meets.
  function automatic [32*CHUNK_BITS-1:0] columns(input integer unused_i);
    integer      p;
    reg   [31:0] column;
    begin
      column = 32'd1;
      for (p = CHUNK_BITS - 1; p >= 0; p = p - 1) begin
        column = {1'b0, column[31:1]} ^ (column[0] ? 32'hEDB88320 : 32'd0);
        columns[32*p +: 32] = column;
      end
    end
  endfunction

  genvar t, r, p, i;
  generate
    if (LEDGER_DEPTH > 0) begin : g_ledger
      localparam int DEPTH_BITS = $clog2(LEDGER_DEPTH);

      // -------------------------------------------------------------- CRC
      //
      // Stage 1 holds a chunk, stage 2 its first word and what the others add to the sum behind it.
      localparam logic [32*CHUNK_BITS-1:0] COLUMNS = columns(0);
      logic [TILES*32-1:0] sums;   // of each tile, inverted and rotated
      logic [31:0]         crc;
      for (t = 0; t < TILES; t = t + 1) begin : g_tile
        logic                  valid, valid_q, valid_q2;
        logic [CHUNK_BITS-1:0] beats, chunk, chunk_q;
        logic [31:0]           first_q2, rest, rest_q2;
        logic [31:0]           mixed, sum, sum_q;
        assign beats = beats_i[CHUNK_BITS*t +: CHUNK_BITS];
        assign valid = chunk_valid_i && (chunk_stream_i ? t == 0 : chunk_banks_i[t]);
        assign mixed = sum_q ^ first_q2;
        if (t == 0) begin : g_straight
          assign sums[31:0] = ~sum_q;
        end else begin : g_rotated
          assign sums[32*t +: 32] = ~{sum_q[31-t:0], sum_q[31:32-t]};
        end

        for (r = 0; r < RQ; r = r + 1) begin : g_lane
          logic used;
          if (r == 0) begin : g_first
            assign used = 1'b1;
          end else begin : g_later
            assign used = LANE_BITS'(r) <= chunk_lanes_i;
          end
          assign chunk[32*r +: DATA_BITS] = used ? beats[32*r +: DATA_BITS] : '0;
          assign chunk[32*r + DATA_BITS +: 32 - DATA_BITS] =
              used && chunk_stream_i ? beats[32*r + DATA_BITS +: 32 - DATA_BITS] : '0;
        end

        for (i = 0; i < 32; i = i + 1) begin : g_sum
          logic [CHUNK_BITS-1:0] row;  // the bits that count in bit i of the sum
          for (p = 0; p < CHUNK_BITS; p = p + 1) begin : g_bit
            assign row[p] = COLUMNS[32*p+i];
          end
          assign sum[i] = ^(mixed & row[31:0]) ^ rest_q2[i];
          if (RQ > 1) begin : g_rest
            assign rest[i] = ^(chunk_q[CHUNK_BITS-1:32] & row[CHUNK_BITS-1:32]);
          end else begin : g_no_rest
            assign rest[i] = 1'b0;
          end
        end

        always_ff @(posedge clk) begin
          chunk_q  <= chunk;
          first_q2 <= chunk_q[31:0];
          rest_q2  <= rest;
          valid_q  <= valid;
          valid_q2 <= valid_q;
          if (valid_q2) sum_q <= sum;
          else if (count_q) sum_q <= 32'hFFFFFFFF;
          if (clear) begin
            valid_q  <= 1'b0;
            valid_q2 <= 1'b0;
            sum_q    <= 32'hFFFFFFFF;
          end
        end
      end

      always_comb begin
        crc = 32'd0;
        for (int n = 0; n < TILES; n = n + 1) crc = crc ^ sums[32*n +: 32];
      end

      // -------------------------------------------------------------- cycles

      logic        waits;     // a beat
      logic        behind_q;  // a beat has waited, and the stream has not been empty since
      logic        stalled_q;
      logic [30:0] cycles_q;
      assign waits = m_axis_tvalid && !m_axis_tready;

      always_ff @(posedge clk) begin
        behind_q  <= waits || (behind_q && m_axis_tvalid);
        stalled_q <= waits || behind_q || (stalled_q && !nest_start_i);
        cycles_q  <= (nest_start_i ? 31'd0 : cycles_q) + 31'(!waits);
        if (rst) behind_q <= 1'b0;
      end

      // -------------------------------------------------------------- memory

      logic [DEPTH_BITS-1:0] entry;
      logic                  room;  // the entry exists
      logic [DEPTH_BITS:0]   read_address;
      logic [31:0]           word;
      if (NEST_BITS > DEPTH_BITS) begin : g_more
        assign entry = nests_o[DEPTH_BITS-1:0];
        assign room  = nests_o[NEST_BITS-1:DEPTH_BITS] == '0;
      end else begin : g_all
        assign entry = DEPTH_BITS'(nests_o);
        assign room  = 1'b1;
      end
      assign read_address = {host_word_i[DEPTH_BITS-1:0], host_beat_i[0]};

      bramcast_memory #(
          .WORD_BITS(32),
          .DEPTH(2 * LEDGER_DEPTH)
      ) u_memory (
          .clk(clk),
          .we_i((ends || count_q) && room),
          .waddr_i({entry, !count_q}),
          .wdata_i(count_q ? crc : {stalled_q, cycles_q}),
          .raddr_i(read_address),
          .word_o(word)
      );

      always_ff @(posedge clk) host_data_o <= host_read_i ? word : 32'd0;

      logic unused;
      assign unused = &{1'b0, host_word_i, host_beat_i, chunk_lanes_i, chunk_banks_i};
    end else begin : g_no_ledger
      assign host_data_o = 32'd0;
      logic unused;
      assign unused = &{1'b0, chunk_valid_i, chunk_stream_i, chunk_lanes_i, chunk_banks_i, beats_i, m_axis_tvalid,
                        m_axis_tready, host_read_i, host_word_i, host_beat_i, ends, count_q};
    end
  endgenerate

endmodule
`default_nettype wire
