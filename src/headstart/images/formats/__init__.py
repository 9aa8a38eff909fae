"""One file a family of picture formats, which ends in `PLUGIN = PictureFormat(…)` (`headstart.images.file_formats`)."""
