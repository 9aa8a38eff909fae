"""A container of Vertex AI without containers: this machine's programs, and a root with /gcs in it."""

import shlex

from namespaced_container import Container

# The root is this machine's with one more folder.
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


def start_container(argv, folder, environment, write_line):
    """One start of an image in a folder that holds its home, its root and what is to be /gcs."""
    home, root, gcs = (folder / name for name in ("home", "root", "gcs"))
    for path in (home, root, gcs):
        path.mkdir(parents=True, exist_ok=True)
    places = {name: shlex.quote(str(path)) for name, path in {"home": home, "root": root, "gcs": gcs}.items()}
    mounts = f"mount -t tmpfs headstart {places['root']}\n{_MOUNTS.format(**places)}"
    return Container(argv, mounts, environment, home, write_line)
