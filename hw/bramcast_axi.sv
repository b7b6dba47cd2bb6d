// SPDX-License-Identifier: Apache-2.0
// bramcast_axi: the core with an AXI4-Lite slave: control, status, and run-time loading of the images.
//
// Golden twin: pack/axi/registers.py has the register map; docs/axi.md explains it, docs/core.md the streams.
//
// Parameters are those of bramcast_core, and AXI_ADDRESS_BITS: the byte addresses of the slave, at least
// address_bits() of pack/axi/registers.py; more only move nothing. READBACK = 0 leaves out what reads
// images back, LIMIT is the cycles that a run may take until software says so, COUNTERS = 1 adds three counters
// (bramcast_watch), LEDGER_DEPTH and PEEK are of bramcast_ledger and bramcast_peek. rst may come at any time for one cycle
// or more. With AXI_CLOCK = 1 the slave and irq_o have a clock and a reset of their own (bramcast_lite_cross), which may
// come at any time, too; else s_axil_clk and s_axil_rst are ignored.
//
`default_nettype none
module bramcast_axi #(
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
    parameter int BEAT             = 1,
    parameter int AXI_ADDRESS_BITS = 24,       // ..32
    parameter int READBACK         = 1,        // 0, 1
    parameter int LIMIT            = 1 << 27,  // 0.., cycles; 0: any number
    parameter int COUNTERS         = 0,        // 0, 1
    parameter int LEDGER_DEPTH     = 0,        // 0, or a power of two from 2 on
    parameter int PEEK             = 0,        // 0, 1
    parameter int AXI_CLOCK        = 0,        // 0, 1
    parameter int BANKED           = 0,        // 0, 1
    parameter     PROGRAM_IMAGE    = "",
    parameter     WEIGHTS_IMAGE    = "",
    parameter     BIAS_IMAGE       = "",
    parameter     TABLE_IMAGE      = ""
) (
    input  logic                        clk,
    input  logic                        rst,            // synchronous, active high
    output logic                        irq_o,          // level: something is pending and enabled
    // AXI4-Lite slave
    input  logic                        s_axil_clk,     // with AXI_CLOCK = 1
    input  logic                        s_axil_rst,     // synchronous to it, active high
    input  logic [AXI_ADDRESS_BITS-1:0] s_axil_awaddr,
    input  logic [2:0]                  s_axil_awprot,
    input  logic                        s_axil_awvalid,
    output logic                        s_axil_awready,
    input  logic [31:0]                 s_axil_wdata,
    input  logic [3:0]                  s_axil_wstrb,
    input  logic                        s_axil_wvalid,
    output logic                        s_axil_wready,
    output logic [1:0]                  s_axil_bresp,
    output logic                        s_axil_bvalid,
    input  logic                        s_axil_bready,
    input  logic [AXI_ADDRESS_BITS-1:0] s_axil_araddr,
    input  logic [2:0]                  s_axil_arprot,
    input  logic                        s_axil_arvalid,
    output logic                        s_axil_arready,
    output logic [31:0]                 s_axil_rdata,
    output logic [1:0]                  s_axil_rresp,
    output logic                        s_axil_rvalid,
    input  logic                        s_axil_rready,
    // AXI4-Stream: frames in, results out
    input  logic [BEAT*DATA_BITS-1:0]   s_axis_tdata,
    input  logic [BEAT*DATA_BITS/8-1:0] s_axis_tkeep,
    input  logic                        s_axis_tvalid,
    output logic                        s_axis_tready,
    input  logic                        s_axis_tlast,
    output logic [31:0]                 m_axis_tdata,
    output logic                        m_axis_tvalid,
    input  logic                        m_axis_tready,
    output logic                        m_axis_tlast,
    output logic [16:0]                 m_axis_tuser    // with TLAST: the class; bit 16: the packet was cut
);

  logic                        bus_clk, bus_rst;  // of u_lite; what is asked there is bus_*
  logic                        bus, bus_write, bus_whole, bus_done;
  logic [AXI_ADDRESS_BITS-1:0] bus_address;
  logic [31:0]                 bus_wdata, bus_rdata;
  logic [1:0]                  bus_resp;
  logic                        request, request_write, request_whole, request_done;
  logic [AXI_ADDRESS_BITS-1:0] request_address;
  logic [31:0]                 request_wdata, request_rdata;
  logic [1:0]                  request_resp;
  logic                        irq;

  bramcast_lite #(
      .ADDRESS_BITS(AXI_ADDRESS_BITS)
  ) u_lite (
      .clk(bus_clk),
      .rst(bus_rst),
      .s_axil_awaddr(s_axil_awaddr),
      .s_axil_awprot(s_axil_awprot),
      .s_axil_awvalid(s_axil_awvalid),
      .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata),
      .s_axil_wstrb(s_axil_wstrb),
      .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready),
      .s_axil_bresp(s_axil_bresp),
      .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready),
      .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(s_axil_arprot),
      .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready),
      .s_axil_rdata(s_axil_rdata),
      .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid),
      .s_axil_rready(s_axil_rready),
      .valid_o(bus),
      .write_o(bus_write),
      .address_o(bus_address),
      .wdata_o(bus_wdata),
      .whole_o(bus_whole),
      .done_i(bus_done),
      .rdata_i(bus_rdata),
      .resp_i(bus_resp)
  );

  generate
    if (AXI_CLOCK == 0) begin : g_one_clock
      logic unused;
      assign unused          = &{1'b0, s_axil_clk, s_axil_rst};
      assign bus_clk         = clk;
      assign bus_rst         = rst;
      assign request         = bus;
      assign request_write   = bus_write;
      assign request_address = bus_address;
      assign request_wdata   = bus_wdata;
      assign request_whole   = bus_whole;
      assign bus_done        = request_done;
      assign bus_rdata       = request_rdata;
      assign bus_resp        = request_resp;
      assign irq_o           = irq;
    end else if (AXI_CLOCK == 1) begin : g_two_clocks
      assign bus_clk = s_axil_clk;
      assign bus_rst = s_axil_rst;

      bramcast_lite_cross #(
          .ADDRESS_BITS(AXI_ADDRESS_BITS)
      ) u_cross (
          .bus_clk(s_axil_clk),
          .bus_rst(s_axil_rst),
          .valid_i(bus),
          .write_i(bus_write),
          .address_i(bus_address),
          .wdata_i(bus_wdata),
          .whole_i(bus_whole),
          .done_o(bus_done),
          .rdata_o(bus_rdata),
          .resp_o(bus_resp),
          .irq_o(irq_o),
          .clk(clk),
          .valid_o(request),
          .write_o(request_write),
          .address_o(request_address),
          .wdata_o(request_wdata),
          .whole_o(request_whole),
          .done_i(request_done),
          .rdata_i(request_rdata),
          .resp_i(request_resp),
          .irq_i(irq)
      );
    end else begin : g_check
      AXI_CLOCK_must_be_0_or_1 u_error ();
    end
  endgenerate

  logic        start, taken, dropped, busy, done, ready, program_error;
  logic        abort, aborting, running, broken;
  logic [1:0]  frame_error, clear_error;
  logic [31:0] cycles;
  logic [15:0] class_index;
  logic        put_limit, put_sink_limit, snap, clear, timeout, sink;
  logic [31:0] limit, sink_limit, waited, stall_in, stall_out, occupancy;
  logic [20:0] stop_after, nests;
  logic        stopped;
  logic [5:0]  host_read;
  logic [3:0]  host_we;
  logic [23:0] host_word;
  logic [6:0]  host_beat;
  logic [31:0] host_wdata, host_rdata;

  bramcast_registers #(
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
      .BEAT(BEAT),
      .AXI_ADDRESS_BITS(AXI_ADDRESS_BITS),
      .READBACK(READBACK),
      .COUNTERS(COUNTERS),
      .LEDGER_DEPTH(LEDGER_DEPTH),
      .PEEK(PEEK),
      .PROGRAM_IMAGE(PROGRAM_IMAGE),
      .WEIGHTS_IMAGE(WEIGHTS_IMAGE),
      .BIAS_IMAGE(BIAS_IMAGE),
      .TABLE_IMAGE(TABLE_IMAGE)
  ) u_registers (
      .clk(clk),
      .rst(rst),
      .valid_i(request),
      .write_i(request_write),
      .address_i(request_address),
      .wdata_i(request_wdata),
      .whole_i(request_whole),
      .done_o(request_done),
      .rdata_o(request_rdata),
      .resp_o(request_resp),
      .start_o(start),
      .abort_o(abort),
      .aborting_i(aborting),
      .running_i(running),
      .broken_i(broken),
      .clear_error_o(clear_error),
      .taken_i(taken),
      .dropped_i(dropped),
      .busy_i(busy),
      .done_i(done),
      .ready_i(ready),
      .program_error_i(program_error),
      .frame_error_i(frame_error),
      .cycles_i(cycles),
      .class_i(class_index),
      .irq_o(irq),
      .put_limit_o(put_limit),
      .put_sink_limit_o(put_sink_limit),
      .snap_o(snap),
      .clear_o(clear),
      .limit_i(limit),
      .sink_limit_i(sink_limit),
      .waited_i(waited),
      .stall_in_i(stall_in),
      .stall_out_i(stall_out),
      .occupancy_i(occupancy),
      .timeout_i(timeout),
      .sink_i(sink),
      .stop_after_o(stop_after),
      .stopped_i(stopped),
      .nests_i(nests),
      .host_read_o(host_read),
      .host_we_o(host_we),
      .host_word_o(host_word),
      .host_beat_o(host_beat),
      .host_data_o(host_wdata),
      .host_data_i(host_rdata)
  );

  bramcast_watch #(
      .LIMIT(LIMIT),
      .COUNTERS(COUNTERS)
  ) u_watch (
      .clk(clk),
      .rst(rst),
      .put_limit_i(put_limit),
      .put_sink_limit_i(put_sink_limit),
      .data_i(request_wdata),
      .limit_o(limit),
      .sink_limit_o(sink_limit),
      .snap_i(snap),
      .waited_o(waited),
      .clear_i(clear),
      .stall_in_o(stall_in),
      .stall_out_o(stall_out),
      .occupancy_o(occupancy),
      .running_i(running),
      .stopped_i(stopped),
      .busy_i(busy),
      .done_i(done),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .timeout_o(timeout),
      .sink_o(sink)
  );

  bramcast_core #(
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
      .LEDGER_DEPTH(LEDGER_DEPTH),
      .PEEK(PEEK),
      .BEAT(BEAT),
      .PROGRAM_IMAGE(PROGRAM_IMAGE),
      .WEIGHTS_IMAGE(WEIGHTS_IMAGE),
      .BIAS_IMAGE(BIAS_IMAGE),
      .TABLE_IMAGE(TABLE_IMAGE),
      .BANKED(BANKED)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .start_i(start),
      .abort_i(abort),
      .aborting_o(aborting),
      .running_o(running),
      .broken_o(broken),
      .taken_o(taken),
      .dropped_o(dropped),
      .busy_o(busy),
      .done_o(done),
      .cycles_o(cycles),
      .class_o(class_index),
      .ready_o(ready),
      .program_error_o(program_error),
      .frame_error_o(frame_error),
      .clear_error_i(clear_error),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tkeep(s_axis_tkeep),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .s_axis_tlast(s_axis_tlast),
      .m_axis_tdata(m_axis_tdata),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast),
      .m_axis_tuser(m_axis_tuser),
      .nests_o(nests),
      .stop_after_i(stop_after),
      .stopped_o(stopped),
      .host_read_i(host_read),
      .host_we_i(host_we),
      .host_word_i(host_word),
      .host_beat_i(host_beat),
      .host_data_i(host_wdata),
      .host_data_o(host_rdata)
  );

endmodule
`default_nettype wire
