// SPDX-License-Identifier: Apache-2.0
// bramcast_store: the scratchpad's write port: results as sub-words, the input frame as units.
//
// Golden twin: docs/format.md, "Words of the scratchpad". Results and input never come together.
// Chunks and elements are put together by bramcast_assemble; with a frame FIFO units come complete.
// A group has up to TAPS sub-words: `part` is a sub-word's number behind result_address_i, the address
// of the group's first one. The result stream steps when a group's last sub-word is written.
//
//   clk            _/~\_/~\_/~\_/~\_     LANES = 4, RQ = 2, TAPS = 1: a group of chunks a, b; a shorter
//   chunk_valid_i  __/~~~~~~~\______     one is written a cycle after its last chunk
//   we_o           ______/~~~\______
//   result_step_o  ______/~~~\______
//
`default_nettype none
module bramcast_store #(
    parameter int LANES        = 16,  // 1..64, a power of two
    parameter int TAPS         = 1,   // 1, 2, 4, 8
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int RQ           = 2,   // 1..LANES, a power of two
    parameter int SCRATCH_BITS = 10,  // of a word's address
    parameter int SUB_BITS     = SCRATCH_BITS + $clog2(TAPS),                            // follows: of a sub-word's
    parameter int UNIT         = (LANES > TAPS) ? LANES : TAPS,                          // elements of a unit
    parameter int UNIT_BITS    = SCRATCH_BITS + $clog2((LANES > TAPS) ? TAPS : LANES),   // of its address
    parameter int INDEX_BITS   = (LANES * TAPS > RQ) ? $clog2(LANES * TAPS / RQ) : 1
) (
    input  logic                      clk,
    input  logic                      rst,
    // results
    input  logic                      chunk_valid_i,
    input  logic [RQ*DATA_BITS-1:0]   chunk_i,
    input  logic [INDEX_BITS-1:0]     chunk_index_i,   // in its group
    input  logic                      chunk_last_i,    // of its group
    input  logic [1:0]                chunk_level_i,   // loop that its pixel advances
    input  logic                      result_first_i,  // the result stream takes its base
    output logic                      result_step_o,
    output logic [2:0]                result_level_o,
    input  logic [SUB_BITS-1:0]       result_address_i,
    // input elements, or complete units
    input  logic                      element_valid_i,
    input  logic [DATA_BITS-1:0]      element_i,
    input  logic [UNIT-1:0]           element_take_i,  // of each lane: it gets the element
    input  logic                      element_first_i,
    input  logic                      element_end_i,
    input  logic [UNIT_BITS-1:0]      element_address_i,
    output logic                      element_written_o,
    input  logic                      unit_we_i,
    input  logic [UNIT_BITS-1:0]      unit_address_i,
    input  logic [UNIT*DATA_BITS-1:0] unit_word_i,
    // scratchpad
    output logic                      we_o,
    output logic                      unit_o,          // a unit, else a sub-word
    output logic                      result_o,        // we_o of a result
    output logic [UNIT_BITS-1:0]      unit_address_o,
    output logic [SUB_BITS-1:0]       address_o,
    output logic [UNIT*DATA_BITS-1:0] word_o
);

  localparam int TAPS_LOG   = $clog2(TAPS);
  localparam int CHUNKS     = LANES / RQ;  // of a sub-word
  localparam int CHUNKS_LOG = $clog2(CHUNKS);
  localparam int INNER_BITS = (CHUNKS > 1) ? CHUNKS_LOG : 1;

  // ------------------------------------------------------------------ sub-words and units

  logic [INNER_BITS-1:0] chunk_inner;  // index in the sub-word
  generate
    if (CHUNKS > 1) begin : g_inner
      assign chunk_inner = chunk_index_i[INNER_BITS-1:0];
    end else begin : g_no_inner
      assign chunk_inner = 1'b0;
    end
  endgenerate

  logic                      we, from_input, held;
  logic [UNIT*DATA_BITS-1:0] word;

  bramcast_assemble #(
      .LANES(LANES),
      .RQ(RQ),
      .DATA_BITS(DATA_BITS),
      .UNIT(UNIT)
  ) u_assemble (
      .clk(clk),
      .rst(rst),
      .element_valid_i(element_valid_i),
      .element_i(element_i),
      .element_take_i(element_take_i),
      .element_first_i(element_first_i),
      .element_end_i(element_end_i),
      .chunk_valid_i(chunk_valid_i),
      .chunk_i(chunk_i),
      .chunk_index_i(chunk_inner),
      .chunk_last_i(chunk_last_i),
      .we_o(we),
      .from_input_o(from_input),
      .held_o(held),
      .word_o(word)
  );

  // unit_we_i: from the frame FIFO, and then `we` is low.
  assign we_o              = we || unit_we_i;
  assign unit_o            = from_input || unit_we_i;
  assign unit_address_o    = unit_we_i ? unit_address_i : element_address_i;
  assign word_o            = unit_we_i ? unit_word_i : word;
  assign result_o          = we && !from_input;
  assign element_written_o = we && from_input;

  // ------------------------------------------------------------------ the result stream

  logic group_end;  // the sub-word that is written is its group's last
  generate
    if (TAPS > 1) begin : g_sub_words
      logic [TAPS_LOG-1:0] part, part_q;  // of the group's sub-words
      assign part = chunk_index_i[CHUNKS_LOG +: TAPS_LOG];
      always_ff @(posedge clk) if (chunk_valid_i) part_q <= part;
      assign address_o = result_address_i + SUB_BITS'(held ? part_q : part);
      assign group_end = held || chunk_last_i;
    end else begin : g_words
      assign address_o = result_address_i;
      assign group_end = 1'b1;
      logic unused;
      assign unused = &{1'b0, chunk_index_i};
    end
  endgenerate

  // A shorter group is written one cycle after its last chunk, but no other chunk can end in between:
  // its level is held.
  logic [1:0] level_q;
  always_ff @(posedge clk) if (chunk_valid_i) level_q <= chunk_level_i;
  assign result_step_o  = result_first_i || (result_o && group_end);
  assign result_level_o = result_first_i ? 3'd0 : {1'b0, held ? level_q : chunk_level_i};

endmodule
`default_nettype wire
