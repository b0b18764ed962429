"""Settings from file, environment and command line: order, origin, and what is said of mistakes."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.configfile import InvalidSettingsError, load, load_settings
from anoean_stream.settings import Settings


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path | None = None, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InvalidSettingsError) as caught:
        load(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_without_any_source_the_defaults_hold(empty_folder: Path) -> None:
    loaded = load()

    assert loaded.settings == Settings()
    assert loaded.file is None
    assert loaded.source_of("web", "port")[0].label == "default"


def test_file_beats_default_environment_beats_file_and_set_beats_all(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(empty_folder / "a.yaml", "web:\n  port: 1\n")

    assert load_settings(file).web.port == 1

    monkeypatch.setenv("ANOEAN__WEB__PORT", "2")
    assert load_settings(file).web.port == 2
    assert load_settings(file, ["web.port=3"]).web.port == 3
    assert load_settings(file, ["web.port=3", "web.port=4"]).web.port == 4


def test_each_value_knows_its_source(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(empty_folder / "config.yaml", "# first\nweb:\n  port: 1\n  host: h\nmodel:\n  name: m\n")
    monkeypatch.setenv("ANOEAN__WEB__HOST", "other")

    loaded = load(overrides=["model.name=x"])

    assert [source.label for source in loaded.source_of("web", "port")] == ["config.yaml:3"]
    assert [source.label for source in loaded.source_of("web", "host")] == ["env ANOEAN__WEB__HOST"]
    assert [source.label for source in loaded.source_of("model", "name")] == ["--set"]


def test_file_comes_from_argument_then_variable_then_working_directory(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(empty_folder / "config.yaml", "web: {port: 1}")
    named = write(empty_folder / "named.yaml", "web: {port: 2}")
    given_path = write(empty_folder / "given.yaml", "web: {port: 3}")

    assert load_settings().web.port == 1
    monkeypatch.setenv("ANOEAN_CONFIG", str(named))
    assert load_settings().web.port == 2
    assert load_settings(given_path).web.port == 3


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# only comments\n", "---\n", "web:\n", "web:\n  # port: 1\n", "\ufeffweb: {}\n"],
)
def test_empty_file_or_section_means_defaults(empty_folder: Path, text: str) -> None:
    assert load_settings(write(empty_folder / "a.yaml", text)) == Settings()


def test_scalars_keep_the_text_of_the_user(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = "broker: {security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: 007, "
    file = write(empty_folder / "a.yaml", login + "sasl_password: 0123}\nconsumer: {group_id: on}")

    settings = load_settings(file)

    assert settings.broker.sasl_username == "007"
    assert settings.broker.sasl_password is not None
    assert settings.broker.sasl_password.get_secret_value() == "0123"
    assert settings.consumer.group_id == "on"


@pytest.mark.parametrize("text", ["1e-2", "0.01", ".01"])
def test_numbers_are_read_alike_from_every_source(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = write(empty_folder / "a.yaml", f"producer:\n  linger_s: {text}\n")

    assert load_settings(file).producer.linger_s == pytest.approx(0.01)
    assert load_settings(None, [f"producer.linger_s={text}"]).producer.linger_s == pytest.approx(
        0.01
    )
    monkeypatch.setenv("ANOEAN__PRODUCER__LINGER_S", text)
    assert load_settings().producer.linger_s == pytest.approx(0.01)


def test_null_takes_a_value_back(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(empty_folder / "a.yaml", "worker: {id: w1}\nscoring: {false_positive_rate: 0.1}")
    monkeypatch.setenv("ANOEAN__WORKER__ID", "null")

    settings = load_settings(file, ["scoring.false_positive_rate=null"])

    assert settings.worker.id is None
    assert settings.scoring.false_positive_rate is None


def test_lists_can_be_set_everywhere(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(empty_folder / "a.yaml", "training:\n  encoder_hidden: [1, 2]\n")

    assert load_settings(file).training.encoder_hidden == (1, 2)
    assert load_settings(None, ["training.encoder_hidden=[3]"]).training.encoder_hidden == (3,)
    monkeypatch.setenv("ANOEAN__TRAINING__ENCODER_HIDDEN", "[4, 5]")
    assert load_settings(file).training.encoder_hidden == (4, 5)


def test_client_options_of_all_sources_are_merged(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(empty_folder / "a.yaml", "consumer:\n  options: {fetch.min.bytes: 1, a.b: x}\n")
    monkeypatch.setenv("ANOEAN__CONSUMER__OPTIONS", '{"fetch.min.bytes": "2"}')

    loaded = load(file, ["consumer.options.check.crcs=true"])

    assert loaded.settings.consumer.options == {
        "fetch.min.bytes": "2",
        "a.b": "x",
        "check.crcs": "true",
    }
    assert [source.label for source in loaded.source_of("consumer", "options")] == [
        f"{file}:2",
        "env ANOEAN__CONSUMER__OPTIONS",
        "--set",
    ]


def test_empty_variable_counts_as_not_set(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOEAN__WEB__PORT", "")

    assert load_settings().web.port == Settings().web.port


def test_all_mistakes_are_named_at_once_with_their_places(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(empty_folder / "config.yaml", "web:\n  port: 99999\n  prot: 1\nmodle: {}\n")
    monkeypatch.setenv("ANOEAN__LOGGING__LEVEL", "LOUD")

    found = problems_of(overrides=("training.epochs=many",))

    assert sorted(found) == [
        "--set: training.epochs is 'many'; expected a whole number from 1 to 100000",
        "config.yaml:2: web.port is '99999'; expected a whole number from 0 to 65535",
        "config.yaml:3: web.prot is no setting; did you mean web.port?",
        (
            "env ANOEAN__LOGGING__LEVEL: logging.level is 'LOUD'; "
            "expected one of: DEBUG, INFO, WARNING, ERROR"
        ),
    ]


def test_unknown_section_with_keys_suggests_the_nearest(empty_folder: Path) -> None:
    write(empty_folder / "config.yaml", "modle:\n  name: x\n")

    assert problems_of() == ["config.yaml:2: modle is no setting; did you mean the section model?"]


def test_key_without_its_section_is_told_where_it_belongs(empty_folder: Path) -> None:
    write(empty_folder / "config.yaml", "bootstrap_servers: a:1\n")

    assert problems_of() == [
        "config.yaml:1: bootstrap_servers is no setting; did you mean broker.bootstrap_servers?"
    ]


def test_key_of_another_section_is_told_where_it_belongs(empty_folder: Path) -> None:
    assert problems_of(overrides=("consumer.bootstrap_servers=a:1",)) == [
        "--set: consumer.bootstrap_servers is no setting; did you mean broker.bootstrap_servers?"
    ]


def test_variable_of_an_unknown_section_is_an_error(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOEAN__WEBB__PORT", "1")

    (problem,) = problems_of()

    assert problem == "env ANOEAN__WEBB__PORT: webb is no setting; did you mean the section web?"


def test_combination_that_cannot_work_names_every_place(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(empty_folder / "config.yaml", "consumer:\n  session_timeout_s: 9\n")
    monkeypatch.setenv("ANOEAN__CONSUMER__HEARTBEAT_INTERVAL_S", "4")

    (problem,) = problems_of()

    assert problem.startswith("env ANOEAN__CONSUMER__HEARTBEAT_INTERVAL_S: consumer: heartbeat")
    assert "expected at most 3" in problem
    assert "see also config.yaml:2" in problem


def test_duplicate_key_names_both_lines(empty_folder: Path) -> None:
    write(empty_folder / "config.yaml", "web:\n  port: 1\n  host: h\n  port: 2\n")

    assert problems_of() == ["config.yaml:4: web.port is set twice, first in line 2; remove one"]


def test_tab_is_named_as_what_it_is(empty_folder: Path) -> None:
    write(empty_folder / "config.yaml", "web:\n\tport: 1\n")

    assert problems_of() == ["config.yaml:2: a tab cannot indent YAML; replace it with blanks"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- web\n", "expected sections"),
        ("web: [1\n", "is not YAML"),
        ("web: 'x\n", "is not YAML"),
        ("just words\n", "expected sections"),
        ("web: {port: 1}\n---\nweb: {port: 2}\n", "is not YAML"),
        ("? [a, b]\n: 1\n", "a key must be a plain name"),
        ("web: *there\n", "write the value out"),
        ("web:\n  port: \x01\n", "is not YAML"),
    ],
)
def test_file_that_is_no_settings_is_refused_with_a_sentence(
    empty_folder: Path, text: str, says: str
) -> None:
    write(empty_folder / "config.yaml", text)

    (problem,) = problems_of()

    assert says in problem
    assert problem.startswith("config.yaml")


def test_file_that_is_not_there_is_an_error(empty_folder: Path) -> None:
    (problem,) = problems_of(Path("nowhere.yaml"))

    assert "nowhere.yaml: cannot be read: No such file or directory" in problem


def test_folder_and_binary_file_are_errors(empty_folder: Path) -> None:
    (empty_folder / "binary").write_bytes(b"\xff\xfe\x00web")

    assert "Is a directory" in problems_of(empty_folder)[0]
    assert "not UTF-8" in problems_of(empty_folder / "binary")[0]


@pytest.mark.parametrize("override", ["web.port", "port=1", "=1", "web.=1", ".port=1", ""])
def test_override_of_another_form_is_refused(empty_folder: Path, override: str) -> None:
    assert "expected section.key=value" in problems_of(overrides=(override,))[0]


def test_section_with_a_plain_value_is_told_its_keys(empty_folder: Path) -> None:
    (problem,) = problems_of(write(empty_folder / "a.yaml", "model: 5\n"))

    assert problem.endswith("model is '5'; expected a section with name, alias")


def test_secret_is_never_in_a_message(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2"
    monkeypatch.setenv("ANOEAN__CONSUMER__OPTIONS", f"sasl.password={secret}")
    file = write(empty_folder / "a.yaml", f"broker:\n  sasl_password: [{secret}]\n")

    found = problems_of(file, (f"producer.options.ssl.key.password=[{secret}]",))

    assert len(found) == 3
    assert secret not in "\n".join(found)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_as_file_gives_settings_or_sentences(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = write(tmp_path_factory.getbasetemp() / "any.yaml", text)

    with contextlib.suppress(InvalidSettingsError):
        assert load(file).settings == Settings()
