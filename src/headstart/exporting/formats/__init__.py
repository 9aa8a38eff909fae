"""The formats a model can be exported to: one file a format."""
