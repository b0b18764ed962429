"""The models of the settings: bounds, cross-checks, and config.yaml as their mirror."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from anoean_stream.configdocs import allowed, comment, default_yaml, each_field, sections
from anoean_stream.settings import (
    BrokerSettings,
    ConsumerSettings,
    Settings,
    TopicSettings,
    WebSettings,
)

ROOT = Path(__file__).parents[2]


def test_config_yaml_is_what_the_models_generate() -> None:
    in_repository = (ROOT / "config.yaml").read_text(encoding="utf-8")

    assert in_repository == default_yaml(), "run: anoean config write config.yaml --force"


def test_config_yaml_reads_back_as_the_defaults() -> None:
    assert Settings.model_validate(yaml.safe_load(default_yaml())) == Settings()


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, key, _ in each_field()])
def test_every_setting_has_a_comment_of_one_line(section: str, key: str) -> None:
    text = comment(sections()[section][key])

    assert text
    assert "\n" not in text


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().web.port = 1  # type: ignore[misc]  # what the test is about


def test_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Settings.model_validate({"producer": {"linger_s": float("nan")}})


def test_allowed_names_both_bounds() -> None:
    assert allowed(WebSettings.model_fields["port"]) == "a whole number from 0 to 65535"


def test_allowed_names_open_bounds() -> None:
    field = sections()["training"]["anomaly_share"]

    assert allowed(field) == "a number above 0 and below 1"


def test_allowed_names_the_choices_and_null() -> None:
    field = BrokerSettings.model_fields["sasl_mechanism"]

    assert allowed(field) == "one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or null"


@pytest.mark.parametrize("servers", ["a:1", "a:1,b:2", "a:1, b:2", "[::1]:9092"])
def test_lists_of_brokers_are_accepted(servers: str) -> None:
    assert BrokerSettings(bootstrap_servers=servers).bootstrap_servers == servers


@pytest.mark.parametrize("servers", ["", "kafka", "a:1,,b:2", "a:1;b:2", "a b:1"])
def test_what_is_no_list_of_brokers_is_refused(servers: str) -> None:
    with pytest.raises(ValidationError, match="bootstrap_servers"):
        BrokerSettings(bootstrap_servers=servers)


@pytest.mark.parametrize(
    "consumer",
    [
        {"isolation_level": "read_uncommitted"},
        {"options": {"isolation.level": "read_uncommitted"}},
    ],
)
def test_exactly_once_reads_committed_offsets_only(consumer: dict[str, object]) -> None:
    Settings.model_validate({"consumer": consumer})

    with pytest.raises(ValidationError, match=r"needs consumer\.isolation_level read_committed"):
        Settings.model_validate({"consumer": consumer, "producer": {"delivery": "exactly_once"}})


def test_heartbeat_must_fit_three_times_into_the_session() -> None:
    ConsumerSettings(session_timeout_s=9, heartbeat_interval_s=3)

    with pytest.raises(ValidationError, match="expected at most 3"):
        ConsumerSettings(session_timeout_s=9, heartbeat_interval_s=3.01)


def test_poll_interval_below_the_session_timeout_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_poll_interval_s 40 is less"):
        ConsumerSettings(session_timeout_s=45, max_poll_interval_s=40)


@pytest.mark.parametrize("key", ["sasl_mechanism", "sasl_username", "sasl_password"])
def test_sasl_needs_mechanism_user_and_password(key: str) -> None:
    login = {"sasl_mechanism": "PLAIN", "sasl_username": "me", "sasl_password": "x"}
    complete = {"security_protocol": "SASL_SSL", **login}
    BrokerSettings.model_validate(complete)

    with pytest.raises(ValidationError, match=f"needs {key}"):
        BrokerSettings.model_validate({name: complete[name] for name in complete if name != key})


def test_login_without_sasl_is_refused_rather_than_unused() -> None:
    with pytest.raises(ValidationError, match="sasl_username would not be used"):
        BrokerSettings(sasl_username="me", security_protocol="SSL")


def test_certificate_without_encryption_is_refused_rather_than_unused() -> None:
    with pytest.raises(ValidationError, match="ssl_ca_location would not be used"):
        BrokerSettings(ssl_ca_location="ca.pem", security_protocol="PLAINTEXT")


def test_certificate_without_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        BrokerSettings(ssl_certificate_location="me.pem", security_protocol="SSL")


def test_certificate_file_may_be_missing_until_connecting() -> None:
    settings = BrokerSettings(
        ssl_ca_location="/nowhere/ca.pem",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="x",
    )

    assert settings.ssl_ca_location == "/nowhere/ca.pem"


@pytest.mark.parametrize("same", [("input", "alerts"), ("input", "dead_letters")])
def test_worker_never_writes_to_the_topic_it_reads(same: tuple[str, str]) -> None:
    with pytest.raises(ValidationError, match="different topics"):
        TopicSettings.model_validate(dict.fromkeys(same, "flows"))


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 250])
def test_what_kafka_takes_for_no_topic_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="input"):
        TopicSettings(input=name)
