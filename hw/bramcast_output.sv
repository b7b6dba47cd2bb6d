// SPDX-License-Identifier: Apache-2.0
// bramcast_output: sends chunks of RQ results as single beats; a FIFO of chunks lies between.
//
// Golden twin: docs/format.md, NEST, stream: the valid lanes leave one by one, lane 0 first; TLAST on
// the last beat of the program.
//
//   clk            _/~\_/~\_/~\_/~\_/~\_     A chunk that comes in cycle n can be on the
//   chunk_valid_i  __/~~~\______________     stream from cycle n + 2 on. One beat per cycle.
//   m_axis_tvalid  __________/~~~~~~~\__     pop_o tells that a chunk has left the FIFO, in
//   m_axis_tdata   ----------| 0 | 1 |--     the first cycle of its last beat.
//   pop_o          ______________/~~~\__
//
// There is no way to refuse a chunk: bramcast_pace lets none start that finds no room.
//
// m_axis_tuser is the number of the largest beat so far, the first one of equals: with TLAST the class
// that a classifier chooses. It comes out of a comparison with m_axis_tdata, one level behind registers.
// class_o keeps it from the cycle after the last beat on.
//
`default_nettype none
module bramcast_output #(
    parameter int RQ          = 2,   // 1..64, a power of two
    parameter int FIFO_CHUNKS = 16,  // 2.., a power of two
    parameter int LANE_BITS   = (RQ > 1) ? $clog2(RQ) : 1  // follows
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 chunk_valid_i,
    input  logic [RQ*32-1:0]     chunk_i,
    input  logic [LANE_BITS-1:0] chunk_lanes_i,  // valid lanes, minus one
    input  logic                 chunk_end_i,    // the program's last chunk
    output logic                 pop_o,
    output logic [31:0]          m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready,
    output logic                 m_axis_tlast,
    output logic [15:0]          m_axis_tuser,   // of a longer run the low 16 bits
    output logic [15:0]          class_o
);

  localparam int POINTER_BITS = $clog2(FIFO_CHUNKS);
  localparam int ENTRY_BITS   = RQ * 32 + LANE_BITS + 1;

  (* ram_style = "distributed" *)
  logic [ENTRY_BITS-1:0] entries [0:FIFO_CHUNKS-1];

  logic [POINTER_BITS:0] write_q, read_q;  // one bit more than an address: equal means empty
  logic [ENTRY_BITS-1:0] head;
  logic [LANE_BITS-1:0]  lane_q;           // of the head
  logic                  load, last_lane;
  assign head      = entries[read_q[POINTER_BITS-1:0]];
  assign load      = write_q != read_q && (!m_axis_tvalid || m_axis_tready);
  assign last_lane = lane_q == head[RQ*32 +: LANE_BITS];

  always_ff @(posedge clk) begin
    if (chunk_valid_i) begin
      entries[write_q[POINTER_BITS-1:0]] <= {chunk_end_i, chunk_lanes_i, chunk_i};
      write_q <= write_q + 1'b1;
    end

    pop_o <= load && last_lane;
    if (load) begin
      m_axis_tdata  <= head[32*lane_q +: 32];
      m_axis_tlast  <= last_lane && head[ENTRY_BITS-1];
      m_axis_tvalid <= 1'b1;
      lane_q        <= last_lane ? '0 : lane_q + 1'b1;
      if (last_lane) read_q <= read_q + 1'b1;
    end else if (m_axis_tready) begin
      m_axis_tvalid <= 1'b0;
    end

    if (rst) begin
      write_q       <= '0;
      read_q        <= '0;
      lane_q        <= '0;
      pop_o         <= 1'b0;
      m_axis_tvalid <= 1'b0;
      m_axis_tlast  <= 1'b0;
    end
  end

  logic [15:0]        beat_q, best_beat_q;  // of the beat on the stream; of the largest before it
  logic signed [31:0] best_q;
  logic               first_q, ended_q;
  logic [15:0]        class_q;
  logic signed [32:0] gap;
  logic               better, accept;
  assign gap          = 33'(best_q) - 33'($signed(m_axis_tdata));
  assign better       = first_q || gap[32];  // the sign: a shorter path than a comparison's
  assign accept       = m_axis_tvalid && m_axis_tready;
  assign m_axis_tuser = better ? beat_q : best_beat_q;
  assign class_o      = ended_q ? best_beat_q : class_q;

  logic unused;
  assign unused = &{1'b0, gap};

  always_ff @(posedge clk) begin
    if (accept) begin
      first_q <= m_axis_tlast;
      beat_q  <= m_axis_tlast ? 16'd0 : beat_q + 16'd1;
    end
    if (accept && better) begin
      best_beat_q <= beat_q;
      best_q      <= m_axis_tdata;
    end
    ended_q <= accept && m_axis_tlast;
    if (ended_q) class_q <= best_beat_q;
    if (rst) begin
      first_q <= 1'b1;
      beat_q  <= 16'd0;
      ended_q <= 1'b0;
      class_q <= 16'd0;
    end
  end

endmodule
`default_nettype wire
