"""The house rules that a machine can check: contracts, start-up, what stays out of the tree."""

import ast
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import headstart

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "headstart"
HEAVY = {"numpy", "keras", "tensorflow", "openvino", "sklearn", "scipy", "matplotlib", "PIL", "jinja2"}


def loaded(*words: str) -> set[str]:
    """Top-level modules in memory after a command."""
    code = (
        "import json, sys\n"
        "from headstart.cli.main import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_import_contracts():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_folders_stay_small():
    folders = {path.parent for path in SRC.rglob("*.py")}
    counts = {str(folder.relative_to(SRC)): len([*folder.glob("*.py")]) for folder in folders}
    exempt = {"cli/commands", "data/checks"}  # one file a command, and one a check
    assert {name: count for name, count in counts.items() if count > 15 and name not in exempt} == {}


def test_no_room_hides_a_public_name():
    rooms = {path.name for path in SRC.iterdir() if path.is_dir()}
    assert not rooms & set(headstart.__all__)  # `headstart.export` is a function, so no room may be called `export`


@pytest.mark.parametrize("words", [("--help",), ("fit", "--help"), ("--version",), ("backbones", "list")])
def test_light_commands_load_nothing_heavy(words):
    assert not loaded(*words) & (HEAVY - {"numpy"} if words[0] == "backbones" else HEAVY)


def test_help_imports_no_more_than_it_needs():
    code = (
        "import sys\nearlier = set(sys.modules)\nfrom headstart.cli.main import main\nmain(['--help'])\n"
        "print(*set(sys.modules) - earlier, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())
    ours = {"headstart", "headstart.cli", "headstart.cli.main", "headstart.core"}
    assert {m for m in modules if m.startswith("headstart")} == ours | {
        "headstart.core.errors",
        "headstart.core.registry",
    }
    assert not modules & {"argparse", "ast", "dataclasses", "difflib", "inspect", "json"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import headstart, sys; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(ast.literal_eval(done.stdout)) & HEAVY


def functions():
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or 0) - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines


def test_functions_are_short():
    found = dict(functions())
    assert [name for name, lines in found.items() if lines > 60] == []
    assert sum(lines <= 30 for lines in found.values()) / len(found) >= 0.9


def test_files_are_short():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SRC.rglob("*.py")}
    assert {name: count for name, count in lengths.items() if count > 450} == {}


def test_no_room_outgrows_the_others():
    rooms = {room.name: sum(len(p.read_text().splitlines()) for p in room.rglob("*.py")) for room in SRC.iterdir()}
    assert {name: lines for name, lines in rooms.items() if lines > 0.15 * sum(rooms.values())} == {}


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """Modules of the package that a file imports: at its top, in functions, and for types alone."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return imported & modules


def test_no_import_ring_lazy_and_type_only_imports_included():
    files = {
        ".".join(("headstart", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in SRC.rglob("*.py")
    }
    graph = {module: imports_of(path, set(files)) - {module} for module, path in files.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a ring of imports: {' -> '.join(reversed(error.args[1]))}")


# Words that say nothing of what a variable holds or a function does.
FILLER = re.compile(
    r"_*(found|ones?|made|told|given|kept|said|asked|whole|held|done|seen|known|wanted|listed|taken|named|way|things?"
    r"|rest|here|there|where|what|which|own|before)_*"
)


def assigned_names(tree: ast.Module) -> list[str]:
    """Names that assignments, loops, comprehensions and `with` bind."""
    targets: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor | ast.comprehension):
            targets.append(node.target)
        elif isinstance(node, ast.withitem) and node.optional_vars:
            targets.append(node.optional_vars)
    names = (n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def test_variables_are_nouns_and_functions_verbs_with_objects():
    trees = [ast.parse(path.read_text()) for path in SRC.rglob("*.py")]
    variables = [name for tree in trees for name in assigned_names(tree)]
    functions = [
        node.name.strip("_")
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__")
    ]
    assert sum(FILLER.fullmatch(name) is not None for name in variables) / len(variables) < 0.01  # may only fall
    assert sum("_" not in name for name in functions) / len(functions) < 0.12  # may only fall
    assert [name for name in functions if FILLER.fullmatch(name)] == []


def test_no_pickle():
    allowed = SRC / "networks" / "formats" / "torch_state_dict.py"  # its allow-list reader subclasses Unpickler
    for path in SRC.rglob("*.py"):
        if path != allowed:
            assert not re.search(r"\bimport (c?pickle|dill|joblib)\b|allow_pickle=True", path.read_text()), path


def test_one_table_tells_what_to_install():
    for path in SRC.rglob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
        assert path.name == "extras.py" or not re.search(r"headstart\[\w", code), path


def test_files_of_tests_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(set(names)) == len(names)  # pytest imports them by these


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_the_tree_speaks_of_the_project_alone():
    hosts = "|".join(("pypi" + "[.]org", "python" + "hosted", "registry[.]" + "npm", "deb" + "ian[.]org"))
    paths = r"(?<![\w.])/(?:" + "work|" + "root|home/" + r"\w+)/"
    bad = re.compile(hosts + "|" + paths, re.I)
    for path in tracked():
        if path.suffix not in {".png", ".npy", ".jpg", ".safetensors"}:
            found = bad.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_pins_have_hashes_and_no_addresses():
    text = (ROOT / "requirements.lock").read_text()
    pins = [line for line in text.splitlines() if re.match(r"^[a-z0-9]", line)]
    assert len(pins) > 40
    assert all("==" in pin and pin.rstrip().endswith("\\") for pin in pins)
    assert "://" not in text
