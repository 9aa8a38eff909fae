"""A container without containers: a process with mounts, a home and process numbers of its own."""

import os
import subprocess
import threading
from pathlib import Path


class Container:
    """One start of an image: `argv` as process 1 behind the bash of `mounts`, its lines given to `write_line`.

    What is mounted is gone with the last process of the namespace.
    """

    def __init__(self, argv, mounts, environment, home, write_line, cwd=None):
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            ["unshare", *user, *namespaces, "bash", "-c", mounts, "mounts", *argv],
            env=environment | {"HOME": str(home), "TMPDIR": str(home / "tmp")},
            cwd=cwd,
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

    def end(self, first, last, grace_s):
        """A signal, and another to what still runs after the grace; the exit code."""
        for number, wait_s in ((first, grace_s), (last, 30)):
            self.signal(number)
            if (code := self.wait(wait_s)) is not None:
                return code
        raise AssertionError("the container does not end")
