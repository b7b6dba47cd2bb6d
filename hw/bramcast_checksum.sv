// SPDX-License-Identifier: Apache-2.0
// bramcast_checksum: the CRC-32 of the first words of an image memory, beat by beat: what CHECK and CRC32 say.
//
// Golden twin: zlib.crc32 of the words' beats, four bytes each, least significant first; docs/axi.md.
//
// bramcast_registers reads the memory, one beat every four cycles: turn_i says that a beat is on data_i.
// From then on bramcast_crc takes its four bytes while the next beat is read. more_o: the word has beats
// behind this one. The last turn, of the word behind the last one, takes nothing: it ends the check (last_o).
//
//   clk      _/~\_/~\_/~\_ ... /~\_/~\_ ... _/~\_/~\_     two words of a beat: the first turn_i comes four
//   start_i  __/~~\____________________________________    cycles behind start_i
//   turn_i   ___________________/~~~\________/~~~\_____
//   step_o   ___________________/~~~\________/~~~\_____    busy_o falls with a third one, with last_o
//   busy_o   ______/~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
//
`default_nettype none
module bramcast_checksum #(
    parameter int WEIGHTS_BEATS = 4,  // 1..128, beats of a word of weights
    parameter int BIAS_BEATS    = 3   // 1..72; the other images' words have one
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        stop_i,   // what is at work is dropped; words_o, image_o and crc_o stay
    // CHECK
    input  logic        start_i,  // not while busy_o
    input  logic [23:0] words_i,  // 0: only the sum begins anew, and ended_o does not come
    input  logic [1:0]  image_i,  // program, weights, bias, table
    output logic [23:0] words_o,  // of the last start_i
    output logic [1:0]  image_o,
    output logic        busy_o,
    output logic        ended_o,  // words have been read, all of them; from the next cycle on crc_o is theirs
    output logic [31:0] crc_o,
    // reader
    input  logic        turn_i,
    input  logic [31:0] data_i,
    input  logic [23:0] word_i,   // its word's number
    input  logic [6:0]  beat_i,   // its number in its word
    output logic        step_o,   // the reader goes on
    output logic        more_o,
    output logic        last_o
);

  logic        bytes_q;
  logic [31:0] shift_q;
  logic [6:0]  last_beat;
  assign last_beat = (image_o == 2'd1) ? 7'(WEIGHTS_BEATS - 1)
                   : (image_o == 2'd2) ? 7'(BIAS_BEATS - 1)
                   : 7'd0;
  assign step_o  = busy_o && turn_i;
  assign last_o  = step_o && word_i == words_o;
  assign ended_o = last_o && bytes_q;
  assign more_o  = beat_i != last_beat;

  always_ff @(posedge clk) begin
    if (bytes_q) shift_q <= {8'd0, shift_q[31:8]};
    if (start_i) begin
      words_o <= words_i;
      image_o <= image_i;
      busy_o  <= 1'b1;
    end else if (step_o) begin
      shift_q <= data_i;
      bytes_q <= !last_o;
      if (last_o) busy_o <= 1'b0;
    end

    if (rst || stop_i) begin
      busy_o  <= 1'b0;
      bytes_q <= 1'b0;
    end
    if (rst) begin
      words_o <= 24'd0;
      image_o <= 2'd0;
    end
  end

  bramcast_crc u_crc (
      .clk(clk),
      .start_i(start_i || rst),
      .valid_i(bytes_q),
      .byte_i(shift_q[7:0]),
      .crc_o(crc_o)
  );

endmodule
`default_nettype wire
