"""The steps of a run, each from values to a value; no stage imports another."""
