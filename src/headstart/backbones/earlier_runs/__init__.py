"""Networks of earlier runs as backbones."""
