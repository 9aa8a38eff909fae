"""One file a source of backbones, which ends in `PLUGIN = …` (`headstart.core.types.BackboneSource`)."""
