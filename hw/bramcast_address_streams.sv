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
// With TILES > 1 the rows of the activations lie in strips (bramcast_rows), and everything but act_step_i comes
// TILED cycles later, the activations' address one. s4_y_inside_o is each tile's own:
//
//   a tap's S1    address without its row, row, strip        dense; in lane-wise nests in S3
//      one later  act_address_o, their sum                   the memory has the word two later
//   four later    bank_o: each tile's, registered            beside the word, before it is rotated
//
`default_nettype none
module bramcast_address_streams #(
    parameter int ELEMENT_BITS = 14,  // 1..24, of an activation's address
    parameter int STEP_BITS    = 10,  // 1..26, of a weight step's number
    parameter int SUB_BITS     = 10,  // 1..24, of a sub-word's address
    parameter int TILES        = 1,   // 1, 2, 4, 8
    parameter int TILE_BITS    = (TILES > 1) ? $clog2(TILES) : 1,      // follows
    parameter int STRIP_BITS   = bramcast_pkg::NEST_STRIP_START_BITS,  // follows
    parameter int LIMIT_BITS   = bramcast_pkg::NEST_STRIP_LIMIT_BITS   // follows
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
    // TILES > 1, in the place of y
    input  logic                    lanewise_i,
    input  logic                    strips_i,
    input  logic [ELEMENT_BITS-1:0] row_start_i,
    input  logic [ELEMENT_BITS-1:0] row_step_oy_i,
    input  logic [ELEMENT_BITS-1:0] row_step_ky_i,
    input  logic [ELEMENT_BITS:0]   span_i,
    input  logic [ELEMENT_BITS-1:0] row_limit_i,
    input  logic signed [STRIP_BITS-1:0] strip_start_i,
    input  logic signed [STRIP_BITS-1:0] strip_step_oy_i,
    input  logic signed [STRIP_BITS-1:0] strip_step_ky_i,
    input  logic [LIMIT_BITS-1:0]   strip_limit_i,
    // steps: the loop that advances
    input  logic                    act_step_i,
    input  logic [2:0]              act_level_i,
    input  logic                    s3_step_i,
    input  logic [2:0]              s3_level_i,
    input  logic                    result_step_i,
    input  logic [2:0]              result_level_i,
    output logic [ELEMENT_BITS-1:0] act_address_o,
    output logic [TILES*TILE_BITS-1:0] bank_o,
    output logic [TILES-1:0]        s4_y_inside_o,
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

  logic [ELEMENT_BITS-1:0] act_linear;

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
      .address_o(act_linear)
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

  genvar t;
  generate
    if (TILES > 1) begin : g_strips
      logic [ELEMENT_BITS-1:0]      row;
      logic signed [STRIP_BITS-1:0] strip;      // with act_linear; q2 a cycle later, and so on
      logic signed [STRIP_BITS-1:0] strip_q2, strip_q3, strip_q4, strip_q5;
      logic                         below_q2, below_q3, below_q4, below_q5;
      logic signed [STRIP_BITS-1:0] tap_strip;  // a cycle before s4_y_inside_o
      logic                         tap_below;

      bramcast_rows #(
          .ROW_BITS(ELEMENT_BITS),
          .STRIP_BITS(STRIP_BITS)
      ) u_rows (
          .clk(clk),
          .row_start_i(row_start_i),
          .row_step_oy_i(row_step_oy_i),
          .row_step_ky_i(row_step_ky_i),
          .span_i(span_i),
          .row_limit_i(row_limit_i),
          .strip_start_i(strip_start_i),
          .strip_step_oy_i(strip_step_oy_i),
          .strip_step_ky_i(strip_step_ky_i),
          .step_i(act_step_i),
          .level_i(act_level_i),
          .row_o(row),
          .strip_o(strip),
          .below_o(below_q2)
      );

      always_ff @(posedge clk) begin
        act_address_o <= act_linear + row;
        strip_q2 <= strip;
        strip_q3 <= strip_q2;
        strip_q4 <= strip_q3;
        strip_q5 <= strip_q4;
        below_q3 <= below_q2;
        below_q4 <= below_q3;
        below_q5 <= below_q4;
      end

      assign tap_strip = lanewise_i ? strip_q3 : strip_q5;
      assign tap_below = lanewise_i ? below_q3 : below_q5;

      for (t = 0; t < TILES; t = t + 1) begin : g_tile
        logic signed [STRIP_BITS-1:0] own;    // the strip in which this tile's tap lies
        logic                         inner;  // there are strips behind it
        assign own    = tap_strip + (strips_i ? STRIP_BITS'(t) : '0);
        assign inner = own[STRIP_BITS-2:0] < (STRIP_BITS-1)'(strip_limit_i);
        always_ff @(posedge clk) begin
          s4_y_inside_o[t] <= !own[STRIP_BITS-1]
              && (inner || (own[STRIP_BITS-2:0] == (STRIP_BITS-1)'(strip_limit_i) && tap_below));
          bank_o[TILE_BITS*t +: TILE_BITS] <= strip_q3[TILE_BITS-1:0] + (strips_i ? TILE_BITS'(t) : '0);
        end
      end

      logic unused_y;
      assign unused_y = &{1'b0, y_start_i, y_limit_i, y_step_oy_i, y_step_ky_i, strip_q4, below_q4};
    end else begin : g_picture
      assign act_address_o = act_linear;
      assign bank_o        = '0;

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
          .inside_o(s4_y_inside_o[0])
      );

      logic unused_rows;
      assign unused_rows = &{1'b0, lanewise_i, strips_i, row_start_i, row_step_oy_i, row_step_ky_i, span_i,
                             row_limit_i, strip_start_i, strip_step_oy_i, strip_step_ky_i, strip_limit_i};
    end
  endgenerate

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
