"""One file a place where a job can run."""
