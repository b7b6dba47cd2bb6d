// bramcast_table: looks RQ clamped values up in an activation table; one copy of the table each.
//
// Golden twin: docs/format.md, NEST: table[table_base * 256 + (v & 255)]. The results stand in
// result_o two clock edges after value_i. The host (bramcast_image) writes all copies and reads the
// first one.
//
`default_nettype none
module bramcast_table #(
    parameter int RQ          = 2,    // 1..64
    parameter int TABLE_DEPTH = 256,  // 256.., a multiple of 256
    parameter int TABLE_BITS  = 1,    // bits of a table's number
    parameter     IMAGE       = "",
    parameter     PLUSARG     = ""
) (
    input  logic                  clk,
    input  logic [TABLE_BITS-1:0] number_i,
    input  logic [RQ*8-1:0]       value_i,
    output logic [RQ*8-1:0]       result_o,
    // host, as in bramcast_image
    input  logic                  host_read_i,
    input  logic                  host_we_i,
    input  logic [23:0]           host_word_i,
    input  logic [6:0]            host_beat_i,
    input  logic [31:0]           host_data_i,
    output logic [31:0]           host_data_o
);

  localparam int ADDRESS_BITS = $clog2(TABLE_DEPTH);

  generate
    if (TABLE_DEPTH < 256 || TABLE_DEPTH % 256 != 0) begin : g_check
      TABLE_DEPTH_must_be_a_multiple_of_256 u_error ();
    end
  endgenerate

  genvar r;
  generate
    for (r = 0; r < RQ; r = r + 1) begin : g_copy
      logic [TABLE_BITS+7:0] address;
      logic [31:0]           host_data;
      assign address = {number_i, value_i[8*r +: 8]};
      bramcast_image #(
          .WORD_BITS(8),
          .DEPTH(TABLE_DEPTH),
          .IMAGE(IMAGE),
          .PLUSARG(PLUSARG)
      ) u_table (
          .clk(clk),
          .raddr_i(address[ADDRESS_BITS-1:0]),
          .word_o(result_o[8*r +: 8]),
          .host_read_i(host_read_i),
          .host_we_i(host_we_i),
          .host_word_i(host_word_i),
          .host_beat_i(host_beat_i),
          .host_data_i(host_data_i),
          .host_data_o(host_data)
      );
      if (r == 0) begin : g_first
        assign host_data_o = host_data;
      end
      logic unused;
      assign unused = &{1'b0, address, host_data};
    end
  endgenerate

endmodule
`default_nettype wire
