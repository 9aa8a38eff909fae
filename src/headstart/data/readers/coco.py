"""COCO annotations, a JSON file: the categories of an image's annotations are its labels."""

from __future__ import annotations

import json
from pathlib import Path

from headstart.core.job import Job
from headstart.core.types import SkippedFile
from headstart.data.reading.annotation_reader import AnnotationReader
from headstart.data.reading.annotations import Annotations


def read_coco(path: Path, job: Job) -> Annotations:
    """One row an image; boxes and masks are not looked at."""
    content = json.loads(path.read_bytes())
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    labels: dict[object, dict[str, None]] = {image["id"]: {} for image in content["images"]}
    skipped = list[SkippedFile]()
    for number, annotation in enumerate(content["annotations"], 1):
        image, category = annotation["image_id"], annotation["category_id"]
        if image in labels and category in names:
            labels[image][names[category]] = None
        else:
            detail = f"annotation {number} is of image {image} and category {category}, which are not both listed"
            skipped.append(SkippedFile(uri=f"{path.name}:{number}", reason="malformed_row", detail=detail))
    images = content["images"]
    return Annotations(
        source=path,
        names_classes=True,
        paths=[str(image["file_name"]) for image in images],
        labels=[tuple(labels[image["id"]]) for image in images],
        numbers=range(1, len(images) + 1),
        skipped=skipped,
        notes=[
            f"{len(images):,} images, {len(content['annotations']):,} annotations, {len(names):,} categories of COCO"
        ],
    )


PLUGIN = AnnotationReader(
    name="coco",
    form="COCO annotations",
    suffix=".json",
    first="{",
    settings=frozenset({"images", "merge_labels"}),
    read=read_coco,
)
