"""What a training job left in the bucket, brought back as a run folder."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, NoOpError
from headstart.core.run.opening import require_free_folder
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.locations import uploads
from headstart.remote.sagemaker.clients import make_client, split_address, translate_errors

if TYPE_CHECKING:
    from headstart.core.console import Console

_MARK = "format.json"  # in every run folder


def fetch_run(address: str, region: str, answer: Mapping[str, Any], out: Path, console: Console) -> Path:
    """Bring the run of a job into `out`: of one that is done its results, else its checkpoints.

    Args:
        address: The job's folder in the bucket.
        region: Of the bucket.
        answer: Of DescribeTrainingJob.
        out: A folder that is not there, is empty, or holds an earlier state of this run.
        console: Told of progress.

    Raises:
        UsageError: `out` holds something else.
        NoOpError: The job has left nothing yet.
        DataError: The results are damaged.
        SetupError: AWS does not give them, or the disk has no room.
    """
    require_free_folder(out)
    with translate_disk_errors(out), tempfile.TemporaryDirectory(dir=_make_parent(out), prefix=".tmp-") as draft:
        folder = Path(draft)
        if answer["TrainingJobStatus"] == "Completed":
            _unpack_model(answer["ModelArtifacts"]["S3ModelArtifacts"], region, folder)
        elif uploads.exists_below(f"{address}/checkpoints/"):
            uploads.download_folder(f"{address}/checkpoints", folder / "checkpoints", console)
        else:
            problem = f"`{answer['TrainingJobName']}` has left nothing yet"
            raise NoOpError(problem, hint="headstart jobs status tells how it is")
        run = _find_run(folder)
        if out.exists():
            shutil.rmtree(out)
        shutil.move(run, out)
    return out


def _make_parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _unpack_model(address: str, region: str, folder: Path) -> None:
    bucket, key = split_address(address)
    archive = folder / "model.tar.gz"
    with translate_errors(f"`{address}` cannot be fetched"):
        make_client("s3", region).download_file(bucket, key, str(archive))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder / "model", filter="data")
    except (tarfile.TarError, EOFError) as err:
        raise DataError(f"`{address}` is damaged: {err}", where=address) from err
    archive.unlink()


def _find_run(folder: Path) -> Path:
    """The run folder somewhere below: a job's folder of results or checkpoints holds one."""
    for mark in sorted(folder.rglob(_MARK), key=lambda path: len(path.parts)):
        return mark.parent
    raise DataError("the job left no run", hint="headstart jobs logs shows how far it came")
