"""The heads that can be fitted: one file a head."""
