// SPDX-License-Identifier: Apache-2.0
// bramcast_serial: the core on a serial line: four pins, and software has registers, images and streams.
//
// Golden twin: board/packet.py is the other end of the line; docs/board.md has the protocol.
//
// For lamps: class_o is the number of the largest result of the last whole packet that the host has taken, all bits 1 until
// there is one; busy_o is high from a frame's first element to the end of a packet of results, and while another one leaves;
// error_o while the last answer was another one than OKAY.
//
// Parameters are those of bramcast_axi but for BEAT and AXI_CLOCK, DIVISOR of bramcast_uart, PAYLOAD and PATIENCE of bramcast_bridge.
// One clock; rst may come at any time. Load the images over the line, or give them as parameters.
//
`default_nettype none
module bramcast_serial #(
    parameter int LANES            = 16,
    parameter int TAPS             = 1,
    parameter int DATA_BITS        = 8,
    parameter int WEIGHT_BITS      = 8,
    parameter int RQ               = 2,
    parameter int NARROW           = 0,
    parameter int GATES            = 0,
    parameter int TILES            = 1,
    parameter int PAIRS            = 0,
    parameter int PROGRAM_DEPTH    = 128,
    parameter int WEIGHTS_DEPTH    = 1024,
    parameter int BIAS_DEPTH       = 64,
    parameter int TABLE_DEPTH      = 0,
    parameter int SCRATCH_DEPTH    = 1024,
    parameter int FRAME_DEPTH      = 0,
    parameter int TLAST_ENDS       = 1,
    parameter int AXI_ADDRESS_BITS = 24,       // ..31
    parameter int LEDGER_DEPTH     = 0,        // 0, or a power of two from 2 on
    parameter int PEEK             = 0,        // 0, 1
    parameter int READBACK         = 1,
    parameter int LIMIT            = 1 << 27,
    parameter int COUNTERS         = 0,
    parameter int DIVISOR          = 868,      // 4..65536, clock cycles of a bit on the line
    parameter int PAYLOAD          = 256,      // 4, 8 .. 4096, words of a packet
    parameter int PATIENCE         = 65536,    // 2.., cycles
    parameter int BANKED           = 0,        // 0, 1
    parameter     PROGRAM_IMAGE    = "",
    parameter     WEIGHTS_IMAGE    = "",
    parameter     BIAS_IMAGE       = "",
    parameter     TABLE_IMAGE      = ""
) (
    input  logic        clk,
    input  logic        rst,      // synchronous, active high
    input  logic        rx,
    output logic        tx,
    output logic        irq_o,    // as that of bramcast_axi; for a lamp
    output logic [15:0] class_o,
    output logic        busy_o,
    output logic        error_o
);

  logic                        rx_valid, rx_error, tx_send, tx_ready;
  logic [7:0]                  rx_byte, tx_byte;
  logic [AXI_ADDRESS_BITS-1:0] awaddr, araddr;
  logic                        awvalid, awready, wvalid, wready, bvalid, bready;
  logic                        arvalid, arready, rvalid, rready;
  logic [31:0]                 wdata, rdata;
  logic [1:0]                  bresp, rresp;
  logic [DATA_BITS-1:0]        in_tdata;
  logic                        in_tvalid, in_tready, in_tlast;
  logic [31:0]                 out_tdata;
  logic                        out_tvalid, out_tready, out_tlast;
  logic [16:0]                 out_tuser;

  bramcast_uart #(
      .DIVISOR(DIVISOR)
  ) u_uart (
      .clk(clk),
      .rst(rst),
      .rx(rx),
      .tx(tx),
      .valid_o(rx_valid),
      .error_o(rx_error),
      .byte_o(rx_byte),
      .send_i(tx_send),
      .byte_i(tx_byte),
      .ready_o(tx_ready)
  );

  bramcast_bridge #(
      .DATA_BITS(DATA_BITS),
      .AXI_ADDRESS_BITS(AXI_ADDRESS_BITS),
      .PAYLOAD(PAYLOAD),
      .PATIENCE(PATIENCE)
  ) u_bridge (
      .clk(clk),
      .rst(rst),
      .rx_valid_i(rx_valid),
      .rx_error_i(rx_error),
      .rx_byte_i(rx_byte),
      .tx_send_o(tx_send),
      .tx_byte_o(tx_byte),
      .tx_ready_i(tx_ready),
      .error_o(error_o),
      .m_axil_awaddr(awaddr),
      .m_axil_awvalid(awvalid),
      .m_axil_awready(awready),
      .m_axil_wdata(wdata),
      .m_axil_wvalid(wvalid),
      .m_axil_wready(wready),
      .m_axil_bresp(bresp),
      .m_axil_bvalid(bvalid),
      .m_axil_bready(bready),
      .m_axil_araddr(araddr),
      .m_axil_arvalid(arvalid),
      .m_axil_arready(arready),
      .m_axil_rdata(rdata),
      .m_axil_rresp(rresp),
      .m_axil_rvalid(rvalid),
      .m_axil_rready(rready),
      .s_axis_tdata(in_tdata),
      .s_axis_tvalid(in_tvalid),
      .s_axis_tready(in_tready),
      .s_axis_tlast(in_tlast),
      .m_axis_tdata(out_tdata),
      .m_axis_tvalid(out_tvalid),
      .m_axis_tready(out_tready),
      .m_axis_tlast(out_tlast),
      .m_axis_tuser(out_tuser)
  );

  bramcast_axi #(
      .LANES(LANES),
      .TAPS(TAPS),
      .DATA_BITS(DATA_BITS),
      .WEIGHT_BITS(WEIGHT_BITS),
      .RQ(RQ),
      .NARROW(NARROW),
      .GATES(GATES),
      .TILES(TILES),
      .PAIRS(PAIRS),
      .PROGRAM_DEPTH(PROGRAM_DEPTH),
      .WEIGHTS_DEPTH(WEIGHTS_DEPTH),
      .BIAS_DEPTH(BIAS_DEPTH),
      .TABLE_DEPTH(TABLE_DEPTH),
      .SCRATCH_DEPTH(SCRATCH_DEPTH),
      .FRAME_DEPTH(FRAME_DEPTH),
      .TLAST_ENDS(TLAST_ENDS),
      .AXI_ADDRESS_BITS(AXI_ADDRESS_BITS),
      .LEDGER_DEPTH(LEDGER_DEPTH),
      .PEEK(PEEK),
      .READBACK(READBACK),
      .LIMIT(LIMIT),
      .COUNTERS(COUNTERS),
      .PROGRAM_IMAGE(PROGRAM_IMAGE),
      .WEIGHTS_IMAGE(WEIGHTS_IMAGE),
      .BIAS_IMAGE(BIAS_IMAGE),
      .TABLE_IMAGE(TABLE_IMAGE),
      .BANKED(BANKED)
  ) u_axi (
      .clk(clk),
      .rst(rst),
      .irq_o(irq_o),
      .s_axil_clk(1'b0),
      .s_axil_rst(1'b0),
      .s_axil_awprot(3'd0),
      .s_axil_arprot(3'd0),
      .s_axil_wstrb(4'hF),
      .s_axil_awaddr(awaddr),
      .s_axil_awvalid(awvalid),
      .s_axil_awready(awready),
      .s_axil_wdata(wdata),
      .s_axil_wvalid(wvalid),
      .s_axil_wready(wready),
      .s_axil_bresp(bresp),
      .s_axil_bvalid(bvalid),
      .s_axil_bready(bready),
      .s_axil_araddr(araddr),
      .s_axil_arvalid(arvalid),
      .s_axil_arready(arready),
      .s_axil_rdata(rdata),
      .s_axil_rresp(rresp),
      .s_axil_rvalid(rvalid),
      .s_axil_rready(rready),
      .s_axis_tdata(in_tdata),
      .s_axis_tkeep({DATA_BITS / 8{1'b1}}),
      .s_axis_tvalid(in_tvalid),
      .s_axis_tready(in_tready),
      .s_axis_tlast(in_tlast),
      .m_axis_tdata(out_tdata),
      .m_axis_tvalid(out_tvalid),
      .m_axis_tready(out_tready),
      .m_axis_tlast(out_tlast),
      .m_axis_tuser(out_tuser)
  );

  always_ff @(posedge clk) begin
    if ((in_tvalid && in_tready) || out_tvalid) busy_o <= 1'b1;
    if (out_tvalid && out_tready && out_tlast) begin
      busy_o <= 1'b0;
      if (!out_tuser[16]) class_o <= out_tuser[15:0];
    end
    if (rst) begin
      busy_o  <= 1'b0;
      class_o <= '1;
    end
  end

endmodule
`default_nettype wire
