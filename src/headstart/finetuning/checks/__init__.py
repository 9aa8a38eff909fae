"""One file a check of training curves, which ends in `PLUGIN = …` (`headstart.finetuning.check_base`)."""
