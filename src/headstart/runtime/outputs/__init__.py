"""Answers as rows: CSV, JSON Lines, Parquet."""
