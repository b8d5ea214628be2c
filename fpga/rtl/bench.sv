// One layer of FINN between a source of words and a comparison with expected ones: its test bench.
//
// All happens at rising edges of the clock. +in=P and +out=P, per cent, say how often the source offers a next word and
// the sink is ready; a word once offered stays until it is taken. +seed=N seeds both. With +rests=1, the sink takes
// nothing in 32 of 128 cycles, and the source offers nothing in another 32. Prints one line per finding, then DONE with
// the numbers of words and cycles.
module rtl_bench #(
	parameter IN_BITS = 8,
	parameter OUT_BITS = 8,
	parameter PAYLOAD_BITS = 8,  // of them; what fills up the last byte is not compared
	parameter N_IN = 1,
	parameter N_OUT = 1,
	parameter bit LEADS = 0,  // the layer may give zeros before it takes a word: the padding of a frame to come
	parameter QUIET_CYCLES = 1000,  // behind the last expected word: a layer that gives more is wrong
	parameter STALLED_CYCLES = 100000,  // without any word: more than any layer computes on one
	parameter MAX_FINDINGS = 10
)(
	input clk
);
	reg [IN_BITS-1:0] words[N_IN];
	reg [OUT_BITS-1:0] expected[N_OUT];

	integer in_percent = 100, out_percent = 100, seed = 1, rests = 0, cycle = 0;
	reg [31:0] random = 1;
	initial begin
		$readmemh("in.hex", words);
		$readmemh("out.hex", expected);
		void'($value$plusargs("in=%d", in_percent));
		void'($value$plusargs("out=%d", out_percent));
		void'($value$plusargs("seed=%d", seed));
		void'($value$plusargs("rests=%d", rests));
		random = 32'h9E3779B9 ^ seed;
	end

	// xorshift32 (Marsaglia 2003), two draws of 16 bits a cycle
	function automatic [31:0] draw(input [31:0] state);
		draw = state ^ (state << 13);
		draw = draw ^ (draw >> 17);
		draw = draw ^ (draw << 5);
	endfunction
	wire offers = !(rests != 0 && cycle[6:5] == 2'd1) && 32'(random[31:16]) * 100 < in_percent * 65536;
	wire takes = !(rests != 0 && cycle[6:5] == 2'd3) && 32'(random[15:0]) * 100 < out_percent * 65536;

	reg rst_n = 0;
	reg in_valid = 0, out_ready = 0;
	wire in_ready, out_valid;
	integer in_index = 0, out_index = 0, quiet = 0, findings = 0;
	wire [IN_BITS-1:0] in_data = in_index < N_IN ? words[in_index] : '0;
	wire [OUT_BITS-1:0] out_data;
	wire [PAYLOAD_BITS-1:0] payload = out_data[PAYLOAD_BITS-1:0];

	finn_layer layer(.*);

	reg was_held = 0;
	reg [PAYLOAD_BITS-1:0] held;
	wire is_taken = rst_n && in_valid && in_ready;
	wire is_given = rst_n && out_valid && out_ready;
	wire [31:0] next_in = in_index + 32'(is_taken);

	always @(posedge clk) begin
		random <= draw(random);
		cycle <= cycle + 1;
		if(cycle == 20)  rst_n <= 1;
		if(rst_n) begin
			if(!in_valid || is_taken)  in_valid <= offers && next_in < N_IN;
			in_index <= next_in;
			out_ready <= takes;

			if(was_held && (!out_valid || payload !== held)) begin
				$display("UNSTABLE %0d", out_index);
				findings <= findings + 1;
			end
			was_held <= out_valid && !out_ready;
			held <= payload;

			quiet <= is_given ? 0 : quiet + 1;
			if(is_given) begin
				out_index <= out_index + 1;
				if(out_index >= N_OUT) begin
					if(!LEADS || payload != '0) begin
						$display("SURPLUS %0d %h", out_index, payload);
						findings <= findings + 1;
					end
				end else if(payload !== expected[out_index][PAYLOAD_BITS-1:0]) begin
					$display("DIFFERS %0d %h %h", out_index, payload, expected[out_index][PAYLOAD_BITS-1:0]);
					findings <= findings + 1;
				end
			end
			if(out_index < N_OUT && quiet > STALLED_CYCLES) begin
				$display("STALLED %0d %0d", out_index, in_index);
				findings <= MAX_FINDINGS;
			end
			if(findings >= MAX_FINDINGS || (out_index >= N_OUT && quiet > QUIET_CYCLES)) begin
				$display("DONE %0d %0d %0d", in_index, out_index, cycle);
				$finish;
			end
		end
	end
endmodule
