"""Rules of the source that neither ruff nor the import-linter contracts of pyproject.toml can hold."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "models", "pipeline", "genre", "bench")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LARGEST_FOLDER = 17
"""Modules in a folder of the source; more than that is an attic again."""


def nodes(paths: list[Path], kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node of a kind, with the place where it stands."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression that is a name; "" of any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 100
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


def test_folders_stay_small() -> None:
    folders = {path.parent for path in SOURCES}
    modules = {str(folder.relative_to(ROOT)): len(list(folder.glob("[!_]*.py"))) for folder in folders}
    large = {name for name, count in modules.items() if count > LARGEST_FOLDER}
    assert large == {"pipeline/commands"}  # one file per command


def test_modules_that_are_imported_by_name_are_known_to_the_digest() -> None:
    """An `import_module` hides an import from the digest of the source: only the registry may, whose kinds it is told.

    No node runs `bench`.
    """
    calls = nodes([path for path in SOURCES if "bench" not in path.parts], ast.Call)
    hidden = {place.split(":")[0] for place, call in calls if dotted(call.func).endswith("import_module")}
    assert hidden == {"models/registry.py"}


def test_packages_do_nothing_on_import() -> None:
    """The digest of the source does not look into them, and no import may cost more than it says.

    `genre` is what other programs import: it names its parts there.
    """
    for path in (path for path in SOURCES if path.name == "__init__.py" and path.parent.name != "genre"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
        assert isinstance(body[0].value, ast.Constant), path


def test_tfx_is_imported_without_the_cloud() -> None:
    """`tfx.v1` brings the client of Google's AI platform along: a third of the time that all imports of a run take.

    What `bench` measures against is as TFX's templates have it.
    """
    ours = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "bench"]
    taken = [
        place
        for place, node in nodes(ours, ast.ImportFrom)
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        if f"{name}.".startswith(("tfx.v1.", "tfx.extensions."))
    ]
    assert taken == []


def test_no_file_is_called_after_nothing() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert [str(path) for path in SOURCES if path.name in vague] == []


def test_kubeflow_is_no_package() -> None:
    """A package of that name on the path would hide the PyPI `kubeflow` SDK."""
    assert list((ROOT / "kubeflow").rglob("__init__.py")) == []
    assert not (ROOT / "tests" / "kubeflow" / "__init__.py").exists()


def test_no_exception_is_swallowed_whole() -> None:
    for place, handler in nodes(SOURCES + TESTS, ast.ExceptHandler):
        assert handler.type is not None, f"bare except: {place}"
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        broad = {dotted(kind) for kind in caught} & {"Exception", "BaseException"}
        silent = all(isinstance(item, ast.Pass | ast.Continue) for item in handler.body)
        assert not (broad and silent), f"{broad} passed over: {place}"


def test_what_the_system_says_is_told_by_one_function() -> None:
    """`error.strerror` is None for the errors that libraries make: `components.base.errors.reason` is never empty."""
    asking = {place.split(":")[0] for place, node in nodes(SOURCES, ast.Attribute) if node.attr == "strerror"}
    passed_on = "components/library/song_files.py"
    assert asking <= {"components/base/errors.py", passed_on}


def test_the_map_for_contributors_has_every_folder() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.relative_to(ROOT) for path in SOURCES}
    shown = [str(folder) for folder in folders if folder.parts[0] != "bench"] + ["bench"]
    assert sorted(folder for folder in shown if f"`{folder}" not in text) == []


def test_the_table_of_tests_has_no_test_that_is_gone() -> None:
    table = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    named = [name for row in re.findall(r"^\| (`[^|]*)\|", table, re.M) for name in re.findall(r"`([^` ]*\.py)`", row)]
    assert len(named) > 20 and [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_nobody_edits_the_import_path() -> None:
    for place, call in nodes(SOURCES + TESTS, ast.Call):
        assert not dotted(call.func).startswith("sys.path."), place
    for kind in (ast.Assign, ast.Delete, ast.AugAssign):
        for place, node in nodes(SOURCES + TESTS, kind):
            for target in [node.target] if kind is ast.AugAssign else node.targets:
                inner = target.value if isinstance(target, ast.Subscript) else target
                assert dotted(inner) != "sys.path", place


def test_importing_a_file_changes_no_environment() -> None:
    for path in SOURCES:
        for item in ast.parse(path.read_text()).body:
            for part in ast.walk(item) if not isinstance(item, ast.FunctionDef | ast.ClassDef) else ():
                is_item = isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)
                assert not (is_item and dotted(part.value) == "os.environ"), f"{path}:{part.lineno}"
                calls = dotted(part.func) if isinstance(part, ast.Call) else ""
                assert calls not in ("os.environ.setdefault", "os.environ.update", "os.putenv"), f"{path}:{part.lineno}"
