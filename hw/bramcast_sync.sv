// SPDX-License-Identifier: Apache-2.0
// bramcast_sync: one bit from another clock, through two registers.
//
// Golden twin: none. The first register may become metastable and has a cycle to settle. Its input must come
// from a register. The attributes keep both together and out of shift registers: ASYNC_REG is Vivado's, altera_attribute
// Quartus', syn_preserve and syn_srlstyle Lattice's. Constraints: crossing.xdc and .sdc of `bramcast hdl`.
//
`default_nettype none
module bramcast_sync (
    input  logic clk,
    input  logic bit_i,   // any clock
    output logic bit_o    // two or three cycles later
);

  (* ASYNC_REG = "TRUE", syn_preserve = 1, syn_srlstyle = "registers",
     altera_attribute = "-name SYNCHRONIZER_IDENTIFICATION FORCED_IF_ASYNCHRONOUS; -name AUTO_SHIFT_REGISTER_RECOGNITION OFF" *)
  logic meta_q;
  (* ASYNC_REG = "TRUE", syn_preserve = 1, syn_srlstyle = "registers",
     altera_attribute = "-name SYNCHRONIZER_IDENTIFICATION FORCED_IF_ASYNCHRONOUS; -name AUTO_SHIFT_REGISTER_RECOGNITION OFF" *)
  logic sync_q;

  initial begin
    meta_q = 1'b0;
    sync_q = 1'b0;
  end

  always_ff @(posedge clk) begin
    meta_q <= bit_i;
    sync_q <= meta_q;
  end
  assign bit_o = sync_q;

endmodule
`default_nettype wire
