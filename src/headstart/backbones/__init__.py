"""Where pre-trained trunks come from: one file a source."""
