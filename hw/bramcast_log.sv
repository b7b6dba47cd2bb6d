// SPDX-License-Identifier: Apache-2.0
// bramcast_log: writes every result and the times of the nests into a text file; simulation only.
//
// Golden twin: docs/core.md, "Log". Without +log=FILE it does nothing. Every line is
// "K NNNN AAAAAA DATA" with a fixed number of hex digits:
//
//   K  NNNN           AAAAAA            DATA
//   0  descriptor     sub-word          the sub-word, as written; with TILES > 1 a line for each bank, whose
//                                       sub-words are counted behind those of the banks before it
//   1  descriptor     beat of the run   the beat, as it enters the output FIFO
//   2  descriptor     0                 cycle of the nest's first tap
//   3  descriptor     0                 cycles of the run; the file is complete up to here
//
`ifndef SYNTHESIS
`default_nettype none
module bramcast_log #(
    parameter int WORD_BITS    = 128,
    parameter int ADDRESS_BITS = 10,
    parameter int RQ           = 2,
    parameter int LANE_BITS    = 1,
    parameter int TILES        = 1,
    parameter int PITCH_BITS   = WORD_BITS,  // from a tile's sub-word to the next one's
    parameter int BANK         = 1024        // sub-words of a bank
) (
    input logic                    clk,
    input logic                    rst,
    input logic                    run_start_i,   // the next nest is the run's first
    input logic                    nest_start_i,  // first tap in S0
    input logic                    back_start_i,  // results from the next cycle on are that nest's
    input logic [31:0]             cycle_i,
    input logic                    word_valid_i,
    input logic [ADDRESS_BITS-1:0] word_address_i,
    input logic [TILES*PITCH_BITS-1:0] word_i,     // of all tiles
    input logic [TILES-1:0]        banks_i,       // that it is written to
    input logic                    chunk_valid_i,
    input logic [RQ*32-1:0]        chunk_i,
    input logic [LANE_BITS-1:0]    chunk_lanes_i,
    input logic                    done_i,
    input logic [31:0]             cycles_i
);

  localparam int WORD_DIGITS = (WORD_BITS + 3) / 4;
  localparam int DIGITS      = (WORD_DIGITS > 8) ? WORD_DIGITS : 8;

  logic [8*1024-1:0] path;
  integer            file;
  initial begin
    file = 0;
    if ($value$plusargs("log=%s", path)) begin
      file = $fopen(path, "w");
      if (file == 0) begin
        $display("bramcast_log: can't write %0s", path);
        $finish;
      end
    end
  end

  logic [15:0] front_nest, back_nest;
  logic [23:0] beat;
  integer      r, t;

  // Blocking assignments on purpose: the lines of one cycle are written in order.
  /* verilator lint_off BLKSEQ */
  always @(posedge clk) begin
    if (file != 0 && !rst) begin
      if (word_valid_i) begin
        for (t = 0; t < TILES; t = t + 1) begin
          if (banks_i[t]) begin
            $fwrite(file, "0 %h %h %h\n", back_nest, 24'(word_address_i) + 24'(t * BANK),
                    (4*DIGITS)'(word_i[PITCH_BITS*t +: WORD_BITS]));
          end
        end
      end
      if (chunk_valid_i) begin
        for (r = 0; r <= 32'(chunk_lanes_i); r = r + 1) begin
          $fwrite(file, "1 %h %h %h\n", back_nest, beat, (4*DIGITS)'(chunk_i[32*r +: 32]));
          beat = beat + 24'd1;
        end
      end
      if (run_start_i) begin
        front_nest = 16'd0;
        beat = 24'd0;
      end
      if (nest_start_i) begin
        front_nest = front_nest + 16'd1;
        $fwrite(file, "2 %h %h %h\n", front_nest, 24'd0, (4*DIGITS)'(cycle_i));
      end
      if (back_start_i) back_nest = front_nest;
      if (done_i) begin
        $fwrite(file, "3 %h %h %h\n", back_nest, 24'd0, (4*DIGITS)'(cycles_i));
        $fflush(file);
      end
    end
    if (rst) begin
      front_nest = 16'd0;
      back_nest  = 16'd0;
      beat       = 24'd0;
    end
  end
  /* verilator lint_on BLKSEQ */

endmodule
`default_nettype wire
`endif
