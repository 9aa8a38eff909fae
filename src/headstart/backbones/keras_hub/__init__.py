"""Presets of KerasHub as backbones."""
