"""The docs name what exists: every command, setting, check and error has its place, and links lead somewhere."""

import argparse
import ast
import inspect
import pydoc
import re
import runpy
import tomllib
from pathlib import Path

import pytest

import headstart
from headstart.cli.parser import Parser
from headstart.core import errors, job, recipe, registry, settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CHECKS = {"data_checks": "audit.md", "model_checks": "training.md"}
HOUSE_PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *HOUSE_PAGES, *DOCS.rglob("*.md")])


def name_page(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def headings(page: Path) -> str:
    return "\n".join(line for line in page.read_text().splitlines() if line.startswith("#"))


@pytest.mark.parametrize("command", registry.list_plugins("commands"))
def test_every_command_has_a_page(command):
    assert (DOCS / f"{command}.md").is_file()
    assert f"headstart {command}" in (DOCS / f"{command}.md").read_text()


@pytest.mark.parametrize("option", [o.name for o in job.list_options()])
def test_every_setting_is_on_the_page_of_fit(option):
    assert f"`--{option.replace('_', '-')}`" in (DOCS / "fit.md").read_text()


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda s: s.name)
def test_every_variable_is_documented(setting):
    assert f"`{setting.name}`" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize(
    ("kind", "name", "page"),
    [(kind, name, page) for kind, page in CHECKS.items() for name in registry.list_plugins(kind)],
)
def test_every_check_has_a_heading(kind, name, page):
    check = registry.load_plugin(kind, name)
    assert re.search(rf"^#+ .*{check.code}\b", headings(DOCS / page), re.M)


@pytest.mark.parametrize("name", registry.list_plugins("heads"))
def test_every_head_is_in_the_reference_of_adapt(name):
    assert f"`{name}`" in (DOCS / "reference" / "adapt.md").read_text()


@pytest.mark.parametrize("field", recipe.list_recipe_options(), ids=lambda f: f.name)
def test_every_field_of_a_recipe_is_in_the_table_with_its_default_and_help(field):
    default = _as_written(field.default)
    choices = ", ".join(f"`{choice}`" for choice in field.metadata["choices"])
    meaning = f"{field.metadata['help']}: {choices}" if choices else field.metadata["help"]
    row = f"- `{field.name}`{f' (`{default}`)' if default else ''}: {meaning}"
    assert row in (DOCS / "recipe.md").read_text().splitlines()


