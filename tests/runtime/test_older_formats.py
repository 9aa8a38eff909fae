"""What an older version wrote, this one reads: `format1/` was written by the code that knew no other format."""

import json
import shutil
from pathlib import Path

import pytest

from headstart.core import model_manifest
from headstart.core.errors import DataError
from headstart.core.storage.files import read_json
from headstart.core.storage.hashing import compute_digest
from headstart.runtime.model import load

FORMAT1 = Path(__file__).with_name("format1")


def test_a_model_of_format_1_answers_as_it_did(paint):
    found = load(FORMAT1 / "model")
    assert read_json(FORMAT1 / "model" / "manifest.json")["format"] == found.manifest.format == 1
    assert found.manifest.doubt is None
    wanted = json.loads((FORMAT1 / "answers.json").read_text())
    files = [paint(f"{at}.png", tuple(one["colour"])) for at, one in enumerate(wanted)]
    for got, one in zip(found.predict(files), wanted, strict=True):
        assert got.answer == one["answer"]
        assert got.likeliest == max(one["probabilities"], key=one["probabilities"].get)
        assert got.probabilities == pytest.approx(one["probabilities"], abs=1e-6)
        assert (got.plausible, got.novelty, got.unknown) == ((), None, False)
        assert bool(got.reasons) == (got.answer != got.likeliest)


@pytest.mark.parametrize("newer", [model_manifest.FORMAT + 1, model_manifest.FORMAT + 9])
def test_a_format_that_is_not_known_yet_is_refused(tmp_path, newer):
    shutil.copytree(FORMAT1 / "model", tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    content = json.loads(path.read_text()) | {"format": newer}
    content.pop("digest")
    path.write_text(json.dumps(content | {"digest": compute_digest(content)}))
    with pytest.raises(DataError, match=f"has format {newer}; this version reads up to 2"):
        load(tmp_path / "model")
