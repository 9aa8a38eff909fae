"""Pictures that vanish between two steps of a fit: every step that reads them gives the same error, none a bug."""

import pytest

from headstart.api.fit_steps import FitSteps
from headstart.core.errors import DataError
from headstart.core.storage.cache import Store

STEPS = (
    *("files_audit", "candidates", "data", "screening", "embeddings", "vectors_audit", "splits", "controls", "ranking"),
    *("probe", "adapted", "evaluation", "uncertainty", "exported", "drift_reference", "explained"),
    "card",
)


@pytest.mark.medium
def test_every_step_names_a_vanished_picture_alike(small_textile, context, shared_store, tmp_path):
    folder = small_textile(12)
    (tmp_path / "cache").mkdir()
    for kind in ("weights", "wheels"):  # the trunks are made anew
        (tmp_path / "cache" / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    settings = {"backbones": ("bundled:efficientnet_lite0",), "budget": "10m"}
    steps, reading = FitSteps(context(folder, store=Store(tmp_path / "cache"), **settings)), []
    assert len(steps.pictures.uris) == 36
    for name in STEPS:
        folder.rename(tmp_path / "elsewhere")
        try:
            getattr(steps, name)
        except DataError as err:
            assert "changed while headstart was working: No such file" in err.what and err.hint
            reading.append(name)
        (tmp_path / "elsewhere").rename(folder)
        getattr(steps, name)  # they are back: it goes on
    assert reading == ["embeddings", "controls", "exported"]
    folder.rename(tmp_path / "elsewhere")
    assert steps.write_report().is_file()  # without what it cannot show
