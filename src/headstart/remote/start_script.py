"""The bash that a container runs: it brings Python and the packages of the submitter, then starts the job.

SIGTERM during the installation ends it; after it, `headstart run` is the process itself and handles the signal.
"""

from __future__ import annotations

NAME = "start.sh"

_SCRIPT = """\
#!/bin/bash
# Runs the job of this folder: job.toml, requirements.txt and the wheel of headstart lie beside this script.
set -euo pipefail
started=$(date +%s)
trap 'exit 143' TERM
code=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

find_python() {
    for name in python@VERSION@ python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (@NUMBERS@))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    echo "the image has no Python @VERSION@; uv brings one" >&2
    tools=$(mktemp -d)
    { python3 -m pip install --quiet --target "$tools" uv \\
        && PYTHONPATH=$tools python3 -m uv venv --quiet --seed --python @VERSION@ "$tools/venv"; } & wait $!
    python=$tools/venv/bin/python
fi
if ! "$python" - "$code/requirements.txt" "$code"/headstart-*.whl <<'END'
import importlib.metadata as metadata
import pathlib
import sys
pins = pathlib.Path(sys.argv[1]).read_text().split()
pins.append("==".join(pathlib.Path(sys.argv[2]).name.split("-")[:2]))
try:
    sys.exit(any(metadata.version(pin.partition("==")[0]) != pin.partition("==")[2] for pin in pins))
except metadata.PackageNotFoundError:
    sys.exit(1)
END
then
    echo "installing the packages of the submitter" >&2
    "$python" -m pip install --quiet --no-deps --requirement "$code/requirements.txt" "$code"/headstart-*.whl & wait $!
fi
exec "$python" -m headstart run "$code/job.toml" --started "$started"
"""


def format_start_script(python: str) -> str:
    """The script for a version of Python such as `3.11`."""
    return _SCRIPT.replace("@VERSION@", python).replace("@NUMBERS@", python.replace(".", ", "))
