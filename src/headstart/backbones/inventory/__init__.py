"""What the cache holds of backbones: listed, checked, bundled, cleared."""
