"""A container of SageMaker without containers: this machine's programs, and an /opt/ml of its own."""

import shlex
from pathlib import Path

from namespaced_container import Container

# What is in /opt goes on being there; /opt/ml is the job's.
_MOUNTS = """
set -e
for name in {siblings}; do mkdir -p {opt}/$name; mount --rbind /opt/$name {opt}/$name; done
mount --rbind {opt} /opt
exec "$@"
"""


def start_container(argv, opt, environment, home, write_line):
    """One start of an image, with the folder `opt` as /opt."""
    siblings = [path.name for path in Path("/opt").iterdir() if path.is_dir() and path.name != "ml"]
    mounts = _MOUNTS.format(siblings=shlex.join(siblings), opt=shlex.quote(str(opt)))
    return Container(argv, mounts, environment, home, write_line, cwd=home)
