// SPDX-License-Identifier: Apache-2.0
// bramcast_output: sends chunks of RQ results as single beats; a FIFO of chunks lies between.
//
// Golden twin: docs/format.md, NEST, stream: the valid lanes leave one by one, lane 0 first; TLAST on
// the last beat of an output (packet_end) and of the program, which has run_end_o beside it.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_     A chunk that comes in cycle n can be on the
//   chunk_valid_i  __/~~~\______________     stream from cycle n + 2 on. One beat per cycle.
//   m_axis_tvalid  __________/~~~~~~~\__     pop_o tells that a chunk has left the FIFO, in
//   m_axis_tdata   ----------| 0 | 1 |--     the first cycle of its last beat.
//   pop_o          ______________/~~~\__
//
// There is no way to refuse a chunk: bramcast_pace lets none start that finds no room.
//
// m_axis_tuser is the number of the packet's largest beat so far, the first one of equals: with TLAST the class
// that a classifier chooses. It comes out of a comparison with m_axis_tdata, one level behind registers.
// class_o keeps that of a run's last packet from the cycle after its last beat on.
//
// flush_i, a level of two cycles or more, ends a run: what is in the FIFO is lost. The beat on the stream stays until it
// is taken, and one that leaves the FIFO in the first cycle, too. If the run is open then (it has had a beat, but not its
// last one), one more beat closes it: tdata 0, TLAST and m_axis_tuser[16], the mark, a packet of its own where the one before
// had ended. A run whose last beat stands ends as ever. busy_o falls when the run is closed and no beat stands. class_o
// stays that of the last run without the mark.
//
//   clk              _/~\_/~\_/~\_/~\_/~\_     beat 1 is taken in the cycle in which flush_i comes; M is
//   flush_i          ______/~~~~~~~~~~~~~~     the mark
//   m_axis_tdata     --| 0 | 1 |---| M |--
//   m_axis_tvalid    __/~~~~~~~\___/~~~\__
//   m_axis_tlast     ______________/~~~\__
//   m_axis_tuser[16] ______________/~~~\__
//   busy_o           ~~~~~~~~~~~~~~~~~~\__
//
`default_nettype none
module bramcast_output #(
    parameter int RQ          = 2,   // 1..64, a power of two
    parameter int FIFO_CHUNKS = 16,  // 2.., a power of two
    parameter int LANE_BITS   = (RQ > 1) ? $clog2(RQ) : 1  // follows
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 flush_i,
    output logic                 busy_o,         // a run is open, or a beat stands on the stream
    input  logic                 chunk_valid_i,
    input  logic [RQ*32-1:0]     chunk_i,
    input  logic [LANE_BITS-1:0] chunk_lanes_i,  // valid lanes, minus one
    input  logic                 chunk_tlast_i,  // an output's last chunk
    input  logic                 chunk_end_i,    // ... and the program's
    output logic                 pop_o,
    output logic [31:0]          m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    output logic                 m_axis_tlast,
    output logic [16:0]          m_axis_tuser,   // of a longer run the low 16 bits; bit 16: the mark
    output logic                 run_end_o,      // beside m_axis_tlast: no other beat of the run comes
    output logic [15:0]          class_o
);

  localparam int POINTER_BITS = $clog2(FIFO_CHUNKS);
  localparam int TLAST        = RQ * 32 + LANE_BITS;  // of an entry: chunk, lanes, TLAST, END
  localparam int END          = TLAST + 1;
  localparam int ENTRY_BITS   = END + 1;

  (* ram_style = "distributed" *)
  logic [ENTRY_BITS-1:0] entries [0:FIFO_CHUNKS-1];

  logic [POINTER_BITS:0] write_q, read_q;  // one bit more than an address: equal means empty
  logic [ENTRY_BITS-1:0] head;
  logic [LANE_BITS-1:0]  lane_q;           // of the head
  logic                  any, free;        // a beat waits; one may be loaded
  logic                  load, last_lane;
  logic                  first_q;          // no beat of a packet has been taken
  logic                  open_q;           // a run has had a beat, and not its last one
  logic                  close;            // a run is open and nothing stands
  logic                  mark_q;           // the beat on the stream closes a run that was cut
  logic [31:0]           beat;             // what is loaded
  assign head      = entries[read_q[POINTER_BITS-1:0]];
  assign any       = write_q != read_q;
  assign free      = !m_axis_tvalid || m_axis_tready;
  assign load      = any && free;
  assign last_lane = lane_q == head[RQ*32 +: LANE_BITS];
  assign close     = flush_i && !load && !m_axis_tvalid && open_q;
  assign busy_o    = m_axis_tvalid || open_q;
  assign beat      = any ? head[32*lane_q +: 32] : 32'd0;

  always_ff @(posedge clk) begin
    if (chunk_valid_i) begin
      entries[write_q[POINTER_BITS-1:0]] <= {chunk_end_i, chunk_tlast_i, chunk_lanes_i, chunk_i};
      write_q <= write_q + 1'b1;
    end

    pop_o <= load && last_lane;
    // Where nothing is loaded zeros are: the mark finds them there.
    if (free) m_axis_tdata <= beat;
    if (load) begin
      m_axis_tlast  <= last_lane && head[TLAST];
      run_end_o     <= last_lane && head[END];
      m_axis_tvalid <= 1'b1;
      lane_q        <= last_lane ? '0 : lane_q + 1'b1;
      if (last_lane) read_q <= read_q + 1'b1;
    end else if (m_axis_tready) begin
      m_axis_tvalid <= 1'b0;
    end
    if (close) begin
      m_axis_tlast  <= 1'b1;
      run_end_o     <= 1'b0;
      m_axis_tvalid <= 1'b1;
      mark_q        <= 1'b1;
    end else if (m_axis_tready) begin
      mark_q <= 1'b0;
    end

    if (rst || flush_i) begin
      write_q <= '0;
      read_q  <= '0;
      lane_q  <= '0;
      pop_o   <= 1'b0;
    end
    if (rst) begin
      m_axis_tvalid <= 1'b0;
      m_axis_tlast  <= 1'b0;
      run_end_o     <= 1'b0;
      mark_q        <= 1'b0;
    end
  end

  logic [15:0]        beat_q, best_beat_q;  // of the beat on the stream; of the largest before it
  logic signed [31:0] best_q;
  // m_axis_tdata once more: that register is where the stream goes, this one beside the comparison.
  (* keep = "true" *) logic signed [31:0] value_q;
  logic               ended_q;
  logic [15:0]        class_q;
  logic signed [32:0] gap;
  logic               better, accept;
  assign gap          = 33'(best_q) - 33'(value_q);
  assign better       = first_q || gap[32];  // the sign: a shorter path than a comparison's
  assign accept       = m_axis_tvalid && m_axis_tready;
  assign m_axis_tuser = {mark_q, better ? beat_q : best_beat_q};
  assign class_o      = ended_q ? best_beat_q : class_q;

  logic unused;
  assign unused = &{1'b0, gap};

  (* keep *) always_ff @(posedge clk) begin
    if (free) value_q <= beat;
  end

  always_ff @(posedge clk) begin
    if (accept) begin
      first_q <= m_axis_tlast;
      open_q  <= !run_end_o && !mark_q;
      beat_q  <= m_axis_tlast ? 16'd0 : beat_q + 16'd1;
    end
    if (accept && better) begin
      best_beat_q <= beat_q;
      best_q      <= value_q;
    end
    ended_q <= accept && run_end_o;
    if (ended_q) class_q <= best_beat_q;
    if (rst) begin
      first_q <= 1'b1;
      open_q  <= 1'b0;
      beat_q  <= 16'd0;
      ended_q <= 1'b0;
      class_q <= 16'd0;
    end
  end

endmodule
`default_nettype wire
