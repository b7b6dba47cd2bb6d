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
    parameter int TABLE_BITS  = 1   // bits of a table's number
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
    // back
    output logic                  lanewise_o,
    output logic                  max_o,
    output logic                  product_o,
    output logic                  factor_unsigned_o,
    output logic                  x_unsigned_o,
    output logic                  y_unsigned_o,
    output logic                  stream_o,
    output logic                  table_o,
    output logic                  last_o,
    output logic [TAIL_BITS-1:0]  tail_o,
    output logic signed [31:0]    lo_o,
    output logic signed [31:0]    hi_o,
    output logic [BIAS_BITS-1:0]  next_bias_base_o,  // not held: valid while take_back_i
    output logic [BIAS_BITS-1:0]  bias_step_o,
    output logic [TABLE_BITS-1:0] table_number_o
);

  // The words of the next nest, as they come.
  logic [31:0]           flags_q;
  logic [31:0]           y_range_q, y_step_q, x_range_q, x_step_q;
  logic [95:0]           counts_q;
  logic [31:0]           lo_q, hi_q;
  logic [BIAS_BITS-1:0]  bias_base_q, bias_step_q;
  logic [TABLE_BITS-1:0] table_number_q;

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
      if (index_i == 5'(bramcast_pkg::NEST_BIAS_BASE_WORD)) bias_base_q <= word_i[BIAS_BITS-1:0];
      if (index_i == 5'(bramcast_pkg::NEST_BIAS_STEP_WORD)) bias_step_q <= word_i[BIAS_BITS-1:0];
      if (index_i == 5'(bramcast_pkg::NEST_TABLE_BASE_WORD)) begin
        table_number_q <= word_i[TABLE_BITS-1:0];
      end
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
      last_o         <= flags_q[bramcast_pkg::NEST_LAST_LSB];
      tail_o         <= flags_q[bramcast_pkg::NEST_TAIL_LSB +: TAIL_BITS];
      lo_o           <= lo_q;
      hi_o           <= hi_q;
      bias_step_o    <= bias_step_q;
      table_number_o <= table_number_q;
    end
  end

  assign next_bias_base_o = bias_base_q;

  logic unused;
  assign unused = &{1'b0, flags_q};

endmodule
`default_nettype wire
