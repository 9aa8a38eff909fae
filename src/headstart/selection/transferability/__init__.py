"""Scores that tell without training how well features suit labels."""
