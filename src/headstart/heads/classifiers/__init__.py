"""One file a head on frozen features, which ends in `PLUGIN = …` (protocol `headstart.core.types.Head`)."""
