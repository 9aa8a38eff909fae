"""A user's own file in a cache, as `backbones add` leaves it, without a network in it."""

from headstart.backbones.imported import description
from headstart.backbones.imported.description import ImportedBackbone
from headstart.core.types import InputSpec
from headstart.networks.cut_points import Cut


def own(store, name="mine", content="c" * 64):
    """The copy of a user's own file in the cache, with its description."""
    cut = Cut(name="last", layer="mean", dim=8, side=0)
    how = {"layout": "nchw", "scaling": "given", "guess": False, "cuts": (cut,), "params": 9, "flops": 9, "bytes": 1}
    what = {"licence": "MIT", "licence_note": "", "pretrained_on": "not known", "family": "onnx"}
    found = ImportedBackbone(name=name, kind="onnx", content=content, input=InputSpec(size_px=32), **how, **what)
    description.write_description(description.SOURCE, found, store)
    return store.make_entry(
        "added", description.copy_key(content), lambda draft: (draft / "model.xml").write_bytes(b"<net>")
    )
