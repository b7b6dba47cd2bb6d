// bramcast_fetch: reads the program's descriptors, one word per cycle, one descriptor ahead.
//
// Golden twin: split_program() in pack/descriptor.py. The order is INPUT, first nest, ..., last nest,
// INPUT, first nest, ...: by the time a run ends, the next run's INPUT and first nest are mostly here.
//
// input_ready_o and nest_ready_o say that the INPUT descriptor, or the next nest's, is complete.
// take_input_i and take_nest_i (one cycle each) give it up. After take_nest_i in cycle c the next
// descriptor's word w stands on word_o in cycle c + 4 + w, and its ready flag is high from c + 35.
//
// restart_i, allowed while no run is on its way, begins again at the INPUT descriptor; so does every
// access of the host to the memory, as it may bring another program. A descriptor that has another
// opcode than its place calls for stops the fetcher: error_o stays high until it begins again.
//
//   take_nest_i   _/~\____________________________
//   nest_ready_o  ~~~~\___________________________
//   we_o          _____________/~~~~~~~~~~~~~~~~~~    first word 4 cycles after take_nest_i
//
`default_nettype none
module bramcast_fetch #(
    parameter int PROGRAM_DEPTH = 64,  // 64.., a multiple of 32
    parameter     IMAGE         = "",
    parameter     PLUSARG       = ""
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
  localparam logic [4:0] FINAL_WORD = 5'(bramcast_pkg::NEST_TABLE_BASE_WORD);  // 31 holds nothing

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

  logic complete, bad_opcode;
  assign complete   = read_q3 && index_q3 == FINAL_WORD;
  assign bad_opcode = read_q3 && index_q3 == 5'(bramcast_pkg::OPCODE_WORD)
                      && word_o[OPCODE_LSB +: OPCODE_BITS] != (next_input_q ? OP_INPUT : OP_NEST);

  always_ff @(posedge clk) begin
    read_q2  <= read_q;
    read_q3  <= read_q2;
    index_q2 <= address_q[4:0];
    index_q3 <= index_q2;
    if (read_q3 && index_q3 == 5'(bramcast_pkg::NEST_LAST_WORD)) begin
      last_q <= word_o[bramcast_pkg::NEST_LAST_LSB];
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
      busy_q       <= 1'b0;
      next_input_q <= last_q;
      if (next_input_q) input_ready_o <= 1'b1;
      else nest_ready_o <= 1'b1;
      if (last_q) address_q <= '0;
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

  bramcast_image #(
      .WORD_BITS(32),
      .DEPTH(PROGRAM_DEPTH),
      .IMAGE(IMAGE),
      .PLUSARG(PLUSARG)
  ) u_program (
      .clk(clk),
      .raddr_i(address_q),
      .word_o(word_o),
      .host_read_i(host_read_i),
      .host_we_i(host_we_i),
      .host_word_i(host_word_i),
      .host_beat_i(host_beat_i),
      .host_data_i(host_data_i),
      .host_data_o(host_data_o)
  );

endmodule
`default_nettype wire
