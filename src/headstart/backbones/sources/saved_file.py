"""Trunks from your own files: Keras, ONNX, OpenVINO IR, TensorFlow SavedModel.

`headstart backbones add FILE` copies a file into the cache and describes it. A `.keras` file can be fine-tuned and has
a random-init control; the others are frozen.
"""

from __future__ import annotations

from headstart.backbones.imported.source_base import ImportedSource


class SavedFile(ImportedSource):
    """The source `saved_file`."""

    name = "saved_file"


PLUGIN = SavedFile()
