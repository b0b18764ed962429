"""Any file, variable or --set: settings, or one ConfigError; in bounded time and memory."""

import contextlib
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anoean_stream.configdocs import default_yaml, each_field
from anoean_stream.configfile import InvalidSettingsError, load
from anoean_stream.configyaml import MAX_BYTES
from tests.support.fuzzing import fuzz
from tests.support.hostile import Edit, edited, edits

_KEYS = [f"{section}.{key}" for section, key, _ in each_field()]

_values = st.sampled_from(
    (
        "1", "-1", "0", "1e999", "9" * 5000, ".nan", "null", "~", "''", "x", "[]", "{}", "[64, 32]",
        "[" * 500, "[" * 500 + "]" * 500, "{a: " * 30, "&a [*a]", "*a", "!!python/object:os.system x",
        "!!binary AAAA", "!!null x", '"\\0"', '"\\ud800"', '"\\UFFFFFFFF"', "|\n  x", "a: b: c", "<<: 1",
        "? x", "'", '"', "@", "`", "%", "\t", "\x00", "\x1b", "\udcff", "\ufeff", "1_0", "0x10", "1:30",
        "../../etc/passwd", "http://[", "{1: {2: {3: 4}}}", "[{[1]: 2}]", '{"a": {"b": 1}}', "x" * 2000,
    )
)  # fmt: skip
_texts = _values | st.text(max_size=20)
_keys = st.sampled_from(
    (*_KEYS, "consumer.options.x", "web", "x.y", "", ".", "web.port.x")
) | st.text(max_size=10)


def load_or_refuse(path: Path | None, overrides: tuple[str, ...] = ()) -> str:
    """Return what is said; any other exception is a failure."""
    try:
        load(path, overrides)
    except InvalidSettingsError as error:
        said = str(error)
    else:
        said = ""
    assert len(said) < 100_000
    return said


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "config.yaml"


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    with mock.patch.dict(os.environ, variables):
        yield


@fuzz(30)
@given(todo=edits)
def test_the_whole_file_with_bytes_changed(file: Path, todo: list[Edit]) -> None:
    file.write_bytes(edited(default_yaml().encode(), todo))

    load_or_refuse(file)


@fuzz(150)
@given(lines=st.lists(st.tuples(_keys, _texts), max_size=4), flow=st.booleans())
def test_any_values_in_a_file(file: Path, lines: list[tuple[str, str]], flow: bool) -> None:  # noqa: FBT001  # hypothesis names it
    parts = []
    for key, value in lines:
        section, _, name = key.partition(".")
        parts.append(
            f"{section}: {{{name}: {value}}}" if flow else f"{section}:\n  {name}: {value}"
        )
    file.write_bytes("\n".join(parts).encode(errors="surrogatepass"))

    load_or_refuse(file)


@fuzz(100)
@given(key=_keys, value=_texts | st.recursive(st.none(), st.lists).map(json.dumps))
def test_any_variable(file: Path, key: str, value: str) -> None:
    file.write_text("")
    name = "ANOEAN__" + key.replace(".", "__").upper()
    # No system has variables with "=" in the name, a zero byte, or half a character.
    try:
        os.fsencode(name + value)
    except UnicodeEncodeError:
        assume(condition=False)
    assume("=" not in name and "\0" not in name + value)
    with environment({name: value}):
        load_or_refuse(file)


@fuzz(100)
@given(key=_keys, value=_texts)
def test_any_override(file: Path, key: str, value: str) -> None:
    file.write_text("")

    load_or_refuse(file, (f"{key}={value}",))


def laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(lines)


ATTACKS = {
    "laughs": (laughs(), "write the value out here"),
    "itself": ("web: &a\n  host: *a\n", "write the value out here"),
    "merged": ("a: &a {x: 1}\nweb:\n  <<: *a\n", "write the value out here"),
    "brackets": ("web: " + "[" * 60_000, "deeper than 8"),
    "braces": ("{a: " * 30_000, "deeper than 8"),
    "levels": ("".join(f"{' ' * n}a:\n" for n in range(400)), "deeper than 8"),
    "a list of thousands": (f"web: {{host: [{'a,' * 60_000}]}}", "more than 10000"),
    "names": ("\n".join(f"k{n}: 1" for n in range(4900)), "100 settings cannot be used"),
    "names of a section": (
        "web:\n" + "\n".join(f"  k{n}: 1" for n in range(4900)),
        "100 settings cannot be used",
    ),
    "the same name": ("\n".join(["web: {}"] * 4000), "100 settings cannot be used"),
    "digits": ("web: {port: " + "9" * 120_000 + "}", "web.port"),
    "digits of a version": ("%YAML " + "9" * 100_000 + ".1\n---\nweb: {}", "is not YAML"),
    "spaces": (" " * MAX_BYTES, ""),
    "too large": (" " * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    "a tag": ("web: {host: !!python/object/apply:os.system [id]}", "web.host"),
    "twice": ("web: {port: 1, port: 2}", "set twice"),
    "half a character": ('web: {host: "\\ud800"}', "is no text"),
    "a zero byte": ('web: {host: "\\0"}', "is no text"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_bounded_time(file: Path, name: str) -> None:
    text, says = ATTACKS[name]
    file.write_text(text)
    began = time.process_time()

    assert says in load_or_refuse(file)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["laughs", "levels", "a list of thousands", "digits"])
def test_an_attack_is_refused_in_bounded_memory(file: Path, name: str) -> None:
    file.write_text(ATTACKS[name][0])
    tracemalloc.start()
    try:
        load_or_refuse(file)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 50 * 2**20


def test_a_file_without_end_is_refused() -> None:
    assert f"more than {MAX_BYTES} bytes" in load_or_refuse(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ANOEAN__TRAINING__ENCODER_HIDDEN", "[" * 50_000),
        ("ANOEAN__CONSUMER", '{"options":' + '{"a":' * 600 + "1" + "}" * 601),
        ("ANOEAN__" + "__".join(["A"] * 5000), "x"),
        ("ANOEAN__WEB__PORT", "9" * 100_000),
        ("ANOEAN__BROKER__CLIENT_ID", "\udcff"),
    ],
)
def test_a_variable_that_hurts_is_named(file: Path, variable: str, value: str) -> None:
    file.write_text("")
    with environment({variable: value}):
        assert load_or_refuse(file).startswith(f"env {variable[:20]}")
