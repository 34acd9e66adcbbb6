"""Digests of source code, so that TFX's cache notices an edit.

TFX keys its cache on a node's parameters and inputs, not on the code that it imports. Each node therefore carries, as a
parameter, the digest of its entry module and of everything of ours that this imports, directly or not.
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


def _file(module: str) -> Path | None:
    """Source of a module; None where `module` is a name inside one."""
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)  # of the whole name, it would import every module on the way
    if spec is None or spec.origin is None:
        return None
    inside = Path(spec.origin).parent.joinpath(*names)
    return next((path for path in (inside / "__init__.py", inside.with_suffix(".py")) if path.is_file()), None)


@dataclass(frozen=True)
class _Parsed:
    """What there is to know of a source file."""

    imports: frozenset[str]
    """Modules that it imports, and what may be modules: names that it takes from one."""
    code: str
    """What it does: its syntax tree without docstrings, so that words and layout may change freely."""


def _imports(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_docstring(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


@functools.cache  # many nodes import the same modules, and parsing is slow
def _parsed(source: bytes) -> _Parsed:
    tree = ast.parse(source)
    imports: set[str] = set()
    for node in ast.walk(tree):
        imports.update(_imports(node))
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [item for item in body if not _is_docstring(item)]
    return _Parsed(frozenset(imports), ast.dump(tree))


def first_party_closure(modules: Iterable[str]) -> dict[str, Path]:
    """Our modules that `modules` import, directly or not, themselves included."""
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
    """Digest of the code of `modules` and of all of ours that they import, and of the libraries that compute.

    Comments, docstrings and layout do not count.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for module, path in sorted(first_party_closure(modules).items()):
        digest.update(f"{module}\n{_parsed(path.read_bytes()).code}\n".encode())
    for package in THIRD_PARTY:
        digest.update(f"{package}=={importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]
