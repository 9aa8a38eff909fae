"""Where backbones come from: one file a source."""
