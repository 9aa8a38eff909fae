"""One file a command, which ends in `PLUGIN = …` (protocol `headstart.core.types.Command`)."""
