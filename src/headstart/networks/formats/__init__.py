"""Files that hold networks or weights, read without running what they say."""
