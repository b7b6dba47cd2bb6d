// SPDX-License-Identifier: Apache-2.0
// bramcast_address_streams: where every tap reads and every result goes: three address streams and the
// coordinates, with the jump tables that the fetcher fills for the next nest.
//
// Golden twin: docs/format.md, NEST: address = base + the sum of index * step over the loops;
// steps_from_jumps() in pack/bundle/program.py.
//
//   activations   an element, in a tap's S1; in lane-wise nests in S3, where no element is selected
//   weights       a step's number, in S3, so that the weights wait for no element that is selected
//   results       the first sub-word of a group: steps when the group before has been written
//   coordinates   y and x: s4_inside_o in S4
//
`default_nettype none
module bramcast_address_streams #(
    parameter int ELEMENT_BITS = 14,  // 1..24, of an activation's address
    parameter int STEP_BITS    = 10,  // 1..26, of a weight step's number
    parameter int SUB_BITS     = 10   // 1..24, of a sub-word's address
) (
    input  logic                    clk,
    input  logic                    rst,
    // words of the next nest's descriptor
    input  logic                    we_i,
    input  logic [4:0]              index_i,
    input  logic [31:0]             word_i,
    // begin of a nest
    input  logic                    take_nest_i,
    input  logic [3:2]              prime_i,      // take_nest_i two and three cycles later
    input  logic signed [15:0]      y_start_i,
    input  logic [15:0]             y_limit_i,
    input  logic signed [15:0]      y_step_oy_i,
    input  logic signed [15:0]      y_step_ky_i,
    input  logic signed [15:0]      x_start_i,
    input  logic [15:0]             x_limit_i,
    input  logic signed [15:0]      x_step_ox_i,
    input  logic signed [15:0]      x_step_kx_i,
    // steps: the loop that advances
    input  logic                    act_step_i,
    input  logic [2:0]              act_level_i,
    input  logic                    s3_step_i,
    input  logic [2:0]              s3_level_i,
    input  logic                    result_step_i,
    input  logic [2:0]              result_level_i,
    output logic [ELEMENT_BITS-1:0] act_address_o,
    output logic                    s4_y_inside_o,
    output logic                    s4_x_inside_o,
    output logic [STEP_BITS-1:0]    weight_step_o,
    output logic [SUB_BITS-1:0]     result_address_o
);

  localparam logic [4:0] ACT_WORD    = 5'(bramcast_pkg::NEST_ACT_BASE_WORD);
  localparam logic [4:0] WEIGHT_WORD = 5'(bramcast_pkg::NEST_WEIGHT_BASE_WORD);
  localparam logic [4:0] RESULT_WORD = 5'(bramcast_pkg::NEST_RESULT_BASE_WORD);

  logic       act_we, weight_we, result_we;
  logic [2:0] act_entry, weight_entry, result_entry;
  assign act_we       = we_i && index_i >= ACT_WORD && index_i < WEIGHT_WORD;
  assign weight_we    = we_i && index_i >= WEIGHT_WORD && index_i < RESULT_WORD;
  assign result_we    = we_i && index_i >= RESULT_WORD && index_i < RESULT_WORD + 5'd4;
  assign act_entry    = 3'(index_i - ACT_WORD);
  assign weight_entry = 3'(index_i - WEIGHT_WORD);
  assign result_entry = 3'(index_i - RESULT_WORD);

  logic unused;
  assign unused = &{1'b0, word_i};

  logic front_bank_q, back_bank_q;  // half of the jump tables that the nest reads

  always_ff @(posedge clk) begin
    if (take_nest_i) front_bank_q <= !front_bank_q;
    if (prime_i[2]) back_bank_q <= front_bank_q;
    if (rst) begin
      front_bank_q <= 1'b0;
      back_bank_q  <= 1'b0;
    end
  end

  bramcast_address #(
      .ADDRESS_BITS(ELEMENT_BITS)
  ) u_act_address (
      .clk(clk),
      .we_i(act_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(act_entry),
      .jump_i(word_i[ELEMENT_BITS-1:0]),
      .bank_i(front_bank_q),
      .clear_i(take_nest_i),
      .step_i(act_step_i),
      .level_i(act_level_i),
      .address_o(act_address_o)
  );

  bramcast_address #(
      .ADDRESS_BITS(STEP_BITS)
  ) u_weight_address (
      .clk(clk),
      .we_i(weight_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(weight_entry),
      .jump_i(word_i[STEP_BITS-1:0]),
      .bank_i(front_bank_q),
      .clear_i(take_nest_i),
      .step_i(s3_step_i),
      .level_i(s3_level_i),
      .address_o(weight_step_o)
  );

  bramcast_address #(
      .ADDRESS_BITS(SUB_BITS)
  ) u_result_address (
      .clk(clk),
      .we_i(result_we),
      .write_bank_i(!front_bank_q),
      .write_level_i(result_entry),
      .jump_i(word_i[SUB_BITS-1:0]),
      .bank_i(back_bank_q),
      .clear_i(prime_i[3]),
      .step_i(result_step_i),
      .level_i(result_level_i),
      .address_o(result_address_o)
  );

  bramcast_coordinate #(
      .PIXEL_LEVEL(2)
  ) u_y (
      .clk(clk),
      .step_i(s3_step_i),
      .level_i(s3_level_i),
      .start_i(y_start_i),
      .pixel_step_i(y_step_oy_i),
      .tap_step_i(y_step_ky_i),
      .limit_i(y_limit_i),
      .inside_o(s4_y_inside_o)
  );

  bramcast_coordinate #(
      .PIXEL_LEVEL(3)
  ) u_x (
      .clk(clk),
      .step_i(s3_step_i),
      .level_i(s3_level_i),
      .start_i(x_start_i),
      .pixel_step_i(x_step_ox_i),
      .tap_step_i(x_step_kx_i),
      .limit_i(x_limit_i),
      .inside_o(s4_x_inside_o)
  );

endmodule
`default_nettype wire
