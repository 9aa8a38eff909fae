"""What a run will come to, from published figures and earlier runs."""
