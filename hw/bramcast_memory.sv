// SPDX-License-Identifier: Apache-2.0
// bramcast_memory: one block RAM with a write port and a read port.
//
// Golden twin: an array. The word at raddr_i stands in word_o two clock edges later: one edge in the
// RAM, one in the output register that block RAMs need to be fast.
//
//   clk      _/~\_/~\_/~\_/~\_/~\_
//   raddr_i  __| A | B |__________
//   word_o   __________| A | B |__
//
// A read in the cycle that writes the same word gives the old or the new word: whoever builds the
// addresses keeps the two apart (docs/format.md, rules 3 and 4), hence no_rw_check.
//
// Contents before the first write: IMAGE, or zeros. In simulation the file behind the plusarg that
// PLUSARG names, e.g. +weights=FILE with PLUSARG = "weights=%s", wins.
//
// BANKED = 1, for AMD's updatemem (sim/folder/updatemem.py): synthesis gets RAMB36E1, each with as many bits of a word as
// it holds DEPTH times without its parity bits, which updatemem can't write: 32 up to 1,024 words, 16 up to 2,048, .. 1
// up to 32,768. They begin with zeros. Words of more than 32 bits fill the last bank of 32 with blocks that nobody
// reads, as updatemem writes whole banks. Simulation is as ever.
//
`default_nettype none
module bramcast_memory #(
    parameter int WORD_BITS    = 8,                              // 1..
    parameter int DEPTH        = 16,                             // 1.., words
    parameter     IMAGE        = "",                             // file for $readmemh, DEPTH lines
    parameter     PLUSARG      = "",                             // "name=%s", simulation only
    parameter int BANKED       = 0,                              // 0, 1
    parameter int ADDRESS_BITS = (DEPTH > 1) ? $clog2(DEPTH) : 1  // follows from DEPTH
) (
    input  logic                    clk,
    input  logic                    we_i,
    input  logic [ADDRESS_BITS-1:0] waddr_i,
    input  logic [WORD_BITS-1:0]    wdata_i,
    input  logic [ADDRESS_BITS-1:0] raddr_i,
    output logic [WORD_BITS-1:0]    word_o
);

`ifdef SYNTHESIS
  localparam int BLOCKS = BANKED;
`else
  localparam int BLOCKS = 0 * BANKED;  // the array simulates them
`endif

  genvar b;
  generate
    if (BLOCKS != 0) begin : g_blocks
      localparam int FILLS = (DEPTH > 16384) ? 1 : (DEPTH > 8192) ? 2 : (DEPTH > 4096) ? 4 : (DEPTH > 2048) ? 8
                           : (DEPTH > 1024) ? 16 : 32;  // bits of a block
      localparam int BITS  = (WORD_BITS < FILLS) ? WORD_BITS : FILLS;
      localparam int BANK  = (WORD_BITS < 32) ? WORD_BITS : 32;
      localparam int FULL  = (WORD_BITS + BANK - 1) / BANK * BANK;  // bits of all banks
      localparam int PORT  = (BITS < 8) ? BITS : BITS / 8 * 9;      // with parity
      localparam int SHIFT = $clog2(BITS);                          // address bits below a word's

      if (DEPTH > 32768) begin : g_check_depth
        BANKED_takes_up_to_32768_words u_error ();
      end
      if (WORD_BITS < 32 && WORD_BITS != 1 << $clog2(WORD_BITS)) begin : g_check_bits
        BANKED_takes_words_of_a_power_of_two_bits_or_more_than_32 u_error ();
      end

      logic [FULL-1:0] write, read;
      logic [15:0]     waddr, raddr;
      assign write  = FULL'(wdata_i);
      assign word_o = read[WORD_BITS-1:0];
      assign waddr  = 16'h8000 | 16'(waddr_i) << SHIFT;
      assign raddr  = 16'h8000 | 16'(raddr_i) << SHIFT;

      for (b = 0; b < FULL / BITS; b = b + 1) begin : g_block
        logic [31:0] q;
        assign read[BITS*b +: BITS] = q[BITS-1:0];
        (* dont_touch = "true", keep *)
        RAMB36E1 #(
            .RAM_MODE("TDP"),
            .WRITE_WIDTH_A(PORT),
            .READ_WIDTH_B(PORT),
            .WRITE_MODE_A("READ_FIRST"),
            .WRITE_MODE_B("READ_FIRST"),
            .DOB_REG(1),
            .SIM_DEVICE("7SERIES")
        ) u_ram (
            .CLKARDCLK(clk),
            .ENARDEN(1'b1),
            .REGCEAREGCE(1'b0),
            .RSTRAMARSTRAM(1'b0),
            .RSTREGARSTREG(1'b0),
            .WEA({4{we_i}}),
            .ADDRARDADDR(waddr),
            .DIADI(32'(write[BITS*b +: BITS])),
            .DIPADIP(4'd0),
            .CLKBWRCLK(clk),
            .ENBWREN(1'b1),
            .REGCEB(1'b1),
            .RSTRAMB(1'b0),
            .RSTREGB(1'b0),
            .WEBWE(8'd0),
            .ADDRBWRADDR(raddr),
            .DIBDI(32'd0),
            .DIPBDIP(4'd0),
            .DOBDO(q),
            .CASCADEINA(1'b0),
            .CASCADEINB(1'b0),
            .INJECTDBITERR(1'b0),
            .INJECTSBITERR(1'b0)
        );
      end
    end else begin : g_array
      (* ram_style = "block", rom_style = "block", no_rw_check *)
      logic [WORD_BITS-1:0] mem [0:DEPTH-1];

`ifndef SYNTHESIS
      logic [8*1024-1:0] path;
`endif

      // Quartus stops at a loop of 5,000 turns (Error 10106), so that zeros come in runs of words.
      localparam int RUN = 4096;

      integer r, i;
      initial begin
        if (IMAGE != "") $readmemh(IMAGE, mem, 0, DEPTH - 1);
        else begin
          for (r = 0; r < DEPTH / RUN; r = r + 1) for (i = 0; i < RUN; i = i + 1) mem[RUN*r + i] = '0;
          for (i = 0; i < DEPTH % RUN; i = i + 1) mem[DEPTH - 1 - i] = '0;
        end
`ifndef SYNTHESIS
        if (PLUSARG != "") if ($value$plusargs(PLUSARG, path)) $readmemh(path, mem, 0, DEPTH - 1);
`endif
      end

      logic [WORD_BITS-1:0] read_q;

      always_ff @(posedge clk) begin
        if (we_i) mem[waddr_i] <= wdata_i;
        read_q <= mem[raddr_i];
        word_o <= read_q;
      end
    end
  endgenerate

endmodule
`default_nettype wire
