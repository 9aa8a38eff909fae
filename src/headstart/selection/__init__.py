"""Which backbone, which features, which head: candidates, ranking, probes, time."""
