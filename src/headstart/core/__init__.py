"""The values, files and rules that every room shares."""
