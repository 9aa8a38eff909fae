"""What the user names, as decoded batches: files, folders, archives, tables."""
