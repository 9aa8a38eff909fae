"""A run: its folder, its owner, and what every step gets besides its values."""
