"""Values, rows and files on disk: written whole, named by digest, read back by type."""