def _as_written(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value == () else f"{value:g}" if isinstance(value, float) else str(value)


def test_every_strategy_is_on_the_page_of_adapt():
    assert all(f"| `{name}`" in (DOCS / "adapt.md").read_text() for name in job.STRATEGIES)


def test_every_error_has_a_heading():
    found = {name for name, kind in vars(errors).items() if _is_error(kind)}
    assert all(re.search(rf"^#+ .*{name}\b", headings(DOCS / "errors.md"), re.M) for name in found)


def anchors(page):
    """Of its headings, as hosts of repositories make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*?)(?:#([^)]*))?\)", page.read_text()):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_pages_that_the_code_names_exist():
    names = {n for path in (ROOT / "src").rglob("*.py") for n in re.findall(r"docs/[\w/]+\.md", path.read_text())}
    assert len(names) > 3
    assert [name for name in sorted(names) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_names_in_python_examples_exist(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        tree, names = ast.parse(block), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headstart"):
                names |= {alias.name: pydoc.locate(f"{node.module}.{alias.name}") for alias in node.names}
            elif isinstance(node, ast.Import) and any(alias.name == "headstart" for alias in node.names):
                names["headstart"] = headstart
        assert None not in names.values(), names
        uses = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
        modules = {name: value for name, value in names.items() if inspect.ismodule(value)}
        assert [
            ast.unparse(n) for n in uses if n.value.id in modules and not hasattr(modules[n.value.id], n.attr)
        ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_commands_in_examples_exist(page):
    known = set(registry.list_plugins("commands")) | {"--help", "--version"}
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(), re.S):
        for word in re.findall(r"^\$? ?headstart (\S+)", block, re.M):
            assert word in known, word


def options(command):
    """Options that a command takes, sub-commands' included."""
    parser = Parser(prog=command, description="")
    registry.load_plugin("commands", command).configure(parser)
    waiting, found = [parser], set()
    while waiting:
        for action in waiting.pop()._actions:
            found |= set(action.option_strings)
            waiting += list(action.choices.values()) if isinstance(action, argparse._SubParsersAction) else []
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_options_in_examples_exist(page):
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\$? ?(?:\S+=\S+ )*(?:\S*/)?headstart ([a-z]+) ([^|>#;&]*)", line)
            if found and found[1] in registry.list_plugins("commands"):
                given = set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", found[2]))
                assert given <= options(found[1]), line


def test_public_names_can_be_loaded():
    for name in headstart.__all__:
        assert getattr(headstart, name) is not None
    assert set(headstart.__all__) <= set(dir(headstart))
    with pytest.raises(AttributeError, match="no_such"):
        headstart.no_such  # noqa: B018


def test_the_api_reference_is_what_its_script_writes():
    page = (DOCS / "api.md").read_text()
    assert page == runpy.run_path(str(DOCS / "write_api.py"))["write_page"](), "make docs writes it anew"
    names = set(headstart.__all__) - {"__version__"}
    assert {name for name in names if f"### {name}\n" in page} == names - {"HeadstartError"}
    assert all(f"- `{name}` ({kind.exit_code})" in page for name, kind in vars(errors).items() if _is_error(kind))


def _is_error(kind):
    return isinstance(kind, type) and issubclass(kind, errors.HeadstartError)


def test_the_readme_counts_the_networks_that_there_are():
    count = {
        source: len(registry.load_plugin("backbones", source).presets()) for source in ("bundled", "keras_applications")
    }
    of_hub = len(registry.load_plugin("backbones", "keras_hub").shipped_presets())
    told = f"{count['bundled']} bundled, {count['keras_applications']} of Keras and {of_hub} of KerasHub by name"
    assert told in (ROOT / "README.md").read_text()


def sentences(page):
    text = re.sub(r"```.*?```|<table>|</table>", "", page.read_text(), flags=re.S)
    prose = [line.strip() for line in text.splitlines() if not line.startswith(("|", "#", "!["))]
    paragraphs = re.split(r"\n\s*\n|\n(?=[-*] |\d+\. )", "\n".join(prose))
    return [sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.:;?!])\s+", paragraph)]


@pytest.mark.parametrize("page", HOUSE_PAGES, ids=name_page)
def test_files_and_targets_named_for_contributors_exist(page):
    text, makefile = page.read_text(), (ROOT / "Makefile").read_text()
    paths = re.findall(r"(?<=[`\s])((?:src|tests|docs|\.ci)/[\w./]*\w)", text)
    targets = [word for line in re.findall(r"(?:^|`)make ([a-z -]+?)(?=`|  |$)", text, re.M) for word in line.split()]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    assert "@" not in text  # no address that nobody reads


def test_marks_of_tests_are_in_the_table_for_contributors():
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert table == [marker.partition(":")[0] for marker in markers]


@pytest.mark.parametrize("page", [*HOUSE_PAGES, *sorted(DOCS.rglob("*.md"))], ids=name_page)
def test_sentences_are_short(page):
    assert [sentence for sentence in sentences(page) if len(sentence.split()) > 40] == []


def test_sentences_of_the_readme_are_shorter():
    assert [sentence for sentence in sentences(ROOT / "README.md") if len(sentence.split()) > 25] == []


def test_the_docs_stay_short():
    words = [word for page in DOCS.rglob("*.md") for word in page.read_text().split() if re.search(r"\w", word)]
    assert len(words) <= 36_000
