"""What a model is worth: held-out scores, baselines, verdicts."""
