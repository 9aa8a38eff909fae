"""How sure the model may be: calibrated probabilities, prediction sets that keep a promise, and `unknown`."""
