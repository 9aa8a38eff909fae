"""A container of Vertex AI without containers: this machine's programs, a root with /gcs in it, its own process 1."""

import os
import shlex
import subprocess
import threading
from pathlib import Path

# The root is this machine's with one more folder; what is mounted is gone with the last process of the namespace.
_MOUNTS = """
set -e
for path in /*; do
  name={root}$path
  if [ -L "$path" ]; then cp -P "$path" "$name"
  elif [ -d "$path" ] && [ "$path" != /gcs ]; then mkdir -p "$name"; mount --rbind "$path" "$name"; fi
done
mkdir -p {root}/gcs
mount --rbind {gcs} {root}/gcs
cd {home}
exec chroot {root} /usr/bin/env -C {home} "$@"
"""


class Container:
    """One start of an image: `argv` as process 1, its lines given to `write_line`."""

    def __init__(self, argv, folder, environment, write_line):
        home, root, gcs = (folder / name for name in ("home", "root", "gcs"))
        for path in (home / "tmp", root, gcs):
            path.mkdir(parents=True, exist_ok=True)
        places = {name: shlex.quote(str(path)) for name, path in {"home": home, "root": root, "gcs": gcs}.items()}
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        mounts = f"mount -t tmpfs headstart {places['root']}\n{_MOUNTS.format(**places)}"
        self._process = subprocess.Popen(
            ["unshare", *user, *namespaces, "bash", "-c", mounts, "mounts", *argv],
            env=environment | {"HOME": str(home), "TMPDIR": str(home / "tmp")},
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

    def end(self, first, last, grace_s):
        """A signal to process 1 of the container alone, and another to what still runs after the grace."""
        for number in (first, last):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            try:
                for child in children.read_text().split():
                    os.kill(int(child), number)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has just ended
            if (code := self.wait(grace_s if number == first else 30)) is not None:
                return code
        raise AssertionError("the container does not end")
