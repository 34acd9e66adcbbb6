"""Digests of source code, so that TFX's cache notices an edit.

TFX keys its cache on a node's parameters and inputs, not on the code that it imports. A node that computes something
therefore has, as a parameter, the digest of its entry modules and of everything of ours that these import, directly or
not. Nodes that copy, or that run in every run anyway, have none.

What only people read does not count: comments, layout, docstrings, descriptions of settings and the texts of errors. An
error ends its node, so that no output, and nothing in a cache, has its text.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIRST_PARTY = ("components", "models")
THIRD_PARTY = ("keras", "librosa", "numpy", "scipy", "tensorflow", "tensorflow-transform")
"""Libraries whose version may change what a node computes."""
ENTRY_MODULES = {
    "ImportExampleGen": ("components.nodes.example_gen",),
    "Transform": ("components.nodes.transform", "components.audio.preprocessing"),
    "Tuner": ("components.nodes.trainer", "models.fitting.tuning"),
    "Trainer": ("components.nodes.trainer", "models.fitting.training"),
    "DriftDetector": ("components.nodes.drift_detector",),
    "GateEvaluator": ("components.nodes.evaluator",),
    "ReferenceProfile": ("components.nodes.reference_profile",),
    "EndpointPusher": ("components.nodes.endpoint_pusher",),
    "Reporter": ("components.nodes.reporter",),
}
"""By node: the modules that its execution starts with. Tuner and Trainer also load the file of the model's kind."""
_ONLY_WORDS = frozenset({"components.base.errors"})
"""Modules that can change nothing but the text of an error."""


def _file(module: str) -> Path | None:
    """Returns the source file of a module; None where `module` is a name inside one."""
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)  # of the whole name, it would import every module on the way
    if spec is None or spec.origin is None:
        return None
    inside = Path(spec.origin).parent.joinpath(*names)
    return next((path for path in (inside / "__init__.py", inside.with_suffix(".py")) if path.is_file()), None)


@dataclass(frozen=True)
class _Parsed:
    """A source file, parsed."""

    imports: frozenset[str]
    """Modules that it imports, and what may be modules: names that it takes from one."""
    code: str
    """Its syntax tree without what only people read."""


def _imports(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_docstring(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


class _WithoutTexts(ast.NodeTransformer):
    """Empties every text in a piece of code."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        del node
        return ast.Constant("")


class _WithoutWords(ast.NodeTransformer):
    """Leaves out docstrings, descriptions of settings, and the texts of errors that are raised or made."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_docstring(item)]
        return super().generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return _WithoutTexts().generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
            return _WithoutTexts().generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node = ast.Call(node.func, node.args, [each for each in node.keywords if each.arg != "description"])
        return self.generic_visit(node)


@functools.cache  # many nodes import the same modules, and parsing is slow
def _parsed(source: bytes) -> _Parsed:
    tree = ast.parse(source)
    imports = frozenset(module for node in ast.walk(tree) for module in _imports(node))
    return _Parsed(imports, ast.dump(_WithoutWords().visit(tree)))


def first_party_closure(modules: Iterable[str]) -> dict[str, Path]:
    """Finds our modules that `modules` import, directly or not, themselves included."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module.split(".")[0] not in FIRST_PARTY:
            continue
        path = _file(module)
        if path is None:
            continue
        found[module] = path
        waiting.extend(_parsed(path.read_bytes()).imports)
    return found


def source_digest(*modules: str) -> str:
    """Computes the digest of `modules` and of all of ours that they import, and of the libraries that compute.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for module, path in sorted(first_party_closure(modules).items()):
        if module in _ONLY_WORDS:
            continue
        digest.update(f"{module}\n{_parsed(path.read_bytes()).code}\n".encode())
    for package in THIRD_PARTY:
        digest.update(f"{package}=={importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]


def node_digest(node: str, *more: str) -> str:
    """Computes the digest of a node of `ENTRY_MODULES`, and of `more` modules that it loads by name."""
    return source_digest(*ENTRY_MODULES[node], *more)


def package_digest() -> str:
    """Computes the digest of all code that the steps of a compiled pipeline may run, to compare two installations.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for package in (*FIRST_PARTY, "pipeline"):
        start = _file(package)
        if start is None:
            raise ImportError(f"package {package} has no source files")
        for path in sorted(start.parent.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(start.parent)}\n{_parsed(path.read_bytes()).code}\n".encode())
    return digest.hexdigest()[:16]
