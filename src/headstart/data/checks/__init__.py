"""One file a check of the data, which ends in `PLUGIN = Check(…)` (`headstart.data.check_base`)."""
