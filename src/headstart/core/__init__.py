"""The values, files and rules that every part shares; only the standard library at import time."""
