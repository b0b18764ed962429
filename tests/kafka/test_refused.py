"""A start that cannot succeed: one sentence with the next step, exit code 4, within 30 s, no secrets."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.certificates import Authority
from tests.support.kafka_broker import free_port
from tests.support.secure_broker import SecureBroker
from tests.support.secure_stage import LIMIT_S, Ended, SecureStage

WRONG: Final = "planted-wrong-secret-e4d909c2"
"""What a leak is recognised by; its hash or length would not be one."""


@pytest.fixture
def stage(
    secure_broker: SecureBroker, new_group: Callable[[str], str], tmp_path: Path
) -> SecureStage:
    return SecureStage(secure_broker, tmp_path, new_group("refused")).build()


def _wrong_password(stage: SecureStage) -> dict[str, object]:
    file = stage.secret("wrong", WRONG)
    return {**stage.password(), "broker.sasl_password_file": file}


def _wrong_client_secret(stage: SecureStage) -> dict[str, object]:
    file = stage.secret("wrong", WRONG)
    return {**stage.token(), "broker.sasl_oauth_client_secret_file": file}


def _no_token_endpoint(stage: SecureStage) -> dict[str, object]:
    return {
        **stage.token(),
        "broker.sasl_oauth_token_url": f"https://127.0.0.1:{free_port()}/token",
    }


def _unknown_authority(stage: SecureStage) -> dict[str, object]:
    return {**stage.password(), "broker.ssl_ca_location": Authority(stage.folder / "other").ca}


def _another_host_name(stage: SecureStage) -> dict[str, object]:
    return {**stage.password(), "broker.bootstrap_servers": f"localhost:{stage.broker.sasl_ssl}"}


def _no_certificate(stage: SecureStage) -> dict[str, object]:
    login = stage.certificate()
    kept = ("bootstrap_servers", "security_protocol", "ssl_ca_location")
    return {f"broker.{key}": login[f"broker.{key}"] for key in kept}


def _foreign_certificate(stage: SecureStage) -> dict[str, object]:
    certificate, key = Authority(stage.folder / "other").issue("stranger")
    return {
        **_no_certificate(stage),
        "broker.ssl_certificate_location": certificate,
        "broker.ssl_key_location": key,
    }


def _plain_text_to_tls(stage: SecureStage) -> dict[str, object]:
    return {"broker.bootstrap_servers": f"127.0.0.1:{stage.broker.sasl_ssl}"}


def _tls_to_plain_text(stage: SecureStage) -> dict[str, object]:
    return {
        **stage.password(),
        "broker.bootstrap_servers": f"127.0.0.1:{stage.broker.sasl_plaintext}",
    }


def _nobody_there(stage: SecureStage) -> dict[str, object]:
    return {**stage.password(), "broker.bootstrap_servers": f"127.0.0.1:{free_port()}"}


def _no_such_host(stage: SecureStage) -> dict[str, object]:
    return {**stage.password(), "broker.bootstrap_servers": "kafka.invalid:9092"}


REFUSALS: Final = [
    pytest.param(_wrong_password, "does not accept these credentials; check", id="password"),
    pytest.param(_wrong_client_secret, "gave no token", id="client-secret"),
    pytest.param(_no_token_endpoint, "check broker.sasl_oauth_token_url", id="token-endpoint"),
    pytest.param(_unknown_authority, "set broker.ssl_ca_location", id="authority"),
    pytest.param(
        _another_host_name, "broker.bootstrap_servers to a name in the certificate", id="host-name"
    ),
    pytest.param(_no_certificate, "wants a client certificate; set", id="no-certificate"),
    pytest.param(_foreign_certificate, "refuses the certificate in", id="certificate"),
    pytest.param(
        _plain_text_to_tls, "broker.security_protocol is PLAINTEXT: set", id="plain-to-tls"
    ),
    pytest.param(_tls_to_plain_text, "or set SASL_PLAINTEXT", id="tls-to-plain"),
    pytest.param(_nobody_there, "check that Kafka runs there", id="unreachable"),
    pytest.param(_no_such_host, "check that Kafka runs there", id="no-such-host"),
]


@pytest.mark.parametrize(("login", "sentence"), REFUSALS)
def test_a_worker_that_cannot_get_in_says_why_and_ends(
    stage: SecureStage, login: Callable[[SecureStage], dict[str, object]], sentence: str
) -> None:
    ended = stage.run(login(stage))

    _is_one_sentence(ended, sentence)


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        pytest.param(_wrong_password, "does not accept these credentials", id="password"),
        pytest.param(_unknown_authority, "set broker.ssl_ca_location", id="authority"),
        pytest.param(
            _plain_text_to_tls, "broker.security_protocol is PLAINTEXT", id="plain-to-tls"
        ),
        pytest.param(_nobody_there, "check that Kafka runs there", id="unreachable"),
    ],
)
@pytest.mark.parametrize("command", ["topics list", "publish --simulate --count 1"])
def test_commands_that_cannot_get_in_say_why_and_end(
    stage: SecureStage,
    command: str,
    login: Callable[[SecureStage], dict[str, object]],
    sentence: str,
) -> None:
    quick = {**login(stage), "broker.connect_timeout_s": 6}

    ended = stage.run(quick, *command.split())

    _is_one_sentence(ended, sentence)


def test_publishing_without_permission_does_not_say_that_the_topic_is_missing(
    stage: SecureStage,
) -> None:
    ended = stage.run(stage.password(), "publish", "--simulate", "--count", "1")

    _is_one_sentence(ended, f"does not let this user at topic {stage.flows!r}")


def test_a_secret_file_that_is_not_there_is_a_wrong_setting(stage: SecureStage) -> None:
    login = {**stage.password(), "broker.sasl_password_file": "/nowhere/password"}

    ended = stage.run(login)

    assert (ended.code, len(ended.sentences)) == (2, 1), ended.output
    assert "broker.sasl_password_file names '/nowhere/password'" in ended.sentences[0]


@pytest.mark.parametrize("log_format", ["pretty", "json"])
@pytest.mark.parametrize("login", [_wrong_password, _wrong_client_secret])
def test_a_wrong_secret_is_in_nothing_that_is_printed(
    stage: SecureStage, log_format: str, login: Callable[[SecureStage], dict[str, object]]
) -> None:
    loud = {
        **login(stage),
        "consumer.options.debug": "all",
        "producer.options.debug": "all",
        "logging.level": "DEBUG",
        "logging.format": log_format,
    }

    ended = stage.run(loud, "serve", "--debug")

    assert ended.code == 4, ended.output
    assert "Traceback" in ended.output  # --debug shows it, so this is what is searched
    assert "DEBUG" in ended.output.upper()
    assert WRONG not in ended.output
    assert WRONG[8:] not in ended.output


@pytest.mark.parametrize("words", [(), ("--json",), ("--changed",)])
def test_config_check_masks_every_secret(words: tuple[str, ...]) -> None:
    secrets = {
        "BROKER__SASL_PASSWORD": f"{WRONG}-1",
        "BROKER__SSL_KEY_PASSWORD": f"{WRONG}-2",
        "WEB__BEARER_TOKEN": f"{WRONG}-3",
        "WEB__TLS_KEY_PASSWORD": f"{WRONG}-4",
    }
    others = {
        "BROKER__SECURITY_PROTOCOL": "SASL_SSL",
        "BROKER__SASL_MECHANISM": "PLAIN",
        "BROKER__SASL_USERNAME": "worker",
        "BROKER__SSL_CERTIFICATE_LOCATION": "me.pem",
        "BROKER__SSL_KEY_LOCATION": "me.key",
        "WEB__TLS_CERTIFICATE": "web.pem",
        "WEB__TLS_KEY": "web.key",
    }
    own = {name: text for name, text in os.environ.items() if "ANOEAN" not in name}
    planted = {f"ANOEAN__{name}": text for name, text in {**secrets, **others}.items()}

    done = subprocess.run(
        [sys.executable, "-m", "anoean_stream", "config", "check", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**own, **planted},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("********") == len(secrets)
    assert WRONG not in done.stdout + done.stderr


def _is_one_sentence(ended: Ended, sentence: str) -> None:
    assert (ended.code, len(ended.sentences)) == (4, 1), ended.output
    assert sentence in ended.sentences[0]
    assert "Traceback" not in ended.output
    assert WRONG not in ended.output
    assert ended.seconds < LIMIT_S
