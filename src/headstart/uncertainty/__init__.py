"""How sure an answer may be: temperature, conformal sets, out-of-distribution detection."""
