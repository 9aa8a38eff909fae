"""An export `CVAT for images`, an XML file: the tags of an image are its labels, its subset is its split."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from headstart.core.job import Job
from headstart.data.reading.annotation_reader import AnnotationReader
from headstart.data.reading.annotations import Annotations
from headstart.data.reading.folder_layout import find_split


def read_cvat(path: Path, job: Job) -> Annotations:
    """One row an image; boxes, polygons and other shapes are not looked at."""
    paths, labels, splits = list[str](), list[tuple[str, ...]](), list[str]()
    for _, element in ElementTree.iterparse(path):
        if element.tag == "image":
            paths.append(element.attrib["name"])
            labels.append(tuple(dict.fromkeys(tag.attrib["label"] for tag in element.iter("tag"))))
            splits.append(find_split(element.attrib.get("subset", "")) or "")
            element.clear()
    return Annotations(
        source=path,
        names_classes=True,
        paths=paths,
        labels=labels,
        numbers=range(1, len(paths) + 1),
        splits=splits if all(splits) else (),
        notes=[f"{len(paths):,} images of CVAT"],
    )


PLUGIN = AnnotationReader(
    name="cvat",
    form="an export of CVAT for images",
    suffix=".xml",
    first="<",
    settings=frozenset({"images", "merge_labels"}),
    read=read_cvat,
)
