"""Whether the first layer of a backbone sees what it was trained on."""
