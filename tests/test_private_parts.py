"""Private parts of dependencies that are touched: each is listed here, with what to look at when it breaks.

A new place fails until it is listed, and each package of a listed place has an upper version bound in `pyproject.toml`.
"""

import ast
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import headstart

ROOT = Path(__file__).resolve().parent.parent
SRC = Path(headstart.__file__).parent

# (file, what is touched) -> (package, what to look at when it breaks)
PLACES = {
    ("networks/nested_layers.py", "_flatten_layers"): (
        "keras",
        "what lists the layers within a layer: `Layer._flatten_layers`; tests/networks/test_nested_layers.py",
    ),
    ("finetuning/network/clone.py", "_name"): (
        "keras",
        "how a variable gets its name: `keras.Variable.name`; the end of an epoch's log and checkpoints use it",
    ),
    ("finetuning/network/clone.py", "_path"): (
        "keras",
        "how a variable gets its path: `keras.Variable.path`; rates by layer are looked up by it",
    ),
    ("finetuning/network/lora.py", "_kernel"): (
        "keras",
        "where a layer with LoRA keeps its frozen kernel: `Dense.enable_lora`; tests/finetuning/test_lora.py",
    ),
    ("backbones/keras_hub/preset_download.py", "keras_hub.src.utils.preset_utils"): (
        "keras-hub",
        "what fetches a file of a preset from Kaggle: `preset_utils.get_file`",
    ),
    ("backbones/keras_hub/layer_rules.py", "_get_rel_pos_bias"): (
        "keras-hub",
        "how Swin's window attention makes its bias by relative position; tests/backbones/test_hub_preset.py",
    ),
    ("finetuning/network/determinism.py", "_default_vspace"): (
        "tensorflow",
        "how gradients are added: `tensorflow.python.eager.backprop`; the tests of trainings that repeat bit for bit",
    ),
    ("finetuning/network/determinism.py", "tensorflow.python.pywrap_tfe"): (
        "tensorflow",
        "how another way to add gradients is set: `TFE_Py_RegisterVSpace`",
    ),
    ("finetuning/network/determinism.py", "tensorflow.python.eager.backprop"): (
        "tensorflow",
        "the module that adds gradients",
    ),
    ("finetuning/network/determinism.py", "tensorflow.python.framework.config"): (
        "tensorflow",
        "what undoes deterministic kernels: `disable_op_determinism`; tests/finetuning/test_process_state.py",
    ),
    ("exporting/formats/litert.py", "tensorflow.lite.python.schema_py_generated"): (
        "tensorflow",
        "the classes of a `.tflite` file's parts: `BufferT`, `MetadataT`; tests/exporting/test_export_formats.py",
    ),
    ("exporting/formats/litert.py", "tensorflow.lite.tools.flatbuffer_utils"): (
        "tensorflow",
        "what reads and writes a `.tflite` file as objects; tests/exporting/test_export_formats.py",
    ),
    ("serving/http/connection.py", "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol"): (
        "uvicorn",
        "the protocol's methods `connection_made`, `data_received`, `on_message_begin`, `on_headers_complete`, and its"
        " `cycle` and `transport`; tests/serving",
    ),
    (
        "networks/openvino_conversion.py",
        "tensorflow.python.framework.convert_to_constants.convert_variables_to_constants_v2",
    ): (
        "tensorflow",
        "what makes a traced function's variables constants of its graph; tests/networks",
    ),
    ("networks/openvino_engine.py", "sys.modules[_TELEMETRY]"): (
        "openvino",
        "what `import openvino` and `import nncf` do where `openvino_telemetry` cannot be imported",
    ),
    ("cli/parser.py", "_option_string_actions"): (
        "python",
        "how argparse looks an option up: `ArgumentParser._option_string_actions`; tests/cli/test_cli_bad_input.py",
    ),
}
PUBLIC = {
    "_replace",
    "_asdict",
    "_fields",
    "_field_defaults",
    "_make",
    "_exit",
}  # documented: of named tuples, and of `os`
INNER = re.compile(r"(^|\.)_[a-z]|\.src\b|^tensorflow\.(python|lite)\b|^uvicorn\.protocols\b|\.core\._|^sklearn\..*\._")


def list_own_names(trees):
    """Names that headstart itself defines, which may follow `self.`."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def list_private_parts(tree, own_names):
    """What a file touches that is another package's own: attributes, names given to `getattr`, modules."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name):
                own = isinstance(owner, ast.Name) and owner.id in ("self", "cls") and name in own_names
                if re.match(r"_(?!_)", name) and not own and name not in PUBLIC:
                    yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"), args=[_, ast.Constant(value=name), *_]
            ):
                if re.match(r"_(?!_)", name):
                    yield name
            case ast.ImportFrom(module=str(module), names=aliases) if not module.startswith(
                ("headstart", "__future__")
            ):
                yield from (full for alias in aliases if INNER.search(full := f"{module}.{alias.name}"))
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases if INNER.search(alias.name))
            case ast.Subscript(value=ast.Attribute(value=ast.Name(id="sys"), attr="modules"), ctx=ast.Store()):
                yield ast.unparse(node)


def test_every_private_part_is_listed_and_every_listed_one_is_touched():
    trees = {
        path.relative_to(SRC).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SRC.rglob("*.py")
    }
    own_names = list_own_names(trees.values())
    touched = {(file, part) for file, tree in trees.items() for part in list_private_parts(tree, own_names)}
    assert touched == PLACES.keys()


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("layer._inbound_nodes", "_inbound_nodes"),
        ("self._made_by_keras()", "_made_by_keras"),
        ("getattr(layer, '_inbound_nodes')", "_inbound_nodes"),
        ("from keras.src import backend", "keras.src.backend"),
        ("from sklearn.utils._mask import x", "sklearn.utils._mask.x"),
        ("import numpy._core", "numpy._core"),
        ("import onnx.helper; onnx.helper._x", "_x"),
        ("sys.modules['PIL'] = None", "sys.modules['PIL']"),
    ],
)
def test_a_new_place_is_seen(code, part):
    assert list(list_private_parts(ast.parse(code), {"_ours"})) == [part]


def test_own_and_documented_names_are_no_private_parts():
    code = "self._ours; row._replace(a=1); __file__; layer.__class__; from headstart.core import _x"
    assert list(list_private_parts(ast.parse(code), {"_ours"})) == []


@pytest.mark.parametrize("package", sorted({package for package, _ in PLACES.values()} - {"python"}))
def test_a_package_whose_private_parts_are_touched_has_an_upper_bound(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    [requirement] = [wanted for text in texts if (wanted := Requirement(text)).name == package]
    places = [f"{file}: {part}: {look}" for (file, part), (name, look) in PLACES.items() if name == package]
    assert any(bound.operator in ("<", "<=", "==", "~=") for bound in requirement.specifier), places
    locked = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)[1]
    assert requirement.specifier.contains(locked), places
    assert requirement.specifier.contains(version(package)), places
