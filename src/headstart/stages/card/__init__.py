"""What a model is for, what it was measured at and where it fails, as a page that goes with it."""
