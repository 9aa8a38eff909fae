"""What `headstart backbones` does, by sub-command."""
