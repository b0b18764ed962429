"""Logins in librdkafka's words, secrets from files, and what is refused."""

from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from anoean_stream.errors import ConfigError
from anoean_stream.kafka.config import admin_config, consumer_config, producer_config
from anoean_stream.kafka.security import security_config
from anoean_stream.settings import BrokerSettings, Settings
from tests.support.certificates import Authority

SCRAM: Final = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "anoean",
}
OAUTH: Final = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "OAUTHBEARER",
    "sasl_oauth_token_url": "https://login.example.org/token",
    "sasl_oauth_client_id": "worker",
    "sasl_oauth_client_secret": "hush",
}


def _broker(**values: Any) -> BrokerSettings:
    return BrokerSettings.model_validate(values)


def test_secrets_reach_librdkafka_and_no_representation() -> None:
    broker = _broker(**SCRAM, sasl_password="hush")

    assert security_config(broker)["sasl.password"] == "hush"
    assert "hush" not in repr(broker)


@pytest.mark.parametrize("make", [admin_config, consumer_config, producer_config])
def test_every_client_logs_in(make: Any) -> None:
    settings = Settings.model_validate({"broker": {**SCRAM, "sasl_password": "hush"}})

    assert make(settings)["sasl.username"] == "anoean"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hush", "hush"),
        (b"hush\n", "hush"),
        (b"hush\r\n", "hush"),
        (b"hush\n\n", "hush\n"),
        (b" hush ", " hush "),
    ],
)
def test_a_secret_is_its_file_without_one_newline(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    config = security_config(_broker(**SCRAM, sasl_password_file=str(file)))

    assert config["sasl.password"] == expected


def test_a_secret_file_that_is_not_there_names_setting_and_path() -> None:
    broker = _broker(**SCRAM, sasl_password_file="/nowhere/password")

    with pytest.raises(
        ConfigError, match=r"broker\.sasl_password_file names '/nowhere/password'.*No such file"
    ):
        security_config(broker)


@pytest.mark.parametrize("content", [b"", b"\n", b"hush\0hush", b"\xffhush", b"hush" * 20_000])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"broker\.sasl_password_file names") as refused:
        security_config(_broker(**SCRAM, sasl_password_file=str(file)))

    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_password_of_an_encrypted_key_comes_from_its_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("worker", password="open sesame")
    (tmp_path / "password").write_text("open sesame\n")
    tls = {
        "security_protocol": "SSL",
        "ssl_ca_location": str(authority.ca),
        "ssl_certificate_location": str(certificate),
        "ssl_key_location": str(key),
        "ssl_key_password_file": str(tmp_path / "password"),
    }

    config = producer_config(Settings.model_validate({"broker": tls}))

    Producer(config).flush(0)  # librdkafka decrypts the key when it is made


@pytest.mark.parametrize("key", ["ssl_ca_location", "ssl_certificate_location", "ssl_key_location"])
def test_a_certificate_file_that_is_not_there_names_setting_and_path(
    tmp_path: Path, key: str
) -> None:
    authority = Authority(tmp_path)
    certificate, private = authority.issue("worker")
    files = {
        "ssl_ca_location": str(authority.ca),
        "ssl_certificate_location": str(certificate),
        "ssl_key_location": str(private),
        key: "/nowhere/file.pem",
    }

    with pytest.raises(ConfigError, match=rf"broker\.{key} names '/nowhere/file.pem'"):
        security_config(_broker(security_protocol="SSL", **files))


def test_a_folder_of_authorities_is_accepted(tmp_path: Path) -> None:
    config = security_config(_broker(security_protocol="SSL", ssl_ca_location=str(tmp_path)))

    assert config["ssl.ca.location"] == str(tmp_path)


def test_a_token_login_is_what_librdkafka_calls_oidc() -> None:
    broker = _broker(
        **OAUTH, sasl_oauth_scope="kafka", sasl_oauth_extensions={"cluster": "a", "pool": "b"}
    )

    config = security_config(broker)

    assert config == {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://login.example.org/token",
        "sasl.oauthbearer.client.id": "worker",
        "sasl.oauthbearer.client.secret": "hush",
        "sasl.oauthbearer.scope": "kafka",
        "sasl.oauthbearer.extensions": "cluster=a,pool=b",
        "https.ca.location": config["https.ca.location"],
    }


def test_authorities_of_the_token_endpoint_are_named_as_a_file(tmp_path: Path) -> None:
    ca = Authority(tmp_path).ca

    config = security_config(_broker(**OAUTH, sasl_oauth_ca_location=str(ca)))

    assert config["https.ca.location"] == str(ca)
    with pytest.raises(ConfigError, match=r"broker\.sasl_oauth_ca_location names"):
        security_config(_broker(**OAUTH, sasl_oauth_ca_location=str(tmp_path)))
