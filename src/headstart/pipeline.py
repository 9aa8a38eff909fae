"""The story of a fit: read, audit, embed, rank, adapt, evaluate, export, report."""
