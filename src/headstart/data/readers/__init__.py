"""The forms in which labelled pictures come, one file each."""
