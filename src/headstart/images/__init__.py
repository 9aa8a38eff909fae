"""Picture files to arrays: formats, decoding, preprocessing, thumbnails."""
