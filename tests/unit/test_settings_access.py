"""Combinations of logins, certificates and tokens: what cannot work is refused, nothing is ignored."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from anoean_stream.configfile import InvalidSettingsError, load_settings
from anoean_stream.settings import BrokerSettings, WebSettings

SCRAM: Final = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "me",
    "sasl_password": "hush",
}
OAUTH: Final = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "sasl_oauth_token_url": "https://login.example.org/token",
    "sasl_oauth_client_id": "me",
    "sasl_oauth_client_secret": "hush",
}
MUTUAL: Final = {
    "security_protocol": "SSL",
    "ssl_certificate_location": "me.pem",
    "ssl_key_location": "me.key",
}
TOKEN: Final = "0123456789abcdef"


@pytest.mark.parametrize(
    "values",
    [
        SCRAM,
        OAUTH,
        MUTUAL,
        {**SCRAM, "sasl_password": None, "sasl_password_file": "/run/password"},
        {**OAUTH, "sasl_oauth_client_secret": None, "sasl_oauth_client_secret_file": "/run/s"},
        {**OAUTH, "sasl_oauth_scope": "a b", "sasl_oauth_extensions": {"logicalCluster": "x-1"}},
        {**SCRAM, **MUTUAL, "security_protocol": "SASL_SSL"},
        {**MUTUAL, "ssl_key_password_file": "/run/password"},
    ],
)
def test_what_belongs_together_is_accepted(values: dict[str, Any]) -> None:
    BrokerSettings.model_validate(values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {**SCRAM, "sasl_password_file": "/run/password"},
            "sasl_password and sasl_password_file are both set; remove one",
        ),
        (
            {**OAUTH, "sasl_oauth_client_secret_file": "/run/s"},
            "sasl_oauth_client_secret and sasl_oauth_client_secret_file are both set",
        ),
        (
            {**MUTUAL, "ssl_key_password": "hush", "ssl_key_password_file": "/run/s"},
            "ssl_key_password and ssl_key_password_file are both set",
        ),
        (
            {**SCRAM, "sasl_password": None},
            r"needs sasl_password \(or sasl_password_file\) too",
        ),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"},
            r"needs sasl_oauth_token_url and sasl_oauth_client_id and sasl_oauth_client_secret \(or",
        ),
        ({**OAUTH, "sasl_username": "me"}, "sasl_username would not be used with sasl_mechanism"),
        ({**SCRAM, "sasl_oauth_scope": "a"}, "sasl_oauth_scope would not be used with sasl_mech"),
        (
            {**MUTUAL, "sasl_oauth_extensions": {"a": "b"}},
            "sasl_oauth_extensions would not be used with security_protocol SSL",
        ),
        ({**SCRAM, "ssl_key_password": "hush"}, "ssl_key_password would not be used without"),
        ({**OAUTH, "sasl_oauth_extensions": {"auth": "x"}}, "has the name 'auth'"),
        ({**OAUTH, "sasl_oauth_extensions": {"a-b": "x"}}, "has the name 'a-b'"),
        ({**OAUTH, "sasl_oauth_extensions": {"a": "x,b=y"}}, "a has a value that cannot be sent"),
        ({**OAUTH, "sasl_oauth_token_url": "login.example.org"}, "sasl_oauth_token_url"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence) as refused:
        BrokerSettings.model_validate(values)

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tls_certificate": "a.pem"}, "tls_certificate and tls_key belong together"),
        ({"tls_key": "a.key"}, "tls_certificate and tls_key belong together"),
        ({"tls_key_password_file": "p"}, "tls_key_password_file would not be used without tls_key"),
        ({"bearer_token": TOKEN, "bearer_token_file": "t"}, "bearer_token_file are both set"),
        ({"bearer_token": "short"}, "at least 16"),
    ],
)
def test_endpoints_that_cannot_be_served_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        WebSettings.model_validate(values)


def test_a_secret_given_twice_names_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SCRAM.items():
        monkeypatch.setenv(f"ANOEAN__BROKER__{name.upper()}", value)

    with pytest.raises(InvalidSettingsError) as refused:
        load_settings(None, ["broker.sasl_password_file=/run/password"])

    (problem,) = refused.value.problems
    assert "both set; remove one" in problem.detail
    assert "env ANOEAN__BROKER__SASL_PASSWORD" in str(problem)
    assert problem.source.label == "--set"
    assert "hush" not in str(problem)


def test_a_token_that_is_too_short_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOEAN__WEB__BEARER_TOKEN", "tooshort")

    with pytest.raises(InvalidSettingsError, match="at least 16 characters") as refused:
        load_settings(None)

    assert "tooshort" not in str(refused.value)
