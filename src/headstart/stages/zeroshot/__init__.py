"""The stage `zeroshot`."""
