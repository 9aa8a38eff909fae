"""Weights over the network: resumed, pinned, mirrored."""
