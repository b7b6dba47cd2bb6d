"""Build and run the HDL with Icarus or Verilator, compare with golden, judge retrained images."""
