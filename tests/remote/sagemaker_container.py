"""A container of SageMaker without containers: this machine's programs, /opt/ml of its own, process 1 of its own."""

import os
import shlex
import subprocess
import threading
from pathlib import Path

# What is in /opt goes on being there; /opt/ml is the job's. The mounts are gone with the last process of the namespace.
_MOUNTS = """
set -e
for name in {siblings}; do mkdir -p {opt}/$name; mount --rbind /opt/$name {opt}/$name; done
mount --rbind {opt} /opt
exec "$@"
"""


class Container:
    """One start of an image: `argv` as process 1, its lines given to `write_line`."""

    def __init__(self, argv, opt, environment, home, write_line):
        siblings = [path.name for path in Path("/opt").iterdir() if path.is_dir() and path.name != "ml"]
        mounts = _MOUNTS.format(siblings=shlex.join(siblings), opt=shlex.quote(str(opt)))
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            ["unshare", *user, *namespaces, "bash", "-c", mounts, "mounts", *argv],
            env=environment | {"HOME": str(home), "TMPDIR": str(home / "tmp")},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(write_line,), daemon=True)
        self._reader.start()

    def _read(self, write_line):
        for line in self._process.stdout:
            write_line(line.rstrip("\n"))

    def wait(self, seconds):
        """The exit code, None while it runs."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join()
        self._process.stdout.close()
        return code

    def signal(self, number):
        """A signal to process 1 of the container alone, as `docker stop` sends it."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            for child in children.read_text().split():
                os.kill(int(child), number)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
