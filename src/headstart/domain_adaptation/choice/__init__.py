"""Which adaptation is taken: rules that need no label of the new domain, and the guard against harm."""
