"""Reads settings from YAML: strictly, as their author wrote them, and in bounded time whatever the text is."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from components.base.errors import UserError

MAX_DEPTH = 20
"""Most sections and lists inside each other; the settings need 6."""
_MAX_KIB = 256
_MAX_VALUES = 5_000
"""Most keys and values, those that an alias repeats included."""
_MAX_INTEGER = 2**63
"""ML Metadata keeps no larger one."""
_TEXT = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """YAML as people mean it.

    1e-3 is a number, a date is text, and a key is the text that was written: genres are called no, 1e3 and 12:30. A key
    that appears twice is a mistake.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's way)
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._sizes: dict[int, int] = {}
        """Number of keys and values in a node, by its id, once it is complete."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Composes a node, unless the whole became too deep or too large for settings."""
        event = self.peek_event()
        mark, alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        if getattr(event, "tag", None) not in (None, "!", _TEXT):
            raise ConstructorError(problem=f"settings have no tags, such as {event.tag}", problem_mark=mark)
        before = self._values
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConstructorError(problem=f"more than {MAX_DEPTH} levels inside each other", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise ConstructorError(problem="an alias refers to what it is in", problem_mark=mark)
        self._values += self._sizes[id(node)] if alias else 1
        if self._values > _MAX_VALUES:
            raise ConstructorError(problem=f"more than {_MAX_VALUES} keys and values", problem_mark=mark)
        self._sizes.setdefault(id(node), self._values - before)
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns a mapping whose keys are the texts in the file."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise ConstructorError(problem="a key is a list or a mapping", problem_mark=key.start_mark)
            if key.value in seen:
                raise ConstructorError(problem=f"the key {key.value} appears twice", problem_mark=key.start_mark)
            seen.add(key.value)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """Returns an integer of at most 64 bits."""
        if len(node.value) > 100 or abs(value := super().construct_yaml_int(node)) >= _MAX_INTEGER:
            raise ConstructorError(problem="a number of more than 64 bits", problem_mark=node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str) -> Any:
    """Returns the value of a YAML text: texts, numbers, booleans, None, lists and mappings with texts as keys.

    Raises:
      ValueError: it is no YAML, or no settings could be so deep or so large.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(where + ", ".join(filter(None, [error.context, error.problem]))) from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """Returns the settings in a YAML file; none if the file is empty, as /dev/null is.

    Raises:
      UserError: the file cannot be read, is none of settings, or is too large.
    """
    try:
        if not path.is_file() and path.exists() and str(path) != os.devnull:
            raise UserError(f"{path}: not readable as YAML: it is no regular file")
        with path.open("rb") as file:
            content = file.read((_MAX_KIB << 10) + 1)
        if len(content) > _MAX_KIB << 10:
            raise UserError(f"{path}: not readable as YAML: settings have at most {_MAX_KIB} KiB")
        values = parse(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected `section: ...` lines, found a {type(values).__name__}")
    return values


def with_values(text: str, section: str, values: Mapping[str, Any]) -> str:
    """Returns a YAML text in which keys of a section have other values. All else stays as it is, comments included.

    Args:
      text: of a mapping.
      section: name of the section, which is added at the end if it is not there.
      values: by key.

    Raises:
      ValueError: the section is written in a way that is not supported, such as with an alias.
    """
    expected = parse(text) or {}
    expected[section] = {**(expected.get(section) or {}), **values}
    written = {key: _written(value) for key, value in values.items()}
    found = _values_of(yaml.compose(text, _Loader)).get(section)
    if found is None or found.start_mark.index == found.end_mark.index:
        whole = "".join(f"  {key}: {value}\n" for key, value in written.items())
        heading = "" if found else f"{section}:\n"
        place = found.end_mark.index if found else len(text)
        before = text[:place]
        changed = before + ("" if before.endswith("\n") or not before else "\n") + heading + whole + text[place:]
    else:
        there = _values_of(found)
        edits = [(there[key].start_mark.index, _end(there[key]), written[key]) for key in written if key in there]
        new = [f"{key}: {value}" for key, value in written.items() if key not in there]
        if isinstance(found, CollectionNode) and found.flow_style:
            place, joined = found.start_mark.index + 1, "".join(f"{line}, " for line in new)
        else:  # behind the last line, with its comment
            last = text.find("\n", _end(found))
            place = last if last >= 0 else len(text)
            joined = "".join(f"\n{' ' * found.start_mark.column}{line}" for line in new)
        edits.append((place, place, joined))
        changed = text
        for start, stop, value in sorted(edits, reverse=True):
            changed = changed[:start] + value + changed[stop:]
    try:
        same = parse(changed) == expected
    except ValueError:
        same = False
    if not same:
        raise ValueError(f"the section {section} is written in a way that cannot be changed by a program")
    return changed


def _written(value: Any) -> str:
    """Returns a value on one line: a word as it is, all else as JSON, which is YAML."""
    return value if isinstance(value, str) and parse(value) == value else json.dumps(value, ensure_ascii=False)


def _values_of(node: Node | None) -> dict[str, Node]:
    """Returns the values of a mapping by key; none of anything else."""
    return {key.value: value for key, value in node.value} if isinstance(node, MappingNode) else {}


def _end(node: Node) -> int:
    """Returns where a value ends; the mark of a block lies behind the comments that follow it."""
    if not isinstance(node, CollectionNode) or node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
