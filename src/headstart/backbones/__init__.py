"""Pre-trained backbones: where they come from, what is known of them, how one is made ready."""
