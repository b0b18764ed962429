"""How a client proves who it is and whom it trusts, in librdkafka's words.

The only place of this room where a secret leaves its wrapper: the result goes straight to
librdkafka, which shows it nowhere (its own dump of a configuration has ``[redacted]``).
"""

from pathlib import Path
from typing import Final

from anoean_stream.secretfile import require_readable, secret_of
from anoean_stream.settings import BrokerSettings

ClientConfig = dict[str, str | int | float | bool]

PROBE: Final = "probe"
"""librdkafka's word for: look where the distributions keep their authorities."""

SYSTEM_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)
"""Where the token endpoint's authorities are looked for. librdkafka 2.16 itself asks its built-in curl,
which knows Red Hat's path only and fails on the others, also with `PROBE`."""

_FILES: Final = {
    "ssl_ca_location": "ssl.ca.location",
    "ssl_certificate_location": "ssl.certificate.location",
    "ssl_key_location": "ssl.key.location",
}


def security_config(broker: BrokerSettings) -> ClientConfig:
    """Return protocol, login and certificates; reads the files that hold secrets.

    Raises
    ------
    ConfigError
        A file that a setting names cannot be read; names the setting and the path.
    """
    config: ClientConfig = {"security.protocol": broker.security_protocol}
    if broker.security_protocol.startswith("SASL_"):
        assert broker.sasl_mechanism is not None, "BrokerSettings has checked it"
        config["sasl.mechanism"] = broker.sasl_mechanism
        config |= _token_login(broker) if is_oauth(broker) else _password_login(broker)
    if broker.security_protocol.endswith("SSL"):
        for key, name in _FILES.items():
            path: str | None = getattr(broker, key)
            if path is not None:
                _require(path, key)
                config[name] = path
        password = _secret(broker, "ssl_key_password")
        if password is not None:
            config["ssl.key.password"] = password
    return config


def is_oauth(broker: BrokerSettings) -> bool:
    """Tell whether the login is a token from a token endpoint."""
    return broker.sasl_mechanism == "OAUTHBEARER"


def _password_login(broker: BrokerSettings) -> ClientConfig:
    login = {
        "sasl.username": broker.sasl_username,
        "sasl.password": _secret(broker, "sasl_password"),
    }
    return {name: value for name, value in login.items() if value is not None}


def _token_login(broker: BrokerSettings) -> ClientConfig:
    _require(broker.sasl_oauth_ca_location, "sasl_oauth_ca_location")
    extensions = ",".join(f"{name}={value}" for name, value in broker.sasl_oauth_extensions.items())
    login = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": broker.sasl_oauth_token_url,
        "sasl.oauthbearer.client.id": broker.sasl_oauth_client_id,
        "sasl.oauthbearer.client.secret": _secret(broker, "sasl_oauth_client_secret"),
        "sasl.oauthbearer.scope": broker.sasl_oauth_scope,
        "sasl.oauthbearer.extensions": extensions or None,
        "https.ca.location": broker.sasl_oauth_ca_location or _system_authorities(),
    }
    return {name: value for name, value in login.items() if value is not None}


def _system_authorities() -> str:
    return next((path for path in SYSTEM_AUTHORITIES if Path(path).is_file()), PROBE)


def _secret(broker: BrokerSettings, key: str) -> str | None:
    return secret_of(broker, key, section="broker")


def _require(path: str | None, key: str) -> None:
    """Check a file of certificates; a broker's authorities may also be a folder, or `PROBE`."""
    if path is None or path == PROBE or (key == "ssl_ca_location" and Path(path).is_dir()):
        return
    require_readable(path, setting=f"broker.{key}")
