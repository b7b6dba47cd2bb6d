// SPDX-License-Identifier: Apache-2.0
// bramcast_fetch: reads the program's descriptors, one word per cycle, one descriptor ahead.
//
// Golden twin: split_program() in pack/bundle/program.py. The order is INPUT, first nest, ..., last nest,
// INPUT, first nest, ...: by the time a run ends, the next run's INPUT and first nest are mostly here.
//
// input_ready_o and nest_ready_o say that the INPUT descriptor, or the next nest's, is complete.
// take_input_i and take_nest_i (one cycle each) give it up. After take_nest_i in cycle c the next
// descriptor's word w stands on word_o in cycle c + 4 + w, and its ready flag is high from c + 35, with
// TILES > 1 from c + 36.
//
// restart_i, allowed while no run is on its way, begins again at the INPUT descriptor; so does every
// access of the host to the memory, as it may bring another program. A descriptor that has another
// opcode than its place calls for stops the fetcher: error_o stays high until it begins again.
//
// With GATES a LOOP descriptor may stand before a nest: it is read, 34 cycles, and gives nothing out. Its body
// comes as often as it says, with the bases of nests that move.
//
//   take_nest_i   _/~\____________________________
//   nest_ready_o  ~~~~\___________________________
//   we_o          _____________/~~~~~~~~~~~~~~~~~~    first word 4 cycles after take_nest_i
//
`default_nettype none
module bramcast_fetch #(
    parameter int PROGRAM_DEPTH = 64,  // 64.., a multiple of 32
    parameter int GATES         = 0,   // 1: with LOOP
    parameter int TILES         = 1,   // 1, 2, 4, 8
    parameter     IMAGE         = "",
    parameter     PLUSARG       = "",
    parameter int BANKED        = 0    // as in bramcast_image
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        restart_i,
    input  logic        take_input_i,
    input  logic        take_nest_i,
    output logic        input_ready_o,
    output logic        nest_ready_o,
    output logic        error_o,
    output logic        we_o,       // word_o is word index_o of the descriptor
    output logic        input_o,    // ... of the INPUT descriptor, else of a nest's
    output logic [4:0]  index_o,
    output logic [31:0] word_o,
    // host, as in bramcast_image
    input  logic        host_read_i,
    input  logic        host_we_i,
    input  logic [23:0] host_word_i,
    input  logic [6:0]  host_beat_i,
    input  logic [31:0] host_data_i,
    output logic [31:0] host_data_o
);

  localparam int ADDRESS_BITS = $clog2(PROGRAM_DEPTH);
  // With one tile word 31 holds nothing.
  localparam logic [4:0] FINAL_WORD =
      (TILES > 1) ? 5'(bramcast_pkg::NEST_ROW_STEP_KY_WORD) : 5'(bramcast_pkg::NEST_TABLE_BASE_WORD);

  generate
    if (PROGRAM_DEPTH < 64 || PROGRAM_DEPTH % 32 != 0) begin : g_check
      PROGRAM_DEPTH_must_be_a_multiple_of_32_and_at_least_64 u_error ();
    end
  endgenerate

  logic [ADDRESS_BITS-1:0] address_q;        // of the word that is read
  logic                    read_q, read_q2, read_q3;
  logic [4:0]              index_q2, index_q3;
  logic                    busy_q;           // from the first address to the last word
  logic                    next_input_q;     // the descriptor in work, or else the next one, is INPUT
  logic                    last_q;           // the descriptor in work ends the program

  localparam int OPCODE_LSB  = bramcast_pkg::OPCODE_LSB;
  localparam int OPCODE_BITS = bramcast_pkg::OPCODE_BITS;
  localparam logic [OPCODE_BITS-1:0] OP_INPUT = OPCODE_BITS'(bramcast_pkg::OP_INPUT);
  localparam logic [OPCODE_BITS-1:0] OP_NEST  = OPCODE_BITS'(bramcast_pkg::OP_NEST);

  logic                    complete, bad_opcode, opcode_here;
  logic                    is_loop;          // the descriptor in work is a LOOP
  logic                    loop_opcode;      // its opcode is here
  logic                    again;            // a loop's body is complete, and more of it to come
  logic [ADDRESS_BITS-1:0] body_start;
  logic [31:0]             word;             // as the memory has it
  assign opcode_here = read_q3 && index_q3 == 5'(bramcast_pkg::OPCODE_WORD);
  assign complete    = read_q3 && index_q3 == FINAL_WORD;
  assign bad_opcode  = opcode_here && !loop_opcode
                       && word[OPCODE_LSB +: OPCODE_BITS] != (next_input_q ? OP_INPUT : OP_NEST);

  always_ff @(posedge clk) begin
    read_q2  <= read_q;
    read_q3  <= read_q2;
    index_q2 <= address_q[4:0];
    index_q3 <= index_q2;
    if (read_q3 && index_q3 == 5'(bramcast_pkg::NEST_LAST_WORD)) begin
      last_q <= word[bramcast_pkg::NEST_LAST_LSB] && !next_input_q;
    end

    if (!busy_q && !nest_ready_o && !(next_input_q && input_ready_o)) begin
      busy_q <= 1'b1;
      read_q <= 1'b1;
    end
    if (read_q) begin
      address_q <= address_q + 1'b1;
      if (address_q[4:0] == 5'd31) read_q <= 1'b0;
    end

    if (take_input_i) input_ready_o <= 1'b0;
    if (take_nest_i) nest_ready_o <= 1'b0;
    if (bad_opcode) error_o <= 1'b1;
    if (complete && !error_o) begin
      busy_q <= 1'b0;
      if (!is_loop) begin
        next_input_q <= last_q;
        if (next_input_q) input_ready_o <= 1'b1;
        else nest_ready_o <= 1'b1;
        if (last_q) address_q <= '0;
        else if (again) address_q <= body_start;
      end
    end

    if (rst || restart_i || host_read_i || host_we_i) begin
      error_o       <= 1'b0;
      address_q     <= '0;
      read_q        <= 1'b0;
      read_q2       <= 1'b0;
      read_q3       <= 1'b0;
      busy_q        <= 1'b0;
      next_input_q  <= 1'b1;
      input_ready_o <= 1'b0;
      nest_ready_o  <= 1'b0;
    end
  end

  assign we_o    = read_q3;
  assign input_o = next_input_q;
  assign index_o = index_q3;

  generate
    if (GATES != 0) begin : g_loop
      localparam logic [OPCODE_BITS-1:0] OP_LOOP = OPCODE_BITS'(bramcast_pkg::OP_LOOP);
      logic                    loop_q;                // in work, from its second word on
      logic                    inside_q;              // the nests that come belong to a loop
      logic [15:0]             count_q, length_q;     // minus one: iterations left, nests of the body
      logic [15:0]             left_q;                // of them behind this one
      logic [31:0]             act_step_q, result_step_q;
      logic [31:0]             act_offset_q, result_offset_q;
      logic                    act_moves_q, result_moves_q;
      logic [ADDRESS_BITS-1:0] start_q;
      logic                    nest_done, act_base, result_base;

      assign loop_opcode = opcode_here && !next_input_q && !inside_q
                           && word[OPCODE_LSB +: OPCODE_BITS] == OP_LOOP;
      assign is_loop     = loop_q;
      assign nest_done   = complete && !error_o && !loop_q && !next_input_q;
      assign again       = inside_q && left_q == 16'd0 && count_q != 16'd0;
      assign body_start  = start_q;
      assign act_base    = index_q3 == 5'(bramcast_pkg::NEST_ACT_BASE_WORD) && act_moves_q;
      assign result_base = index_q3 == 5'(bramcast_pkg::NEST_RESULT_BASE_WORD) && result_moves_q;
      assign word_o      = word + (act_base ? act_offset_q : result_base ? result_offset_q : 32'd0);

      // The descriptor behind the LOOP: when its last word is here, word 31 has been addressed.
      logic [ADDRESS_BITS-6:0] index_base;
      assign index_base = address_q[ADDRESS_BITS-1:5];

      always_ff @(posedge clk) begin
        if (opcode_here) begin
          loop_q         <= loop_opcode;
          act_moves_q    <= word[bramcast_pkg::NEST_ACT_MOVES_LSB] && !loop_opcode;
          result_moves_q <= word[bramcast_pkg::NEST_RESULT_MOVES_LSB] && !loop_opcode;
        end
        if (loop_q && read_q3) begin
          if (index_q3 == 5'(bramcast_pkg::LOOP_COUNT_WORD)) begin
            count_q  <= word[bramcast_pkg::LOOP_COUNT_LSB +: 16];
            length_q <= word[bramcast_pkg::LOOP_LENGTH_LSB +: 16];
            left_q   <= word[bramcast_pkg::LOOP_LENGTH_LSB +: 16];
          end
          if (index_q3 == 5'(bramcast_pkg::LOOP_ACT_STEP_WORD)) act_step_q <= word;
          if (index_q3 == 5'(bramcast_pkg::LOOP_RESULT_STEP_WORD)) result_step_q <= word;
        end
        if (complete && loop_q) begin
          inside_q        <= 1'b1;
          start_q         <= {index_base, 5'd0};
          act_offset_q    <= 32'd0;
          result_offset_q <= 32'd0;
          loop_q          <= 1'b0;
        end
        if (nest_done && inside_q) begin
          left_q <= left_q - 16'd1;
          if (left_q == 16'd0) begin
            left_q          <= length_q;
            count_q         <= count_q - 16'd1;
            inside_q        <= count_q != 16'd0;
            act_offset_q    <= act_offset_q + act_step_q;
            result_offset_q <= result_offset_q + result_step_q;
          end
        end
        if (rst || restart_i || host_read_i || host_we_i) begin
          loop_q   <= 1'b0;
          inside_q <= 1'b0;
        end
      end
    end else begin : g_no_loop
      assign loop_opcode = 1'b0;
      assign is_loop     = 1'b0;
      assign again       = 1'b0;
      assign body_start  = '0;
      assign word_o      = word;
    end
  endgenerate

  bramcast_image #(
      .WORD_BITS(32),
      .DEPTH(PROGRAM_DEPTH),
      .IMAGE(IMAGE),
      .PLUSARG(PLUSARG),
      .BANKED(BANKED)
  ) u_program (
      .clk(clk),
      .raddr_i(address_q),
      .word_o(word),
      .host_read_i(host_read_i),
      .host_we_i(host_we_i),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_data_o)
  );

endmodule
`default_nettype wire
