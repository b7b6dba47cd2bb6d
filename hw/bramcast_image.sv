// SPDX-License-Identifier: Apache-2.0
// bramcast_image: an image memory: the core reads it, the host writes it and reads it back.
//
// Golden twin: to_axi() in pack/bundle/words.py: a word is BEATS beats of 32 bits, least significant first.
//
// The core's side is bramcast_memory's: word_o two clock edges after raddr_i. While host_read_i is
// high, the read port belongs to the host; the host keeps host_word_i and host_beat_i still and finds
// the beat in host_data_o three edges later. host_data_o is 0 otherwise, so that images can be ORed.
//
//   clk           _/~\_/~\_/~\_/~\_/~\_
//   host_read_i   __/~~~~~~~~~~~~~~~\__
//   host_word_i   --| A             |--
//   host_data_o   ______________| A |__
//
// A write (host_we_i, one cycle per beat) collects the beats; the word goes to memory with its last
// beat, one edge after host_we_i. Address and data stay until then.
//
// BANKED = 1: a memory that AMD's updatemem can write (bramcast_memory).
//
`default_nettype none
module bramcast_image #(
    parameter int WORD_BITS    = 128,                             // 1..4096
    parameter int DEPTH        = 16,                              // 1..2**24, words
    parameter     IMAGE        = "",                              // as in bramcast_memory
    parameter     PLUSARG      = "",
    parameter int BANKED       = 0,                               // 0, 1
    parameter int ADDRESS_BITS = (DEPTH > 1) ? $clog2(DEPTH) : 1  // follows from DEPTH
) (
    input  logic                    clk,
    // core
    input  logic [ADDRESS_BITS-1:0] raddr_i,
    output logic [WORD_BITS-1:0]    word_o,
    // host
    input  logic                    host_read_i,
    input  logic                    host_we_i,
    input  logic [23:0]             host_word_i,
    input  logic [6:0]              host_beat_i,
    input  logic [31:0]             host_data_i,
    output logic [31:0]             host_data_o
);

  localparam int BEATS     = (WORD_BITS + 31) / 32;
  localparam int LAST_BITS = WORD_BITS - 32 * (BEATS - 1);  // of the last beat

  logic                 commit_q;
  logic [WORD_BITS-1:0] wdata;

  always_ff @(posedge clk) commit_q <= host_we_i && host_beat_i == 7'(BEATS - 1);

  assign wdata[WORD_BITS-1 -: LAST_BITS] = host_data_i[LAST_BITS-1:0];

  genvar b;
  generate
    for (b = 0; b < BEATS - 1; b = b + 1) begin : g_beat
      logic [31:0] data_q;
      always_ff @(posedge clk) if (host_we_i && host_beat_i == 7'(b)) data_q <= host_data_i;
      assign wdata[32*b +: 32] = data_q;
    end
  endgenerate

  bramcast_memory #(
      .WORD_BITS(WORD_BITS),
      .DEPTH(DEPTH),
      .IMAGE(IMAGE),
      .PLUSARG(PLUSARG),
      .BANKED(BANKED)
  ) u_memory (
      .clk(clk),
      .we_i(commit_q),
      .waddr_i(host_word_i[ADDRESS_BITS-1:0]),
      .wdata_i(wdata),
      .raddr_i(host_read_i ? host_word_i[ADDRESS_BITS-1:0] : raddr_i),
      .word_o(word_o)
  );

  always_ff @(posedge clk) begin
    host_data_o <= 32'd0;
    if (host_read_i) host_data_o <= 32'(word_o >> {host_beat_i, 5'd0});
  end

  logic unused;
  assign unused = &{1'b0, host_word_i, host_data_i};

endmodule
`default_nettype wire
