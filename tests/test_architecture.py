"""The rules that the layout stands on, read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "models", "pipeline", "bench")
"""Each may import those before it; but `genre bench` must start what is in `bench`."""
BENCH_COMMAND = ROOT / "pipeline" / "commands" / "bench.py"
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, with `importlib.import_module("...")` too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression that is a name; "" of any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 30
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)
    assert "tensorflow" in set(imports(ROOT / "components" / "mel.py"))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_dependencies_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    if path == BENCH_COMMAND:
        above = ()
    wrong = [name for name in imports(path) if name.split(".")[0] in above]
    assert wrong == [], f"{package} must know nothing of {', '.join(above)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_are_absolute(path: Path) -> None:
    """`pipeline.planning.source_digest` follows absolute imports alone."""
    assert [name for name in imports(path) if name.startswith(".")] == []


def test_modules_that_are_imported_by_name_are_known_to_the_digest() -> None:
    """An `import_module` hides an import from `source_digest`: only the registry may, whose kinds are named to it.

    No node runs `bench`.
    """
    hidden = [
        name_of(path)
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] != "bench"
        and any(isinstance(n, ast.Call) and dotted(n.func).endswith("import_module") for n in ast.walk(tree_of(path)))
    ]
    assert hidden == ["models/registry.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_do_nothing_on_import(package: str) -> None:
    """`pipeline.planning.source_digest` does not look into them, and no import may cost more than it says."""
    for path in (ROOT / package).rglob("__init__.py"):
        body = tree_of(path).body
        assert len(body) <= 1, name_of(path)
        assert all(isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) for item in body), name_of(path)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name != "bench"], ids=name_of)
def test_tfx_is_imported_without_the_cloud(path: Path) -> None:
    """`tfx.v1` brings the client of Google's AI platform along: a third of the time that all imports of a run take.

    What `bench` measures against is as TFX's templates have it.
    """
    taken = [name for name in imports(path) if f"{name}.".startswith(("tfx.v1.", "tfx.extensions."))]
    names = [
        alias.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module == "tfx"
        for alias in node.names
    ]
    assert taken == []
    assert not {"v1", "extensions"} & set(names)


def test_no_file_is_called_after_nothing() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert [name_of(path) for path in SOURCES if path.name in vague] == []


def test_kubeflow_is_no_package() -> None:
    """A package of that name on the path would hide the PyPI `kubeflow` SDK."""
    assert list((ROOT / "kubeflow").rglob("__init__.py")) == []
    assert not (ROOT / "tests" / "kubeflow" / "__init__.py").exists()


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_no_exception_is_swallowed_whole(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = {dotted(kind) for kind in caught} & {"Exception", "BaseException"}
            silent = all(isinstance(item, ast.Pass | ast.Continue) for item in node.body)
            assert not (broad and silent), f"{broad} passed over in line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_nobody_edits_the_import_path(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            assert not dotted(node.func).startswith("sys.path."), f"line {node.lineno}"
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
        targets = [node.target] if isinstance(node, ast.AugAssign) else targets
        for target in targets:
            inner = target.value if isinstance(target, ast.Subscript) else target
            assert dotted(inner) != "sys.path", f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_importing_a_file_changes_no_environment(path: Path) -> None:
    for node in tree_of(path).body:
        for part in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
            is_item = isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)
            assert not (is_item and dotted(part.value) == "os.environ"), f"line {part.lineno}"
            calls = dotted(part.func) if isinstance(part, ast.Call) else ""
            assert calls not in ("os.environ.setdefault", "os.environ.update", "os.putenv"), f"line {part.lineno}"
