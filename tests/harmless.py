"""Whether a folder that is written here holds anything that runs when it is read: pickles, lambdas, programs."""

import io
import json
import pickletools
import re
import zipfile
from pathlib import Path

import numpy as np

CODE = re.compile(r'"(class_name|module)": *"[^"]*(Lambda|__lambda__|TFSMLayer|TorchModuleWrapper|JaxLayer|FlaxLayer)')
PROGRAMS = {".py", ".pyc", ".so", ".dll", ".exe", ".sh", ".bat", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill"}


def executable(root: Path) -> list[str]:
    """Files below a folder that can run something, with the reason."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    found = {path.relative_to(root).as_posix(): _why(path.name, path.read_bytes()) for path in files}
    marked = [f"{path.relative_to(root).as_posix()}: may be executed" for path in files if path.stat().st_mode & 0o111]
    return [f"{name}: {why}" for name, why in found.items() if why] + marked


def _why(name: str, content: bytes) -> str:
    if Path(name).suffix in PROGRAMS:
        return "a program or a pickle by its name"
    if content.startswith((b"\x7fELF", b"MZ", b"#!", b"\xcf\xfa\xed\xfe")):
        return "a program"
    if _pickled(content):
        return "a pickle"
    if content.startswith(b"\x93NUMPY"):
        np.load(io.BytesIO(content), allow_pickle=False)  # an array of objects is an error
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            inside = {one: _why(one, packed.read(one)) for one in packed.namelist()}
        return next((f"{one} in it is {why}" for one, why in inside.items() if why), "")
    if name.endswith(".json") and CODE.search(json.dumps(json.loads(content))):
        return "a Keras layer that runs code"
    return ""


def _pickled(content: bytes) -> bool:
    """Whether bytes are a pickle to their end; of all else the first bytes are no operations, or they do not stop."""
    try:
        names = [op.name for op, _, _ in pickletools.genops(content)]
    except Exception:  # whatever the bytes of something else are taken for
        return False
    return len(names) > 1 and names[-1] == "STOP"
