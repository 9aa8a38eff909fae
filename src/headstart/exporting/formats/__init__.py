"""One file a format of an export, which ends in `PLUGIN = Exporter(…)` (`headstart.exporting.export_source`)."""
