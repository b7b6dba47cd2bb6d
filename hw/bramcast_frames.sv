// bramcast_frames: takes frames while the core computes; a FIFO of scratchpad words lies between.
//
// Golden twin: docs/format.md, INPUT, as in bramcast_input, which takes the elements. Words wait in a FIFO
// until the scratchpad's input area is free; from then on one word per cycle goes there. When a frame's
// last word is in the scratchpad, resident_o rises; take_i gives the frame to a run. The words behind stay in
// the FIFO until the area is free again.
//
//   clk         _/~\_/~\_/~\_/~\_/~\_/~\_     A word that waits in cycle n, with free_i high, is
//   free_i      __/~~~~~~~~~~~~~~~~~~~~~~     written in cycle n + 2; resident_o is high from
//   we_o        __________/~~~~~~~\______     the cycle after a frame's last word on.
//   resident_o  __________________/~~~~~~
//
// An element accepted in cycle A completes a word that waits from cycle A + 3 on.
//
`default_nettype none
module bramcast_frames #(
    parameter int LANES        = 16,  // 1..64, a power of two
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int ADDRESS_BITS = 10,  // of a scratchpad word
    parameter int FRAME_DEPTH  = 32   // 16.., a power of two: words of the FIFO
) (
    input  logic                       clk,
    input  logic                       rst,
    // the INPUT descriptor: always the same one while ready_i has not been low
    input  logic                       we_i,
    input  logic [4:0]                 index_i,
    input  logic [31:0]                word_i,
    // control
    input  logic                       ready_i,        // it is here
    input  logic                       start_i,        // level: frames may begin
    output logic                       begun_o,        // a frame's first element is being accepted
    input  logic                       free_i,         // the input area is free
    output logic                       resident_o,
    input  logic                       take_i,
    output logic                       frame_error_o,  // as in bramcast_input
    input  logic                       clear_error_i,
    // stream
    input  logic [DATA_BITS-1:0]       s_axis_tdata,
    input  logic                       s_axis_tvalid,
    output logic                       s_axis_tready,
    input  logic                       s_axis_tlast,
    // to the scratchpad
    output logic                       we_o,
    output logic [ADDRESS_BITS-1:0]    address_o,
    output logic [LANES*DATA_BITS-1:0] word_o
);

  localparam int WORD_BITS    = LANES * DATA_BITS;
  localparam int LANE_BITS    = (LANES > 1) ? $clog2(LANES) : 1;
  localparam int POINTER_BITS = $clog2(FRAME_DEPTH);
  localparam int RESERVE      = 8;  // words that may be on their way when room_q falls, and then some

  generate
    if (FRAME_DEPTH < 16 || (FRAME_DEPTH & (FRAME_DEPTH - 1)) != 0) begin : g_check
      FRAME_DEPTH_must_be_0_or_a_power_of_two_from_16_on u_error ();
    end
  endgenerate

  // ------------------------------------------------------------------ elements to words

  logic                  start, open, room_q;
  logic                  element_valid, element_end, frame_end, frame_end_q;
  logic [DATA_BITS-1:0]  element;
  logic [LANE_BITS-1:0]  element_lane;
  logic                  full_we;      // a word is complete
  logic [WORD_BITS-1:0]  full_word;
  logic                  waiting, withdrawn, from_input, held;
  logic [ADDRESS_BITS-1:0] unused_address;

  assign start = start_i && ready_i && !open;

  bramcast_input #(
      .LANES(LANES),
      .DATA_BITS(DATA_BITS),
      .ADDRESS_BITS(ADDRESS_BITS)
  ) u_input (
      .clk(clk),
      .rst(rst),
      .we_i(we_i),
      .index_i(index_i),
      .word_i(word_i),
      .start_i(start),
      .room_i(room_q),
      .withdraw_i(!start_i),
      .withdrawn_o(withdrawn),
      .open_o(open),
      .waiting_o(waiting),
      .begun_o(begun_o),
      .done_o(frame_end),
      .frame_error_o(frame_error_o),
      .clear_error_i(clear_error_i),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .s_axis_tlast(s_axis_tlast),
      .valid_o(element_valid),
      .element_o(element),
      .lane_o(element_lane),
      .word_end_o(element_end),
      .written_i(1'b0),
      .address_o(unused_address)
  );

  bramcast_assemble #(
      .LANES(LANES),
      .RQ(1),
      .DATA_BITS(DATA_BITS)
  ) u_assemble (
      .clk(clk),
      .rst(rst),
      .element_valid_i(element_valid),
      .element_i(element),
      .element_lane_i(element_lane),
      .element_end_i(element_end),
      .chunk_valid_i(1'b0),
      .chunk_i({DATA_BITS{1'b0}}),
      .chunk_index_i({LANE_BITS{1'b0}}),
      .chunk_last_i(1'b0),
      .we_o(full_we),
      .from_input_o(from_input),
      .held_o(held),
      .word_o(full_word)
  );

  logic unused;
  assign unused = &{1'b0, withdrawn, waiting, from_input, held, unused_address};

  // ------------------------------------------------------------------ the FIFO

  logic [POINTER_BITS:0]   write_q, read_q;   // one bit more than an address: equal means empty
  logic [POINTER_BITS:0]   level;
  logic                    read, read_q1;     // a word is read; it is in the memory's first register
  logic                    last;              // we_o: it is the frame's last word
  logic                    done;
  logic [ADDRESS_BITS-1:0] base_q;
  logic                    first_q;           // the next word is a frame's first

  assign level = write_q - read_q;
  assign done  = we_o && last;
  assign read  = free_i && !resident_o && !done && level != '0;

  bramcast_memory #(
      .WORD_BITS(WORD_BITS + 1),
      .DEPTH(FRAME_DEPTH)
  ) u_fifo (
      .clk(clk),
      .we_i(full_we),
      .waddr_i(write_q[POINTER_BITS-1:0]),
      .wdata_i({frame_end_q, full_word}),
      .raddr_i(read_q[POINTER_BITS-1:0]),
      .word_o({last, word_o})
  );

  always_ff @(posedge clk) begin
    frame_end_q <= frame_end;
    room_q      <= level <= (POINTER_BITS+1)'(FRAME_DEPTH - RESERVE);
    if (full_we) write_q <= write_q + 1'b1;

    // Words are read ahead before the last one shows; what was read too much is read again.
    read_q1 <= read;
    we_o    <= read_q1 && !done;
    if (done) read_q <= read_q - (POINTER_BITS+1)'(read_q1);
    else if (read) read_q <= read_q + 1'b1;

    if (we_i && index_i == 5'(bramcast_pkg::INPUT_RESULT_BASE_WORD)) begin
      base_q <= word_i[ADDRESS_BITS-1:0];
    end
    if (read_q1) address_o <= first_q ? base_q : address_o + 1'b1;
    if (done) first_q <= 1'b1;
    else if (read_q1) first_q <= 1'b0;

    if (done) resident_o <= 1'b1;
    else if (take_i) resident_o <= 1'b0;

    if (rst) begin
      room_q     <= 1'b0;
      write_q    <= '0;
      read_q     <= '0;
      read_q1    <= 1'b0;
      we_o       <= 1'b0;
      first_q    <= 1'b1;
      resident_o <= 1'b0;
    end
  end

endmodule
`default_nettype wire
