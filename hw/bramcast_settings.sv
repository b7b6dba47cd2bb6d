// SPDX-License-Identifier: Apache-2.0
// bramcast_settings: the fields of a nest's descriptor that are not in the jump tables, held three times:
// as the fetcher delivers them, for the front of the pipeline, and for its back.
//
// Golden twin: class Nest in pack/bundle/program.py. The next nest's fields are complete while the current
// nest still runs. take_front_i copies what counts and addresses taps, take_back_i, two cycles later,
// what happens to results: the last results of the nest before leave in between.
//
//   clk           _/~\_/~\_/~\_/~\_
//   take_front_i  __/~~\___________     front fields are new from the next cycle on,
//   take_back_i   __________/~~\___     back fields three cycles after take_front_i
//
`default_nettype none
module bramcast_settings #(
    parameter int TAIL_BITS   = 6,  // 6..9
    parameter int BIAS_BITS   = 8,  // bits of a bias address
    parameter int TABLE_BITS  = 1,  // bits of a table's number
    parameter int TILES       = 1,  // 1, 2, 4, 8
    parameter int ROW_BITS    = 8,  // bits of an element's address
    parameter int STRIP_BITS  = bramcast_pkg::NEST_STRIP_START_BITS,  // follows
    parameter int LIMIT_BITS  = bramcast_pkg::NEST_STRIP_LIMIT_BITS   // follows
) (
    input  logic                  clk,
    input  logic                  we_i,
    input  logic [4:0]            index_i,
    input  logic [31:0]           word_i,
    input  logic                  take_front_i,
    input  logic                  take_back_i,
    // front
    output logic [95:0]           counts_o,        // {ci, kx, ky, ox, oy, g}, minus one
    output logic                  front_stream_o,
    output logic                  front_table_o,
    output logic                  front_last_o,
    output logic [1:0]            front_narrow_o,  // log2 of the steps in a weight word
    output logic                  front_lanewise_o,
    output logic [TAIL_BITS-1:0]  front_tail_o,    // valid lanes of the last group, minus one
    output logic signed [15:0]    y_start_o,
    output logic [15:0]           y_limit_o,
    output logic signed [15:0]    y_step_oy_o,
    output logic signed [15:0]    y_step_ky_o,
    output logic signed [15:0]    x_start_o,
    output logic [15:0]           x_limit_o,
    output logic signed [15:0]    x_step_ox_o,
    output logic signed [15:0]    x_step_kx_o,
    // front, TILES > 1; y_* are theirs then
    output logic                  front_strips_o,
    output logic [ROW_BITS-1:0]   row_start_o,
    output logic [ROW_BITS-1:0]   row_step_oy_o,
    output logic [ROW_BITS-1:0]   row_step_ky_o,
    output logic [ROW_BITS:0]     span_o,
    output logic [ROW_BITS-1:0]   row_limit_o,
    output logic signed [STRIP_BITS-1:0] strip_start_o,
    output logic signed [STRIP_BITS-1:0] strip_step_oy_o,
    output logic signed [STRIP_BITS-1:0] strip_step_ky_o,
    output logic [LIMIT_BITS-1:0] strip_limit_o,
    // back
    output logic [TILES-1:0]      banks_o,           // that the results go to
    output logic                  lanewise_o,
    output logic                  max_o,
    output logic                  product_o,
    output logic                  factor_unsigned_o,
    output logic                  x_unsigned_o,
    output logic                  y_unsigned_o,
    output logic                  stream_o,
    output logic                  table_o,
    output logic                  packet_end_o,
    output logic                  last_o,
    output logic [TAIL_BITS-1:0]  tail_o,
    output logic signed [31:0]    lo_o,
    output logic signed [31:0]    hi_o,
    output logic [BIAS_BITS-1:0]  next_bias_base_o,  // not held: valid while take_back_i
    output logic [BIAS_BITS-1:0]  bias_step_o,
    output logic [TABLE_BITS-1:0] table_number_o
);

  // With several tiles other fields stand above these, and rows in the place of y.
  localparam int BASE  = (TILES > 1) ? bramcast_pkg::TILED_NEST_BIAS_BASE_BITS : 32;
  localparam int STEP  = (TILES > 1) ? bramcast_pkg::TILED_NEST_BIAS_STEP_BITS : 32;
  localparam int TABLE = (TILES > 1) ? bramcast_pkg::TILED_NEST_TABLE_BASE_BITS : 32;

  // The words of the next nest, as they come.
  logic [31:0]           flags_q;
  logic [31:0]           y_range_q, y_step_q, x_range_q, x_step_q;
  logic [95:0]           counts_q;
  logic [31:0]           lo_q, hi_q;
  logic [31:0]           bias_base_q, bias_step_q, table_q, row_q;

  always_ff @(posedge clk) begin
    if (we_i) begin
      if (index_i == 5'(bramcast_pkg::NEST_TAIL_WORD)) flags_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_COUNT_G_WORD)) counts_q[31:0] <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_COUNT_OX_WORD)) counts_q[63:32] <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_COUNT_KX_WORD)) counts_q[95:64] <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_Y_START_WORD)) y_range_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_Y_STEP_OY_WORD)) y_step_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_X_START_WORD)) x_range_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_X_STEP_OX_WORD)) x_step_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_LO_WORD)) lo_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_HI_WORD)) hi_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_BIAS_BASE_WORD)) bias_base_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_BIAS_STEP_WORD)) bias_step_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_TABLE_BASE_WORD)) table_q <= word_i;
      if (index_i == 5'(bramcast_pkg::NEST_ROW_STEP_KY_WORD)) row_q <= word_i;
    end

    if (take_front_i) begin
      counts_o       <= counts_q;
      front_stream_o <= flags_q[bramcast_pkg::NEST_STREAM_LSB];
      front_table_o  <= flags_q[bramcast_pkg::NEST_TABLE_LSB];
      front_last_o   <= flags_q[bramcast_pkg::NEST_LAST_LSB];
      front_narrow_o <= flags_q[bramcast_pkg::NEST_NARROW_LSB +: bramcast_pkg::NEST_NARROW_BITS];
      front_tail_o   <= flags_q[bramcast_pkg::NEST_TAIL_LSB +: TAIL_BITS];
      front_lanewise_o <= flags_q[bramcast_pkg::NEST_LANEWISE_LSB];
      y_start_o      <= y_range_q[bramcast_pkg::NEST_Y_START_LSB +: 16];
      y_limit_o      <= y_range_q[bramcast_pkg::NEST_Y_LIMIT_LSB +: 16];
      y_step_oy_o    <= y_step_q[bramcast_pkg::NEST_Y_STEP_OY_LSB +: 16];
      y_step_ky_o    <= y_step_q[bramcast_pkg::NEST_Y_STEP_KY_LSB +: 16];
      x_start_o      <= x_range_q[bramcast_pkg::NEST_X_START_LSB +: 16];
      x_limit_o      <= x_range_q[bramcast_pkg::NEST_X_LIMIT_LSB +: 16];
      x_step_ox_o    <= x_step_q[bramcast_pkg::NEST_X_STEP_OX_LSB +: 16];
      x_step_kx_o    <= x_step_q[bramcast_pkg::NEST_X_STEP_KX_LSB +: 16];
    end

    if (take_back_i) begin
      lanewise_o     <= flags_q[bramcast_pkg::NEST_LANEWISE_LSB];
      max_o          <= flags_q[bramcast_pkg::NEST_MAX_LSB];
      product_o      <= flags_q[bramcast_pkg::NEST_PRODUCT_LSB];
      factor_unsigned_o <= flags_q[bramcast_pkg::NEST_FACTOR_UNSIGNED_LSB];
      x_unsigned_o   <= flags_q[bramcast_pkg::NEST_X_UNSIGNED_LSB];
      y_unsigned_o   <= flags_q[bramcast_pkg::NEST_Y_UNSIGNED_LSB];
      stream_o       <= flags_q[bramcast_pkg::NEST_STREAM_LSB];
      table_o        <= flags_q[bramcast_pkg::NEST_TABLE_LSB];
      packet_end_o   <= flags_q[bramcast_pkg::NEST_PACKET_END_LSB];
      last_o         <= flags_q[bramcast_pkg::NEST_LAST_LSB];
      tail_o         <= flags_q[bramcast_pkg::NEST_TAIL_LSB +: TAIL_BITS];
      lo_o           <= lo_q;
      hi_o           <= hi_q;
      bias_step_o    <= BIAS_BITS'(bias_step_q[STEP-1:0]);
      table_number_o <= TABLE_BITS'(table_q[TABLE-1:0]);
    end
  end

  assign next_bias_base_o = BIAS_BITS'(bias_base_q[BASE-1:0]);

  generate
    if (TILES > 1) begin : g_rows
      localparam int OFFSET = bramcast_pkg::NEST_ROW_START_BITS;
      logic [bramcast_pkg::NEST_BANK_BITS-1:0] bank;
      logic                                    strips;
      assign strips = flags_q[bramcast_pkg::NEST_STRIPS_LSB];
      assign bank   = bias_base_q[bramcast_pkg::NEST_BANK_LSB +: bramcast_pkg::NEST_BANK_BITS];

      always_ff @(posedge clk) begin
        if (take_front_i) begin
          front_strips_o  <= strips;
          row_start_o     <= ROW_BITS'(y_range_q[OFFSET-1:0]);
          strip_start_o   <= y_range_q[OFFSET +: STRIP_BITS];
          row_step_oy_o   <= ROW_BITS'(y_step_q[OFFSET-1:0]);
          strip_step_oy_o <= y_step_q[OFFSET +: STRIP_BITS];
          row_step_ky_o   <= ROW_BITS'(row_q[OFFSET-1:0]);
          strip_step_ky_o <= row_q[OFFSET +: STRIP_BITS];
          span_o          <= (ROW_BITS + 1)'(bias_step_q[bramcast_pkg::NEST_SPAN_LSB +: OFFSET]);
          row_limit_o     <= ROW_BITS'(table_q[bramcast_pkg::NEST_ROW_LIMIT_LSB +: OFFSET]);
          strip_limit_o   <= bias_base_q[bramcast_pkg::NEST_STRIP_LIMIT_LSB +: LIMIT_BITS];
        end
        for (int t = 0; t < TILES; t = t + 1) begin
          if (take_back_i) begin
            banks_o[t] <= strips || bank[bramcast_pkg::NEST_BANK_BITS-1] || bank[2:0] == 3'(t);
          end
        end
      end
      logic unused;
      assign unused = &{1'b0, flags_q, row_q, table_q, bias_step_q, bias_base_q};
    end else begin : g_picture
      assign front_strips_o  = 1'b0;
      assign row_start_o     = '0;
      assign row_step_oy_o   = '0;
      assign row_step_ky_o   = '0;
      assign span_o          = '0;
      assign row_limit_o     = '0;
      assign strip_start_o   = '0;
      assign strip_step_oy_o = '0;
      assign strip_step_ky_o = '0;
      assign strip_limit_o   = '0;
      assign banks_o         = 1'b1;
      logic unused;
      assign unused = &{1'b0, flags_q, row_q, table_q, bias_step_q, bias_base_q};
    end
  endgenerate

endmodule
`default_nettype wire
