"""One file a command, which ends in `PLUGIN = …` (protocol `headstart.cli.command.Command`)."""
