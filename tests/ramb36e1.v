// SPDX-License-Identifier: Apache-2.0
// The part of a RAMB36E1 (UG473) that the core uses: TDP, port A writes, port B reads through its register.
`timescale 1ns / 1ps
module RAMB36E1 #(
    parameter         RAM_MODE      = "TDP",
    parameter integer WRITE_WIDTH_A = 0,      // 1, 2, 4, 9, 18, 36: with parity
    parameter integer READ_WIDTH_B  = 0,
    parameter         WRITE_MODE_A  = "WRITE_FIRST",
    parameter         WRITE_MODE_B  = "WRITE_FIRST",
    parameter integer DOB_REG       = 0,
    parameter         SIM_DEVICE    = "VIRTEX6"
) (
    input             CLKARDCLK, ENARDEN, REGCEAREGCE, RSTRAMARSTRAM, RSTREGARSTREG,
    input      [3:0]  WEA,
    input      [15:0] ADDRARDADDR,
    input      [31:0] DIADI,
    input      [3:0]  DIPADIP,
    output     [31:0] DOADO,
    output     [3:0]  DOPADOP,
    input             CLKBWRCLK, ENBWREN, REGCEB, RSTRAMB, RSTREGB,
    input      [7:0]  WEBWE,
    input      [15:0] ADDRBWRADDR,
    input      [31:0] DIBDI,
    input      [3:0]  DIPBDIP,
    output     [31:0] DOBDO,
    output     [3:0]  DOPBDOP,
    input             CASCADEINA, CASCADEINB, INJECTDBITERR, INJECTSBITERR,
    output            CASCADEOUTA, CASCADEOUTB, DBITERR, SBITERR,
    output     [7:0]  ECCPARITY,
    output     [8:0]  RDADDRECC
);
  // Data bits of a port: a byte has one parity bit, which ports of less than a byte leave alone.
  function integer data_bits(input integer width);
    data_bits = (width >= 9) ? width / 9 * 8 : width;
  endfunction
  localparam integer A = data_bits(WRITE_WIDTH_A);
  localparam integer B = data_bits(READ_WIDTH_B);

  reg [32767:0] cells;
  reg [31:0]    latch, register;
  integer       i;
  initial begin
    cells = 0;
    if (RAM_MODE != "TDP" || DOB_REG != 1 || WRITE_MODE_A != "READ_FIRST") $display("RAMB36E1: not modelled");
  end
  // Address bits below the port's width do not count; a block without cascade wants bit 15 high.
  always @(posedge CLKARDCLK) if (ENARDEN && ADDRARDADDR[15])
    for (i = 0; i < A; i = i + 1) if (WEA[i / 8]) cells[ADDRARDADDR[14:0] / A * A + i] <= DIADI[i];
  always @(posedge CLKBWRCLK) begin
    if (ENBWREN && ADDRBWRADDR[15]) for (i = 0; i < B; i = i + 1) latch[i] <= cells[ADDRBWRADDR[14:0] / B * B + i];
    if (REGCEB) register <= latch;
  end
  assign DOBDO = register;
endmodule
