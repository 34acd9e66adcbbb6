"""YAML as people mean it, and YAML that is meant to do harm: refused before it costs memory or time."""

from pathlib import Path

import pytest
from yaml import safe_load

from components.base.errors import UserError
from pipeline.config.yaml_text import parse, read_mapping, with_values


def test_keys_are_the_texts_that_were_written() -> None:
    names = [
        "no",
        "on",
        "1e3",
        "1_000",
        "12:30",
        "~",
        "2024-01-01",
        "0x1F",
        "true",
        "null",
        "007",
        "1.50",
        "Drum & Bass",
    ]
    text = "\n".join(f"{name}: {number}" for number, name in enumerate(names))
    assert parse(text) == {name: number for number, name in enumerate(names)}
    assert len(safe_load(text)) < len(names), "two keys are one in YAML 1.1"
    assert parse("{no: 1, 'no ': 2, \"1e3\": 3}") == {"no": 1, "no ": 2, "1e3": 3}


def test_values_are_those_of_yaml_but_for_dates_and_exponents() -> None:
    text = "[1, 1.5, .inf, true, no, ~, text, '5', [a], {a: b}, &x {y: 1}, *x, {<<: *x, z: 2}, !!str 5]"
    assert parse(text) == safe_load(text)
    assert parse("[2024-01-01, 2024-13-45, 1e-3]") == ["2024-01-01", "2024-13-45", 0.001]


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "line 1, column 23: more than 20 levels"),
        ("{a: " * 5000 + "}" * 5000, "more than 20 levels"),
        ("- " * 5000, "more than 20 levels"),
        ("? " * 5000, "more than 20 levels"),
        ("\n".join(f"key-{number}: 1" for number in range(3000)), "more than 5000 keys and values"),
        (_BOMB, "line 4, column 24: more than 5000 keys and values"),
        (
            _BOMB.replace("a: &a [x, x, x, x, x, x, x, x, x]", "a: &a {x: 1}")
            .replace("[*", "{<<: [*")
            .replace("]", "]}"),
            "more than 5000 keys and values",
        ),
        ("a: &a [*a]", "an alias refers to what it is in"),
        ("a: &a {<<: *a}", "an alias refers to what it is in"),
        *(
            (f"a: {number}", "a number of more than 64 bits")
            for number in (
                "9" * 5000,
                "-" + "9" * 5000,
                "0x" + "f" * 5000,
                "0" + "7" * 5000,
                "1" + ":59" * 3000,
                str(2**63),
            )
        ),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key a appears twice"),
        ("[a]: 1", "line 1, column 1: a key is a list or a mapping"),
        ("a: !!int abc", "settings have no tags"),
        ("a: !!binary x", "settings have no tags"),
        ("a: !mine x", "settings have no tags"),
        ("a:\n\tb: 1", "line 2, column 1: "),
        ("a: \0", "special characters are not allowed"),
        ("a: 1\n---\nb: 2", "but found another document"),
    ],
    ids=str.split(
        "list mapping dashes questions keys bomb merges self merged-self nines negative hex octal sixties bits "
        "twice list-key int binary own-tag tab null documents"
    ),
)
def test_what_no_settings_look_like(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(text)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"# " + b"x" * (1 << 20), "settings have at most 256 KiB"), (bytes(range(256)), "not readable as YAML")],
    ids=["large", "binary"],
)
def test_files_that_hold_no_settings(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match="not readable as YAML") as refusal:
        read_mapping(file)
    assert words in str(refusal.value)


CHOSEN = {"kind": "yamnet", "options": {"weights": "no", "C": [0.1, 1.0]}}
BEFORE = """# ours
name: songs  # of the archive
model:
  # as in the talk
  kind: mel_cnn  # small
  options:
    filters: [8, 16]
    dropout: 0.1  # less
  # windows
  window_seconds: 2.5
train: {epochs: 3}
"""
AFTER = """# ours
name: songs  # of the archive
model:
  # as in the talk
  kind: yamnet  # small
  options:
    {"weights": "no", "C": [0.1, 1.0]}  # less
  # windows
  window_seconds: 2.5
train: {epochs: 3}
"""


def test_a_section_gets_other_values_and_keeps_its_comments() -> None:
    assert with_values(BEFORE, "model", CHOSEN) == AFTER
    assert with_values(AFTER, "model", CHOSEN) == AFTER
    text = "model:\n  kind: knn  # near\ntrain: {epochs: 3}\n"
    assert with_values(text, "model", {"kind": "svm", "options": {}}) == text.replace("knn", "svm").replace(
        "near\n", "near\n  options: {}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "name: songs",
        "name: songs\nmodel:\ntrain: {epochs: 3}\n",
        "model: {}\n",
        "model: {kind: knn, window_seconds: 2.5}  # short\nname: songs\n",
        "model:\n    window_seconds: 2.5\nname: songs",
        "model:\r\n  kind: knn\r\nname: Größe\r\n",
    ],
)
def test_however_it_is_written(text: str) -> None:
    before = parse(text) or {}
    changed = parse(with_values(text, "model", CHOSEN))
    assert changed == {**before, "model": {**(before.get("model") or {}), **CHOSEN}}
    assert all(comment in with_values(text, "model", CHOSEN) for comment in ("# nothing", "# short") if comment in text)


@pytest.mark.parametrize(
    "text",
    [
        "{name: songs}",
        "x: &x {kind: knn}\nmodel: *x\ny: *x\n",
        "name: songs\n...\n",
        "model:\n  kind: >\n    knn\n  options: {C: [1.0]}\n",
    ],
)
def test_what_cannot_be_changed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="model"):
        with_values(text, "model", CHOSEN)
