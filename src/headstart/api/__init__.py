"""headstart as functions: a fit step by step, an opened run, and what one does with it."""
