"""Networks as graphs: read, cut, converted, run, counted."""
