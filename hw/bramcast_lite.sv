// SPDX-License-Identifier: Apache-2.0
// bramcast_lite: an AXI4-Lite slave that turns the five channels into one request at a time.
//
// Golden twin: AMBA AXI4-Lite. Address and data of a write may come in any order; reads and writes
// take turns. Every output of the bus side is a register.
//
//   clk        _/~\_/~\_/~\_/~\_     A request stays until done_i answers it, in one cycle;
//   valid_o    __/~~~~~~~~~~~\__     the next one comes two cycles later or more.
//   done_i     ______________/~\    resp_i and (reads) rdata_i belong to done_i.
//
`default_nettype none
module bramcast_lite #(
    parameter int ADDRESS_BITS = 16  // 3..32
) (
    input  logic                    clk,
    input  logic                    rst,
    // AXI4-Lite
    input  logic [ADDRESS_BITS-1:0] s_axil_awaddr,
    input  logic [2:0]              s_axil_awprot,
    input  logic                    s_axil_awvalid,
    output logic                    s_axil_awready,
    input  logic [31:0]             s_axil_wdata,
    input  logic [3:0]              s_axil_wstrb,
    input  logic                    s_axil_wvalid,
    output logic                    s_axil_wready,
    output logic [1:0]              s_axil_bresp,
    output logic                    s_axil_bvalid,
    input  logic                    s_axil_bready,
    input  logic [ADDRESS_BITS-1:0] s_axil_araddr,
    input  logic [2:0]              s_axil_arprot,
    input  logic                    s_axil_arvalid,
    output logic                    s_axil_arready,
    output logic [31:0]             s_axil_rdata,
    output logic [1:0]              s_axil_rresp,
    output logic                    s_axil_rvalid,
    input  logic                    s_axil_rready,
    // requests
    output logic                    valid_o,
    output logic                    write_o,
    output logic [ADDRESS_BITS-1:0] address_o,
    output logic [31:0]             wdata_o,
    output logic                    whole_o,   // all four strobes
    input  logic                    done_i,
    input  logic [31:0]             rdata_i,
    input  logic [1:0]              resp_i
);

  logic                    aw_full_q, w_full_q, ar_full_q;  // taken, not answered yet
  logic [ADDRESS_BITS-1:0] aw_address_q, ar_address_q;
  logic                    want_write, want_read, write;
  logic                    write_done, read_done;

  assign want_write = aw_full_q && w_full_q && !s_axil_bvalid;
  assign want_read  = ar_full_q && !s_axil_rvalid;
  assign write_done = done_i && valid_o && write_o;
  assign read_done  = done_i && valid_o && !write_o;
  assign write      = want_write && !(want_read && write_o);

  logic unused;  // the protection bits say nothing here
  assign unused = &{1'b0, s_axil_awprot, s_axil_arprot};

  always_ff @(posedge clk) begin
    if (s_axil_awvalid && s_axil_awready) aw_address_q <= s_axil_awaddr;
    if (s_axil_arvalid && s_axil_arready) ar_address_q <= s_axil_araddr;
    if (s_axil_wvalid && s_axil_wready) begin
      wdata_o <= s_axil_wdata;
      whole_o <= &s_axil_wstrb;
    end

    // ready falls when something is taken and rises when it has been answered (and after reset)
    if (s_axil_awvalid && s_axil_awready) begin
      aw_full_q      <= 1'b1;
      s_axil_awready <= 1'b0;
    end else if (write_done || !aw_full_q) begin
      aw_full_q      <= 1'b0;
      s_axil_awready <= 1'b1;
    end
    if (s_axil_wvalid && s_axil_wready) begin
      w_full_q      <= 1'b1;
      s_axil_wready <= 1'b0;
    end else if (write_done || !w_full_q) begin
      w_full_q      <= 1'b0;
      s_axil_wready <= 1'b1;
    end
    if (s_axil_arvalid && s_axil_arready) begin
      ar_full_q      <= 1'b1;
      s_axil_arready <= 1'b0;
    end else if (read_done || !ar_full_q) begin
      ar_full_q      <= 1'b0;
      s_axil_arready <= 1'b1;
    end

    if (valid_o) begin
      valid_o <= !done_i;
    end else if (want_write || want_read) begin
      valid_o   <= 1'b1;
      write_o   <= write;
      address_o <= write ? aw_address_q : ar_address_q;
    end

    if (write_done) begin
      s_axil_bvalid <= 1'b1;
      s_axil_bresp  <= resp_i;
    end else if (s_axil_bready) begin
      s_axil_bvalid <= 1'b0;
    end
    if (read_done) begin
      s_axil_rvalid <= 1'b1;
      s_axil_rresp  <= resp_i;
      s_axil_rdata  <= rdata_i;
    end else if (s_axil_rready) begin
      s_axil_rvalid <= 1'b0;
    end

    if (rst) begin
      aw_full_q      <= 1'b0;
      w_full_q       <= 1'b0;
      ar_full_q      <= 1'b0;
      s_axil_awready <= 1'b0;
      s_axil_wready  <= 1'b0;
      s_axil_arready <= 1'b0;
      s_axil_bvalid  <= 1'b0;
      s_axil_rvalid  <= 1'b0;
      valid_o        <= 1'b0;
      write_o        <= 1'b0;
    end
  end

endmodule
`default_nettype wire
