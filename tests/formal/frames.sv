// SPDX-License-Identifier: Apache-2.0
// Proof, without a bound (induction), for UNITS = 1: bramcast_frames brings every unit into the scratchpad,
// once, in order, at its address, only while the area is free and no frame is resident; its FIFO never
// overflows, and no word of it is read and written in one cycle.
//
// test_formal.py puts this text in front of the module's `endmodule` and cuts the instances out: their
// outputs are free but for what is proven of them (input.sv, assemble.sv) or what a memory is. A unit comes
// two cycles after its last element, which needs room_q one cycle before; last_q comes with a
// frame's last unit, and tells with run_end_q whether the frame is whole; every frame has the same descriptor.
// Units of a frame that is dropped are written like others, but do not make it resident, and the next
// frame begins where it began.
// With flush_i, from whose second cycle on no unit comes (its instances are flushed, too), the FIFO is empty and no frame
// resident in the next cycle, whatever was before, and all begins anew behind it.
// What stands under HELP lets induction start anywhere.
//
  generate
    if (1) begin : g_proof
      (* anyseq *) logic choose;
      (* anyconst *) logic [ADDRESS_BITS-1:0] base;

      logic                    started_q;
      logic [2:0]              room_before_q;  // room_q one, two, three cycles ago
      logic [7:0]              units_q;        // came and are not in the scratchpad yet
      logic [UNIT_BITS-1:0]    number_q;       // of the next unit that comes, in its frame
      logic [UNIT_BITS-1:0]    place_q;        // of the next unit that is written, in its frame
      logic                    full_q;         // a frame is in the scratchpad
      logic [2:0]              free_before_q;  // a unit could be read
      // the chosen unit
      logic                    chosen_q;
      logic [7:0]              ahead_q;        // units that are written before it
      logic [DATA-1:0]         data_q;
      logic                    end_q, whole_q;  // its last_q, run_end_q
      logic [UNIT_BITS-1:0]    number_q2;
      // the memory: the chosen word, and of every word whether it is a frame's last, and of a whole one
      logic [POINTER_BITS-1:0] slot_q, raddr_q, raddr_q2;
      logic                    hit_q, hit_q2;  // the chosen word has been read
      logic [FRAME_DEPTH-1:0]  lasts_q, wholes_q;
      logic                    last_q1, last_q2, whole_q1, whole_q2;
      logic                    dropped_q;      // a frame has been
      logic                    flush_q, lost_q;  // lost_q: units have been, by flush_i
      initial started_q = 1'b0;

      logic       could_read;
      logic [7:0] remain;
      assign could_read = free_i && !full_q && units_q != 8'd0;
      assign remain     = units_q - {7'd0, we_o};

      always @(posedge clk) begin
        started_q <= 1'b1;
        assume (started_q || rst);
        assume (!(flush_q && full_we));
        assume (base_q == base);
        assume (!full_we || room_before_q[2]);
        assume (!last_q || full_we || flush_q);
        assume (!take_i || resident_o);
        assume (entry[LAST] == last_q2 && entry[RUN_END] == whole_q2);
        if (hit_q2) assume (entry[DATA-1:0] == data_q);

        room_before_q <= {room_before_q[1:0], room_q};
        free_before_q <= {free_before_q[1:0], could_read};
        raddr_q  <= read_q[POINTER_BITS-1:0];
        raddr_q2 <= raddr_q;
        hit_q    <= chosen_q && read_q[POINTER_BITS-1:0] == slot_q;
        hit_q2   <= hit_q;
        last_q1  <= lasts_q[read_q[POINTER_BITS-1:0]];
        last_q2  <= last_q1;
        whole_q1 <= wholes_q[read_q[POINTER_BITS-1:0]];
        whole_q2 <= whole_q1;

        units_q <= remain + {7'd0, full_we};
        if (full_we) begin
          number_q <= last_q ? '0 : number_q + 1'b1;
          lasts_q[write_q[POINTER_BITS-1:0]]  <= last_q;
          wholes_q[write_q[POINTER_BITS-1:0]] <= run_end_q;
        end
        if (we_o) place_q <= last ? '0 : place_q + 1'b1;
        if (chosen_q && we_o) begin
          ahead_q <= ahead_q - 8'd1;
          if (ahead_q == 8'd0) begin
            chosen_q <= 1'b0;
            hit_q    <= 1'b0;
            hit_q2   <= 1'b0;
          end
        end
        if (!chosen_q && full_we && choose) begin
          chosen_q  <= 1'b1;
          ahead_q   <= remain;
          data_q    <= full_word;
          end_q     <= last_q;
          whole_q   <= run_end_q;
          number_q2 <= number_q;
          slot_q    <= write_q[POINTER_BITS-1:0];
        end
        if (we_o && last && !entry[RUN_END]) dropped_q <= 1'b1;
        if (we_o && last && entry[RUN_END]) full_q <= 1'b1;
        else if (take_i) full_q <= 1'b0;
        flush_q <= flush_i;
        if (flush_i && units_q != 8'd0 && !resident_o) lost_q <= 1'b1;
        if (rst) begin
          room_before_q <= '0;
          lost_q        <= 1'b0;
        end
        if (rst || flush_i) begin
          free_before_q <= '0;
          units_q       <= 8'd0;
          number_q      <= '0;
          place_q       <= '0;
          chosen_q      <= 1'b0;
          hit_q         <= 1'b0;
          hit_q2        <= 1'b0;
          full_q        <= 1'b0;
          dropped_q     <= 1'b0;
        end

        if (started_q) begin
          assert (level <= FRAME_DEPTH);
          if (read && full_we) assert (read_q[POINTER_BITS-1:0] != write_q[POINTER_BITS-1:0]);
          assert (resident_o == full_q);
          if (flush_q) assert (level == '0 && !we_o && !resident_o);
          if (we_o) begin
            assert (units_q != 8'd0 && !full_q && free_before_q[1]);
            assert (address_o == base + place_q);
          end
          if (we_o && chosen_q && ahead_q == 8'd0) begin
            assert (word_o == data_q && last == end_q && place_q == number_q2);
            assert (entry[RUN_END] == whole_q);
          end
          if (could_read) assert (we_o || read_q1 || read);  // no unit waits without reason
        end
        cover (started_q && we_o && chosen_q && ahead_q == 8'd0 && read_q[POINTER_BITS]);
        cover (started_q && we_o && last && chosen_q && ahead_q == 8'd0 && place_q == 2'd2);
        cover (started_q && resident_o && dropped_q);
        cover (started_q && resident_o && lost_q);
      end

`ifdef HELP
      logic [POINTER_BITS:0]  front;  // of the next unit that is written
      logic [UNIT_BITS-1:0]   place;  // of a unit in its frame
      logic                   fits;
      integer                 i;
      logic [POINTER_BITS-1:0] slot, before_read;
      assign before_read = read_q - 1'b1;
      assign front = read_q - {{POINTER_BITS{1'b0}}, read_q1} - {{POINTER_BITS{1'b0}}, we_o};
      always @* begin
        place = place_q;
        fits  = 1'b1;
        for (i = 0; i < FRAME_DEPTH; i = i + 1) begin
          slot = front + i;
          if (i < units_q) begin
            if (chosen_q && ahead_q == i) begin
              fits = place == number_q2 && lasts_q[slot] == end_q && wholes_q[slot] == whole_q
                     && slot == slot_q;
            end
            place = lasts_q[slot] ? '0 : place + 1'b1;
          end
        end
      end
      always @(posedge clk) if (started_q) begin
        assert (units_q <= FRAME_DEPTH - 1);
        if (room_q) assert (units_q <= FRAME_DEPTH - RESERVE + 3);  // two of them are being read
        if (room_before_q[0]) assert (units_q <= FRAME_DEPTH - RESERVE + 4);
        if (room_before_q[1]) assert (units_q <= FRAME_DEPTH - RESERVE + 5);
        if (room_before_q[2]) assert (units_q <= FRAME_DEPTH - RESERVE + 6);
        assert (units_q == level + {7'd0, read_q1} + {7'd0, we_o});
        assert (place == number_q);
        assert (fits);
        if (chosen_q) assert (ahead_q < units_q);
        assert (!(full_q && (read_q1 || we_o)));
        if (read_q1) begin
          assert (raddr_q == before_read && last_q1 == lasts_q[raddr_q]);
          assert (whole_q1 == wholes_q[raddr_q]);
          assert (hit_q == (chosen_q && raddr_q == slot_q));
        end
        if (we_o) begin
          assert (raddr_q2 == front[POINTER_BITS-1:0] && last_q2 == lasts_q[raddr_q2]);
          assert (whole_q2 == wholes_q[raddr_q2]);
          assert (hit_q2 == (chosen_q && raddr_q2 == slot_q));
          assert (!first_q);
        end
        if (first_q) assert (place_q == '0);
        if (!first_q && !we_o) assert (address_o + 1'b1 == base + place_q);
      end
`endif
    end
  endgenerate
