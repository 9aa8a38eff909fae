"""The prediction service, the studio and their pages; thin faces over the runtime and the pipeline."""
