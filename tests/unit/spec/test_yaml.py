"""The reader takes plain YAML of bounded size and names everything else, quickly."""

from __future__ import annotations

import codecs
import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.load import parse_spec
from orchestrator.spec.yaml import MAX_BYTES, plain_scalar, read_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1e-4", 1e-4),
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("-7", -7),
        ("0", 0),
        ("+3", 3),
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        *[(text, text) for text in ("yes", "no", "on", "off", "017", "0o17", "0x10", "1_000", "1e999")],
        *[
            (text, text)
            for text in (".inf", ".nan", "12:30:45", "2024-01-01", "1.2.3", "e4", "-", "1" * 40, "=", "<<")
        ],
    ],
)
def test_plain_scalars_mean_what_both_versions_of_yaml_say(text: str, value: object) -> None:
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("data", "what", "place"),
    [
        (b"a: 1\nb: 2\na: 3\n", "twice; the first is on line 1", (3, 1)),
        (b"a: &x 1\n", "anchor &x", (1, 4)),
        (b"a: *x\n", "alias *x", (1, 4)),
        (b"a: !!python/object:os.system ls\n", "tag", (1, 4)),
        (b"a: !x {b: 1}\n", "tag !x", (1, 4)),
        (b"[1]: 2\n", "a key must be text", (1, 1)),
        (b"a: 1\n--- \nb: 2\n", "second document", (2, 1)),
        (b"a:\n\tb: 1\n", "a tab in the indentation", (2, 1)),
        (b"a: [1\nb: 2\n", "not YAML", (2, 2)),
        (b"a: 1\nb: \xff\n", "byte 0xff is not UTF-8", (2, 4)),
        (codecs.BOM_UTF8 + "é: \x07".encode(), "U+0007", (1, 4)),
        ("a: 1".encode("utf-16"), "UTF-16", (1, 1)),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32", (1, 34)),
        (b'a: 1\nb: ["{{ text }}\\0"]\n', "a NUL in a text", (2, 5)),
        (b'a: "\\x00"\n', "a NUL in a text", (1, 4)),
        (b'a:\n  "b\\u0000": 1\n', "a NUL in a text", (2, 3)),
        (b"- 1\n" * 5_001, "more than 5000 values", (5_000, 3)),
        (b"# " + b"x" * MAX_BYTES, "larger than 128 KiB", (1, 1)),
        (b"? " * 40, "a key must be text", (1, 3)),
    ],
)
def test_what_is_not_allowed_is_named_at_its_place(data: bytes, what: str, place: tuple[int, int]) -> None:
    fault = read_yaml(data, "spec.yaml").faults[0]
    assert what in fault.what
    assert (fault.line, fault.column) == place


def test_a_utf8_mark_and_windows_line_ends_are_fine() -> None:
    document = read_yaml(codecs.BOM_UTF8 + b"a: 1\r\nb: 2\r\n", "spec.yaml")
    assert (document.value, document.faults) == ({"a": 1, "b": 2}, ())
    assert document.place(("b",)).line == 2


def test_all_faults_that_leave_the_text_readable_are_told() -> None:
    document = read_yaml(b"a: 1\na: 2\nb: &x 3\nc: *x\n", "spec.yaml")
    assert [fault.line for fault in document.faults] == [2, 3, 4]


def test_nesting_inside_a_key_is_capped_too() -> None:
    assert "nested deeper" in read_yaml(b"? " + b"[" * 40, "spec.yaml").faults[-1].what


@pytest.mark.parametrize("text", ["- *a\n" * 500, "".join(f"unknown{number}: 1\n" for number in range(500))])
def test_no_more_than_a_hundred_faults_are_told(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("spec.yaml"))
    assert len(caught.value.faults) == 100


def seconds_to_refuse(text: str) -> float:
    """Time on the processor, so that a busy machine does not matter."""
    started = time.process_time()
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("spec.yaml"))
    assert str(caught.value)
    return time.process_time() - started


def test_a_billion_laughs_are_refused_at_once() -> None:
    assert seconds_to_refuse(LAUGHS) < 0.05


PARTS = [
    "[",
    "{",
    "? ",
    "a: ",
    "- ",
    "&a ",
    "!a ",
    "[[],",
    "a: 1\n",
    "{a: ",
    "sk-",
    "x",
    "http://",
    "# hf_\n",
    "- *a\n",
]


@pytest.mark.parametrize("part", PARTS)
def test_the_most_of_anything_is_refused_soon(part: str) -> None:
    assert seconds_to_refuse(part * (MAX_BYTES // len(part))) < 3


def test_thousands_of_faults_are_refused_soon() -> None:
    assert seconds_to_refuse("".join(f"epohcs{number}: 1\n" for number in range(9000))) < 3


LINES = """\
name: a
base_model: m
dataset:
  source: x
  validation: 0.1
dataset: {source: x}
mapping: m.yaml
mapping:
  messages:
   - {role: user, content: x}
   - {role: assistant, content: y}
training: {epochs: 1e9}
training: {epochs: [1, {a: 2}]}
adapter: {kind: full, r: 2}
compute: &a {machine: cpu}
evaluate: !x {}
axolotl: *a
publish: [{mlflow: {model: m}}]
? a
- 1
name: [
\t
'
""".splitlines()

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.lists(st.sampled_from(LINES), max_size=14).map(lambda lines: "\n".join(lines).encode()),
)


@given(TEXTS)
def test_any_text_is_a_spec_or_has_faults(data: bytes) -> None:
    with contextlib.suppress(SpecError):
        assert parse_spec(data, Path("spec.yaml")).spec.name


@given(st.lists(st.sampled_from(LINES), max_size=14))
def test_every_fault_has_a_line_and_says_something(lines: list[str]) -> None:
    try:
        parse_spec("\n".join(lines).encode(), Path("spec.yaml"))
    except SpecError as error:
        faults = error.faults
    else:
        return
    assert faults
    assert all(fault.what and fault.line and fault.column for fault in faults)
