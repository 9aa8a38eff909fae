"""How a new domain differs from the labelled one, and what that may cost, without a label of it."""
