"""What is fitted on frozen features: one file a head."""
