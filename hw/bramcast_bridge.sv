// SPDX-License-Identifier: Apache-2.0
// bramcast_bridge: packets of bytes drive an AXI4-Lite slave and two AXI4-Streams: a core on a serial line.
//
// Golden twin: board/packet.py; docs/board.md has the bytes. A packet is received as a whole, its
// CRC-32 is checked, then it is executed and answered; bytes that come meanwhile are lost, up to the
// next delimiter. A request with the last one's sequence number is not executed again: its answer is
// sent again.
//
//   LISTEN -> JUDGE -> DECIDE -+-> FETCH <-> WRITE, PUSH -+-> COUNT -+-> SEND -> LISTEN
//                              +-> PULL ------------------+          |
//                              +-> FETCH <-> READ -------------------+
//                              +-> IDENTIFY, or the request is damaged, refused or known
//
// Payloads lie in one block RAM: requests in its lower half, the last answer in the upper one. A beat
// that stands on s_axis stays there when PUSH ends for want of TREADY: it has been sent.
//
`default_nettype none
module bramcast_bridge #(
    parameter int DATA_BITS        = 8,      // 8 or 16
    parameter int AXI_ADDRESS_BITS = 24,     // 3..31
    parameter int PAYLOAD          = 256,    // 4, 8 .. 4096, words of a packet beside header and CRC
    parameter int PATIENCE         = 65536   // 2.., cycles that PUSH and PULL wait for the other side
) (
    input  logic                        clk,
    input  logic                        rst,
    // bytes
    input  logic                        rx_valid_i,
    input  logic                        rx_error_i,
    input  logic [7:0]                  rx_byte_i,
    output logic                        tx_send_o,
    output logic [7:0]                  tx_byte_o,
    input  logic                        tx_ready_i,     // four cycles or more between two of them
    output logic                        error_o,        // the last answer was another one than OKAY
    // AXI4-Lite master
    output logic [AXI_ADDRESS_BITS-1:0] m_axil_awaddr,
    output logic                        m_axil_awvalid,
    input  logic                        m_axil_awready,
    output logic [31:0]                 m_axil_wdata,
    output logic                        m_axil_wvalid,
    input  logic                        m_axil_wready,
    input  logic [1:0]                  m_axil_bresp,
    input  logic                        m_axil_bvalid,
    output logic                        m_axil_bready,
    output logic [AXI_ADDRESS_BITS-1:0] m_axil_araddr,
    output logic                        m_axil_arvalid,
    input  logic                        m_axil_arready,
    input  logic [31:0]                 m_axil_rdata,
    input  logic [1:0]                  m_axil_rresp,
    input  logic                        m_axil_rvalid,
    output logic                        m_axil_rready,
    // AXI4-Stream: to the core's input, from its output
    output logic [DATA_BITS-1:0]        s_axis_tdata,
    output logic                        s_axis_tvalid,
    input  logic                        s_axis_tready,
    output logic                        s_axis_tlast,
    input  logic [31:0]                 m_axis_tdata,
    input  logic                        m_axis_tvalid,
    output logic                        m_axis_tready,
    input  logic                        m_axis_tlast,
    input  logic [16:0]                 m_axis_tuser
);

  generate
    if ((DATA_BITS != 8 && DATA_BITS != 16) || AXI_ADDRESS_BITS < 3 || AXI_ADDRESS_BITS > 31) begin : g_check
      bramcast_bridge_needs_DATA_BITS_8_or_16_and_3_to_31_AXI_ADDRESS_BITS u_error ();
    end
    if (PAYLOAD < 4 || PAYLOAD > 4096 || (PAYLOAD & (PAYLOAD - 1)) != 0 || PATIENCE < 2) begin : g_check_buffer
      bramcast_bridge_needs_PAYLOAD_4_8_to_4096_and_PATIENCE_2 u_error ();
    end
  endgenerate

  localparam logic [7:0] DELIMITER = 8'hC0;
  localparam logic [7:0] ESCAPE = 8'hDB;
  localparam logic [7:0] ESCAPED_DELIMITER = 8'hDC;
  localparam logic [7:0] ESCAPED_ESCAPE = 8'hDD;

  localparam logic [7:0] CMD_IDENTIFY = 8'd0;
  localparam logic [7:0] CMD_WRITE = 8'd1;
  localparam logic [7:0] CMD_READ = 8'd2;
  localparam logic [7:0] CMD_PUSH = 8'd3;
  localparam logic [7:0] CMD_PULL = 8'd4;
  localparam logic [7:0] CMD_SCATTER = 8'd5;

  localparam logic [2:0] OKAY = 3'd0;
  localparam logic [2:0] DAMAGED = 3'd1;
  localparam logic [2:0] COMMAND = 3'd2;
  localparam logic [2:0] LENGTH = 3'd3;
  localparam logic [2:0] STALLED = 3'd4;
  localparam logic [2:0] SLVERR = 3'd6;
  localparam logic [2:0] DECERR = 3'd7;

  localparam logic [31:0] IDENTIFICATION = 32'h534D5242;  // the bytes "BRMS"
  localparam logic [31:0] RESIDUE = 32'h2144DF1C;         // CRC-32 of any bytes and their CRC-32

  localparam int INDEX_BITS = $clog2(PAYLOAD);
  localparam int WORDS_BITS = INDEX_BITS + 2;
  localparam int PER_WORD = 32 / DATA_BITS;               // elements of a word
  localparam int PER_BITS = $clog2(PER_WORD);
  localparam int PATIENCE_BITS = $clog2(PATIENCE);

  localparam logic [3:0] LISTEN = 4'd0;
  localparam logic [3:0] JUDGE = 4'd1;
  localparam logic [3:0] DECIDE = 4'd2;
  localparam logic [3:0] FETCH = 4'd3;
  localparam logic [3:0] WRITE = 4'd4;
  localparam logic [3:0] READ = 4'd5;
  localparam logic [3:0] PUSH = 4'd6;
  localparam logic [3:0] PULL = 4'd7;
  localparam logic [3:0] IDENTIFY = 4'd8;
  localparam logic [3:0] COUNT = 4'd9;
  localparam logic [3:0] SEND = 4'd10;

  localparam logic [2:0] BEGIN = 3'd0;  // what SEND sends
  localparam logic [2:0] HEAD = 3'd1;
  localparam logic [2:0] BODY = 3'd2;
  localparam logic [2:0] SUM = 3'd3;
  localparam logic [2:0] ENDING = 3'd4;

  logic [3:0] state_q;

  // ------------------------------------------------------------------ request

  logic                  hunt_q, escape_q, bad_q;
  logic [1:0]            byte_q;     // of its word, the next one
  logic [WORDS_BITS-1:0] words_q;    // whole ones; stops at PAYLOAD + 4
  logic [31:0]           head_q;     // sequence number, command, count
  logic [31:0]           address_q;
  logic [23:0]           shift_q;
  logic                  plain, is_escape, is_data, packet_end;
  logic [7:0]            data;
  logic [31:0]           word;
  logic                  whole;

  assign plain      = state_q == LISTEN && rx_valid_i && !rx_error_i && !hunt_q;
  assign packet_end = plain && rx_byte_i == DELIMITER;
  assign is_escape  = plain && !escape_q && rx_byte_i == ESCAPE;
  assign is_data    = plain && !packet_end && !is_escape;
  assign data       = !escape_q ? rx_byte_i
                    : (rx_byte_i == ESCAPED_DELIMITER) ? DELIMITER
                    : ESCAPE;
  assign word       = {data, shift_q};
  assign whole      = is_data && byte_q == 2'd3;

  logic [7:0]  sequence_number, command;
  logic [15:0] count;
  assign {count, command, sequence_number} = head_q;

  // ------------------------------------------------------------------ execution

  logic                     known_q;          // there is an answer that may be asked for again
  logic                     damaged_q;        // what is sent is no answer: the request was damaged
  logic [7:0]               answer_sequence_q;
  logic [2:0]               answer_status_q;
  logic [15:0]              answer_count_q;
  logic [15:0]              index_q;          // word or element that is in work
  logic [PATIENCE_BITS-1:0] patience_q;
  logic [1:0]               fetch_q;
  logic [2:0]               phase_q;
  logic                     escaped_q;
  logic                     ended_q;          // the last beat that was pulled had TLAST
  logic [16:0]              user_q;           // its TUSER
  logic [31:0]              ram_word, crc;

  logic        last, beyond, hurry, room, illegal;
  logic [15:0] payload, wanted, limit;
  assign last    = index_q + 16'd1 == count;
  assign beyond  = |address_q[31:AXI_ADDRESS_BITS];
  assign hurry   = patience_q == '0;
  assign room    = !s_axis_tvalid || s_axis_tready;
  assign payload = 16'(words_q) - 16'd3;
  assign wanted  = (command == CMD_WRITE || command == CMD_SCATTER) ? count
                 : (command == CMD_PUSH) ? 16'((17'(count) + 17'(PER_WORD - 1)) >> PER_BITS)
                 : 16'd0;
  assign limit   = (command == CMD_PUSH) ? 16'(PAYLOAD * PER_WORD)
                 : (command == CMD_PULL) ? 16'(PAYLOAD - 1)
                 : 16'(PAYLOAD);
  assign illegal = payload != wanted || count > limit || (count == 16'd0) != (command == CMD_IDENTIFY)
                 || (command == CMD_SCATTER && count[0]);

  assign m_axil_awaddr = {address_q[AXI_ADDRESS_BITS-1:2], 2'b00};
  assign m_axil_araddr = m_axil_awaddr;
  assign m_axil_bready = state_q == WRITE;
  assign m_axil_rready = state_q == READ;
  assign m_axis_tready = state_q == PULL && !hurry;

  logic take_beat, take_word;
  assign take_beat = m_axis_tvalid && m_axis_tready;
  assign take_word = m_axil_rvalid && m_axil_rready;

  // ------------------------------------------------------------------ answer

  logic [7:0] plain_byte;
  logic       special, tx_taken;
  always_comb begin
    case (phase_q)
      HEAD:
      case (byte_q)
        2'd0:    plain_byte = damaged_q ? 8'd0 : answer_sequence_q;
        2'd1:    plain_byte = {5'd0, damaged_q ? DAMAGED : answer_status_q};
        2'd2:    plain_byte = damaged_q ? 8'd0 : answer_count_q[7:0];
        default: plain_byte = damaged_q ? 8'd0 : answer_count_q[15:8];
      endcase
      BODY:    plain_byte = ram_word[8*byte_q +: 8];
      default: plain_byte = crc[8*byte_q +: 8];
    endcase
  end
  assign special   = plain_byte == DELIMITER || plain_byte == ESCAPE;
  assign tx_send_o = state_q == SEND;
  assign tx_taken  = tx_send_o && tx_ready_i;
  assign tx_byte_o = (phase_q == BEGIN || phase_q == ENDING) ? DELIMITER
                   : !special ? plain_byte
                   : !escaped_q ? ESCAPE
                   : (plain_byte == DELIMITER) ? ESCAPED_DELIMITER
                   : ESCAPED_ESCAPE;

  logic byte_sent;
  assign byte_sent = tx_taken && (!special || escaped_q);

  bramcast_crc u_crc (
      .clk(clk),
      .start_i(rst || (state_q == SEND && (phase_q == BEGIN || phase_q == ENDING))),
      .valid_i(is_data || (byte_sent && (phase_q == HEAD || phase_q == BODY))),
      .byte_i(is_data ? data : plain_byte),
      .crc_o(crc)
  );

  // ------------------------------------------------------------------ buffer

  logic                  ram_we;
  logic [INDEX_BITS:0]   ram_waddr, ram_raddr;
  logic [31:0]           ram_wdata, identity;
  logic [WORDS_BITS-1:0] place;
  assign place = words_q - WORDS_BITS'(2);
  assign identity = (index_q[1:0] == 2'd0) ? IDENTIFICATION
                  : (index_q[1:0] == 2'd1) ? {16'(PAYLOAD), 16'd1}
                  : {s_axis_tvalid, 15'd0, 8'(AXI_ADDRESS_BITS), 8'(DATA_BITS)};

  always_comb begin
    ram_we    = 1'b0;
    ram_waddr = {1'b1, index_q[INDEX_BITS-1:0]};
    ram_wdata = m_axil_rdata;
    case (state_q)
      LISTEN: begin
        ram_we    = whole && words_q >= WORDS_BITS'(2) && place < WORDS_BITS'(PAYLOAD);
        ram_waddr = {1'b0, place[INDEX_BITS-1:0]};
        ram_wdata = word;
      end
      READ: ram_we = take_word;
      PULL: begin
        ram_we    = take_beat;
        ram_wdata = m_axis_tdata;
      end
      IDENTIFY: begin
        ram_we    = 1'b1;
        ram_wdata = identity;
      end
      COUNT: begin
        ram_we = 1'b1;
        if (command == CMD_PULL) begin
          ram_wdata = {ended_q, 14'd0, user_q};
        end else begin
          ram_waddr = {1'b1, INDEX_BITS'(0)};
          ram_wdata = {16'd0, index_q};
        end
      end
      default: ;
    endcase
  end
  assign ram_raddr = (state_q == SEND) ? {1'b1, index_q[INDEX_BITS-1:0]}
                   : (command == CMD_PUSH) ? {1'b0, index_q[INDEX_BITS+PER_BITS-1:PER_BITS]}
                   : {1'b0, index_q[INDEX_BITS-1:0]};

  bramcast_memory #(
      .WORD_BITS(32),
      .DEPTH(2 * PAYLOAD)
  ) u_buffer (
      .clk(clk),
      .we_i(ram_we),
      .waddr_i(ram_waddr),
      .wdata_i(ram_wdata),
      .raddr_i(ram_raddr),
      .word_o(ram_word)
  );

  // ------------------------------------------------------------------ states

  always_ff @(posedge clk) begin
    if (rx_valid_i && (state_q != LISTEN || hunt_q)) hunt_q <= rx_error_i || rx_byte_i != DELIMITER;

    if (is_escape) escape_q <= 1'b1;
    else if (plain) escape_q <= 1'b0;
    if (state_q == LISTEN && rx_valid_i && rx_error_i && !hunt_q) bad_q <= 1'b1;
    if (is_data && escape_q && rx_byte_i != ESCAPED_DELIMITER && rx_byte_i != ESCAPED_ESCAPE) bad_q <= 1'b1;
    if (packet_end && escape_q) bad_q <= 1'b1;
    if (is_data) begin
      shift_q <= {data, shift_q[23:8]};
      byte_q  <= byte_q + 2'd1;
    end
    if (whole) begin
      if (words_q != WORDS_BITS'(PAYLOAD + 4)) words_q <= words_q + 1'b1;
      if (words_q == '0) head_q <= word;
      if (words_q == WORDS_BITS'(1)) address_q <= word;
    end

    if (m_axil_awready) m_axil_awvalid <= 1'b0;
    if (m_axil_wready) m_axil_wvalid <= 1'b0;
    if (m_axil_arready) m_axil_arvalid <= 1'b0;
    if (s_axis_tready) s_axis_tvalid <= 1'b0;

    if (state_q == SEND && phase_q == BEGIN) error_o <= damaged_q || answer_status_q != OKAY;

    case (state_q)
      LISTEN: begin
        index_q <= 16'd0;
        phase_q <= BEGIN;
        if (packet_end && (byte_q != 2'd0 || words_q != '0 || bad_q || escape_q)) state_q <= JUDGE;
      end

      JUDGE: begin  // the sum is complete, one cycle behind the last byte
        damaged_q <= bad_q || byte_q != 2'd0 || words_q < WORDS_BITS'(3) || crc != RESIDUE;
        state_q   <= DECIDE;
      end

      DECIDE:
      if (damaged_q || (known_q && sequence_number == answer_sequence_q && command != CMD_IDENTIFY)) begin
        byte_q  <= 2'd0;
        state_q <= SEND;
      end else begin
        byte_q            <= 2'd0;
        fetch_q           <= 2'd0;
        patience_q        <= PATIENCE_BITS'(PATIENCE - 1);
        ended_q           <= 1'b0;
        user_q            <= 17'd0;
        known_q           <= command != CMD_IDENTIFY;
        answer_sequence_q <= sequence_number;
        answer_status_q   <= OKAY;
        answer_count_q    <= count;
        if (command > CMD_SCATTER) begin
          answer_status_q <= COMMAND;
          answer_count_q  <= 16'd0;
          state_q         <= SEND;
        end else if (illegal) begin
          answer_status_q <= LENGTH;
          answer_count_q  <= 16'd0;
          state_q         <= SEND;
        end else begin
          case (command)
            CMD_IDENTIFY: state_q <= IDENTIFY;
            CMD_PULL:     state_q <= PULL;
            default:      state_q <= FETCH;
          endcase
        end
      end

      FETCH: begin  // until the word at index_q has left the block RAM
        fetch_q <= fetch_q + 2'd1;
        if (fetch_q == 2'd2) begin
          fetch_q <= 2'd0;
          if (command == CMD_PUSH) begin
            state_q <= PUSH;
          end else if (command == CMD_SCATTER && !index_q[0]) begin
            address_q <= ram_word;
            index_q   <= index_q + 16'd1;
          end else if (command == CMD_READ) begin
            state_q        <= READ;
            m_axil_arvalid <= !beyond;
          end else begin
            state_q        <= WRITE;
            m_axil_wdata   <= ram_word;
            m_axil_awvalid <= !beyond;
            m_axil_wvalid  <= !beyond;
          end
        end
      end

      WRITE:
      if (beyond || (m_axil_bvalid && m_axil_bresp[1])) begin
        answer_status_q <= (beyond || m_axil_bresp[0]) ? DECERR : SLVERR;
        state_q         <= COUNT;
      end else if (m_axil_bvalid) begin
        index_q   <= index_q + 16'd1;
        address_q <= address_q + 32'd4;
        state_q   <= last ? COUNT : FETCH;
      end

      READ:
      if (beyond || (take_word && m_axil_rresp[1])) begin
        answer_status_q <= (beyond || m_axil_rresp[0]) ? DECERR : SLVERR;
        answer_count_q  <= index_q;
        index_q         <= 16'd0;
        state_q         <= SEND;
      end else if (take_word) begin
        index_q   <= index_q + 16'd1;
        address_q <= address_q + 32'd4;
        state_q   <= FETCH;
        if (last) begin
          index_q <= 16'd0;
          state_q <= SEND;
        end
      end

      PUSH: begin
        patience_q <= patience_q - 1'b1;
        if (room) begin
          patience_q    <= PATIENCE_BITS'(PATIENCE - 1);
          s_axis_tvalid <= 1'b1;
          s_axis_tdata  <= ram_word[DATA_BITS*index_q[PER_BITS-1:0] +: DATA_BITS];
          s_axis_tlast  <= last && address_q[0];
          index_q       <= index_q + 16'd1;
          if (last) state_q <= COUNT;
          else if (&index_q[PER_BITS-1:0]) state_q <= FETCH;
        end else if (hurry) begin
          answer_status_q <= STALLED;
          state_q         <= COUNT;
        end
      end

      PULL: begin
        patience_q <= patience_q - 1'b1;
        if (take_beat) begin
          patience_q <= PATIENCE_BITS'(PATIENCE - 1);
          ended_q    <= m_axis_tlast;
          user_q     <= m_axis_tuser;
          index_q    <= index_q + 16'd1;
        end
        if (hurry || (take_beat && (last || m_axis_tlast))) state_q <= COUNT;
      end

      IDENTIFY: begin
        index_q <= index_q + 16'd1;
        if (index_q[1:0] == 2'd2) begin
          index_q        <= 16'd0;
          answer_count_q <= 16'd3;
          state_q        <= SEND;
        end
      end

      COUNT: begin  // how many words or elements; behind what was pulled, TLAST and TUSER
        answer_count_q <= (command == CMD_PULL) ? index_q + 16'd1 : 16'd1;
        index_q        <= 16'd0;
        state_q        <= SEND;
      end

      default:  // SEND
      if (tx_taken) begin
        case (phase_q)
          BEGIN:  phase_q <= HEAD;
          ENDING: begin
            state_q  <= LISTEN;
            words_q  <= '0;
            byte_q   <= 2'd0;
            bad_q    <= 1'b0;
            escape_q <= 1'b0;
          end
          default: begin
            escaped_q <= special && !escaped_q;
            if (byte_sent) begin
              byte_q <= byte_q + 2'd1;
              if (byte_q == 2'd3) begin
                case (phase_q)
                  HEAD: phase_q <= (damaged_q || answer_count_q == 16'd0) ? SUM : BODY;
                  BODY: begin
                    index_q <= index_q + 16'd1;
                    if (index_q + 16'd1 == answer_count_q) phase_q <= SUM;
                  end
                  default: phase_q <= ENDING;
                endcase
              end
            end
          end
        endcase
      end
    endcase

    if (rst) begin
      state_q        <= LISTEN;
      hunt_q         <= 1'b0;
      escape_q       <= 1'b0;
      bad_q          <= 1'b0;
      byte_q         <= 2'd0;
      words_q        <= '0;
      known_q        <= 1'b0;
      escaped_q      <= 1'b0;
      error_o        <= 1'b0;
      m_axil_awvalid <= 1'b0;
      m_axil_wvalid  <= 1'b0;
      m_axil_arvalid <= 1'b0;
      s_axis_tvalid  <= 1'b0;
    end
  end

endmodule
`default_nettype wire
