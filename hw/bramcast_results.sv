// SPDX-License-Identifier: Apache-2.0
// bramcast_results: from the lanes' capture registers to finished results, in chunks of RQ: sums, biases,
// requantizers and activation tables. It holds the bias and the table memory. Tiles have requantizers and tables of
// their own, the biases are the same for all: what is an array below has tile 0 lowest.
//
// Golden twin: docs/format.md, NEST: y = clamp((sum of terms + bias + half) >> shift, lo, hi), then the table.
// A token goes beside each chunk and says what the chunk is; its fields are named below.
//
//   S6   pixel_i: bramcast_drain starts
//   S7   token, bias address                   from here on chunk i, i cycles later
//   S7   index_s7_o, for the lanes: maxima leave them in S8
//   S9   terms_i                               with TAPS > 1 the sum takes log2(TAPS) cycles; all that
//                                              follows is so much later
//   S10 .. S13                                 bramcast_requantize
//   S13  results: beats_o for the stream       with a table TABLE_STAGES later
//   S14  chunk_o for the scratchpad            a stage later, as the way to it is long
//
`default_nettype none
module bramcast_results #(
    parameter int LANES        = 16,  // 1..64, a power of two
    parameter int TAPS         = 1,   // 1, 2, 4, 8
    parameter int DATA_BITS    = 8,   // 8 or 16
    parameter int RQ           = 2,   // 1..LANES, a power of two
    parameter int BIAS_DEPTH   = 64,  // 1..2**24, words of RQ entries
    parameter int TABLE_DEPTH  = 0,   // 0: no tables; else a multiple of 256
    parameter int TABLE_STAGES = 2,   // cycles of bramcast_table: 2, with DATA_BITS = 16 4
    parameter     BIAS_IMAGE   = "",
    parameter     TABLE_IMAGE  = "",
    parameter int BANKED       = 0,   // 0, 1, as in bramcast_image
    parameter int TILES        = 1,   // 1, 2, 4, 8
    parameter int TAIL_BITS    = 6 + $clog2(TAPS),                                     // follows
    parameter int INDEX_BITS   = (LANES * TAPS > RQ) ? $clog2(LANES * TAPS / RQ) : 1,  // follows
    parameter int RQ_BITS      = (RQ > 1) ? $clog2(RQ) : 1,                            // follows
    parameter int BIAS_BITS    = (BIAS_DEPTH > 1) ? $clog2(BIAS_DEPTH) : 1,            // follows
    parameter int TABLE_BITS   = (TABLE_DEPTH > 256) ? $clog2(TABLE_DEPTH) - 8 : 1     // follows
) (
    input  logic                    clk,
    input  logic                    rst,
    // settings of the nest at the back
    input  logic                    take_back_i,       // they are new from the next cycle on
    input  logic [BIAS_BITS-1:0]    next_bias_base_i,  // with take_back_i
    input  logic [BIAS_BITS-1:0]    bias_step_i,
    input  logic [TAIL_BITS-1:0]    tail_i,
    input  logic                    lanewise_i,
    input  logic                    stream_i,
    input  logic                    packet_end_i,
    input  logic                    last_i,
    input  logic signed [31:0]      lo_i,
    input  logic signed [31:0]      hi_i,
    input  logic                    table_i,
    input  logic [TABLE_BITS-1:0]   table_number_i,
    input  logic                    y_unsigned_i,
    // S6: pixels
    input  logic                    pixel_i,
    input  logic [1:0]              pixel_level_i,
    input  logic                    pixel_tail_i,
    input  logic                    pixel_end_i,       // last pixel of the nest
    // S7, S9: lanes
    output logic [INDEX_BITS-1:0]   index_s7_o,
    input  logic [TILES*TAPS*RQ*32-1:0] terms_i,
    // results
    output logic                    valid_o,
    output logic                    stream_valid_o,    // ... and it is for the stream
    output logic [RQ_BITS-1:0]      lanes_o,           // valid lanes, minus one
    output logic                    tlast_o,           // last chunk of an output, or of the program ...
    output logic                    end_o,             // ... of the program
    output logic [TILES*RQ*32-1:0]  beats_o,           // for the stream: tile 0's
    // ... for the scratchpad
    output logic                    chunk_valid_o,
    output logic                    chunk_last_o,      // last chunk of its pixel
    output logic [1:0]              chunk_level_o,     // pixel_level_i
    output logic [INDEX_BITS-1:0]   chunk_index_o,     // of the chunk in its group
    output logic [TILES*RQ*DATA_BITS-1:0] chunk_o,     // unused lanes zero
    // host: bit 0 the bias memory, bit 1 the table
    input  logic [1:0]              host_read_i,
    input  logic [1:0]              host_we_i,
    input  logic [23:0]             host_word_i,
    input  logic [6:0]              host_beat_i,
    input  logic [31:0]             host_data_i,
    output logic [31:0]             host_data_o
);

  localparam int ALL        = TILES * RQ;           // results side by side
  localparam int TAPS_LOG   = $clog2(TAPS);
  localparam int CHUNKS_LOG = $clog2(LANES / RQ);  // chunks of a sub-word

  // The fields of a token, from the lowest bit up.
  localparam int VALID       = 0;
  localparam int LAST        = 1;                      // last chunk of its pixel
  localparam int LEVEL       = 2;                      // 2 bits: loop that the pixel advances
  localparam int INDEX       = LEVEL + 2;              // INDEX_BITS: of the chunk in its group
  localparam int LANES_USED  = INDEX + INDEX_BITS;     // RQ_BITS: valid lanes, minus one
  localparam int END         = LANES_USED + RQ_BITS;   // last chunk of the nest
  localparam int TOKEN_BITS  = END + 1;

  // ------------------------------------------------------------------ S7: chunks

  logic [BIAS_BITS-1:0]  bias_address_s7;
  logic [TOKEN_BITS-1:0] token_s7;

  bramcast_drain #(
      .LANES(LANES),
      .TAPS(TAPS),
      .RQ(RQ),
      .BIAS_BITS(BIAS_BITS)
  ) u_drain (
      .clk(clk),
      .rst(rst),
      .load_i(take_back_i),
      .bias_base_i(next_bias_base_i),
      .bias_step_i(bias_step_i),
      .tail_i(tail_i),
      .lanewise_i(lanewise_i),
      .pixel_i(pixel_i),
      .pixel_level_i(pixel_level_i),
      .pixel_tail_i(pixel_tail_i),
      .pixel_end_i(pixel_end_i),
      .bias_address_o(bias_address_s7),
      .chunk_valid_o(token_s7[VALID]),
      .chunk_index_o(token_s7[INDEX +: INDEX_BITS]),
      .chunk_last_o(token_s7[LAST]),
      .chunk_level_o(token_s7[LEVEL +: 2]),
      .chunk_lanes_o(token_s7[LANES_USED +: RQ_BITS]),
      .chunk_end_o(token_s7[END])
  );

  // ------------------------------------------------------------------ S8, S9: out of the lanes

  logic [TOKEN_BITS-1:0] token_s9;
  assign index_s7_o = token_s7[INDEX +: INDEX_BITS];

  bramcast_delay #(
      .BITS(TOKEN_BITS),
      .STAGES(2)
  ) u_token_s9 (
      .clk(clk),
      .clear_i(rst),
      .token_i(token_s7),
      .token_o(token_s9)
  );

  // The terms of a lane are added in dense nests; in lane-wise nests the chunk says whose turn it is.
  logic [TAPS-1:0] use_s9;
  genvar t, r;
  generate
    if (TAPS > 1) begin : g_use
      for (t = 0; t < TAPS; t = t + 1) begin : g_tap
        assign use_s9[t] = !lanewise_i || token_s9[INDEX+CHUNKS_LOG +: TAPS_LOG] == TAPS_LOG'(t);
      end
    end else begin : g_use_one
      assign use_s9 = 1'b1;
    end
  endgenerate

  // ------------------------------------------------------------------ S9..S13: sums, biases, requantizers

  logic [BIAS_BITS-1:0]  bias_address;  // S7, waits as long as a sum takes
  logic [RQ*36-1:0]      bias_word;     // two cycles later
  logic [31:0]           host_bias;
  logic [ALL*32-1:0]     value_s13;     // clamped
  logic [TOKEN_BITS-1:0] token_s13;

  bramcast_delay #(
      .BITS(BIAS_BITS),
      .STAGES(TAPS_LOG)
  ) u_bias_address (
      .clk(clk),
      .clear_i(1'b0),
      .token_i(bias_address_s7),
      .token_o(bias_address)
  );

  bramcast_image #(
      .WORD_BITS(RQ * 36),
      .DEPTH(BIAS_DEPTH),
      .IMAGE(BIAS_IMAGE),
      .PLUSARG("bias=%s"),
      .BANKED(BANKED)
  ) u_bias (
      .clk(clk),
      .raddr_i(bias_address),
      .word_o(bias_word),
      .host_read_i(host_read_i[0]),
      .host_we_i(host_we_i[0]),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_bias)
  );

  generate
    for (r = 0; r < ALL; r = r + 1) begin : g_requantize
      logic [31:0] sum;
      bramcast_sum #(
          .TAPS(TAPS)
      ) u_sum (
          .clk(clk),
          .terms_i(terms_i[32*TAPS*r +: 32*TAPS]),
          .use_i(use_s9),
          .sum_o(sum)
      );
      bramcast_requantize u_requantize (
          .clk(clk),
          .acc_i(sum),
          .entry_i(bias_word[36*(r%RQ) +: 36]),
          .lo_i(lo_i),
          .hi_i(hi_i),
          .value_o(value_s13[32*r +: 32])
      );
    end
  endgenerate

  bramcast_delay #(
      .BITS(TOKEN_BITS),
      .STAGES(TAPS_LOG + 4)
  ) u_token_s13 (
      .clk(clk),
      .clear_i(rst),
      .token_i(token_s9),
      .token_o(token_s13)
  );

  // ------------------------------------------------------------------ S13, with a table S15 or S17: results

  logic [TOKEN_BITS-1:0] token;
  logic [31:0]           host_table;

  generate
    if (TABLE_DEPTH > 0) begin : g_table
      logic [TOKEN_BITS-1:0]   token_table;
      logic [ALL*DATA_BITS-1:0] index, looked_up;
      assign token = table_i ? token_table : token_s13;
      bramcast_delay #(
          .BITS(TOKEN_BITS),
          .STAGES(TABLE_STAGES)
      ) u_token_table (
          .clk(clk),
          .clear_i(rst || !table_i),  // what has left from S13 does not come again
          .token_i(token_s13),
          .token_o(token_table)
      );
      for (r = 0; r < ALL; r = r + 1) begin : g_lane
        logic [DATA_BITS-1:0] result;
        assign result = looked_up[DATA_BITS*r +: DATA_BITS];
        assign index[DATA_BITS*r +: DATA_BITS] = value_s13[32*r +: DATA_BITS];
        assign beats_o[32*r +: 32] = table_i
            ? {{(32 - DATA_BITS){!y_unsigned_i && result[DATA_BITS-1]}}, result}
            : value_s13[32*r +: 32];
      end
      bramcast_table #(
          .RQ(ALL),
          .DATA_BITS(DATA_BITS),
          .TABLE_DEPTH(TABLE_DEPTH),
          .TABLE_BITS(TABLE_BITS),
          .IMAGE(TABLE_IMAGE),
          .PLUSARG("table=%s"),
          .BANKED(BANKED)
      ) u_table (
          .clk(clk),
          .number_i(table_number_i),
          .value_i(index),
          .result_o(looked_up),
          .host_read_i(host_read_i[1]),
          .host_we_i(host_we_i[1]),
          .host_word_i(host_word_i),
          .host_beat_i(host_beat_i),
          .host_data_i(host_data_i),
          .host_data_o(host_table)
      );
    end else begin : g_no_table
      assign token      = token_s13;
      assign beats_o    = value_s13;
      assign host_table = 32'd0;
      logic unused;
      assign unused = &{1'b0, table_i, y_unsigned_i, table_number_i, TABLE_IMAGE == "",
                        host_read_i[1], host_we_i[1]};
    end
  endgenerate

  assign valid_o        = token[VALID];
  assign stream_valid_o = token[VALID] && stream_i;
  assign lanes_o        = token[LANES_USED +: RQ_BITS];
  assign tlast_o        = token[END] && (packet_end_i || last_i);
  assign end_o          = token[END] && last_i;
  assign host_data_o    = host_bias | host_table;

  // ------------------------------------------------------------------ one later: for the scratchpad

  always_ff @(posedge clk) begin
    chunk_valid_o <= token[VALID] && !stream_i && !rst;
    chunk_last_o  <= token[LAST];
    chunk_level_o <= token[LEVEL +: 2];
    chunk_index_o <= token[INDEX +: INDEX_BITS];
  end

  generate
    for (r = 0; r < ALL; r = r + 1) begin : g_chunk
      logic used;
      if (r % RQ == 0) begin : g_first
        assign used = 1'b1;
      end else begin : g_later
        assign used = RQ_BITS'(r % RQ) <= lanes_o;
      end
      always_ff @(posedge clk) begin
        chunk_o[DATA_BITS*r +: DATA_BITS] <= used ? beats_o[32*r +: DATA_BITS] : '0;
      end
    end
  endgenerate

endmodule
`default_nettype wire
