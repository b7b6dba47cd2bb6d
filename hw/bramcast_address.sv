// SPDX-License-Identifier: Apache-2.0
// bramcast_address: one address stream: a register, an adder and a table of jumps.
//
// Golden twin: steps_from_jumps() in pack/bundle/program.py. Entry 0 of the table is the base, entry l is
// what the address moves by when loop l (1 = g .. 6 = ci) advances and every loop inside falls back.
// The table has two halves: the fetcher fills one while the nest reads the other.
//
//   clk        _/~\_/~\_/~\_/~\_/~\_    clear_i, then a step with level 0, gives the base;
//   clear_i    __/~~\_______________    each further step adds the jump of its level.
//   step_i     ______/~~~~~~~\______
//   level_i    ------| 0 | l |------
//   address_o  ------| 0 | b |b+j[l]
//
`default_nettype none
module bramcast_address #(
    parameter int ADDRESS_BITS = 13  // 1..32; addresses wrap modulo 2**ADDRESS_BITS
) (
    input  logic                    clk,
    input  logic                    we_i,
    input  logic                    write_bank_i,
    input  logic [2:0]              write_level_i,
    input  logic [ADDRESS_BITS-1:0] jump_i,
    input  logic                    bank_i,
    input  logic                    clear_i,
    input  logic                    step_i,
    input  logic [2:0]              level_i,
    output logic [ADDRESS_BITS-1:0] address_o
);

  (* ram_style = "distributed" *)
  logic [ADDRESS_BITS-1:0] jumps [0:15];

  always_ff @(posedge clk) if (we_i) jumps[{write_bank_i, write_level_i}] <= jump_i;

  logic [ADDRESS_BITS-1:0] jump;
  assign jump = jumps[{bank_i, level_i}];

  always_ff @(posedge clk) begin
    if (clear_i) address_o <= '0;
    else if (step_i) address_o <= address_o + jump;
  end

endmodule
`default_nettype wire
