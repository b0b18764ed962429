"""How to reach Kafka, and how to log in."""

import re
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from anoean_stream.settings.section import Section, check_one_place, cross_check

_SERVERS = r"^\s*[^\s,;]+:[0-9]{1,5}\s*(,\s*[^\s,;]+:[0-9]{1,5}\s*)*$"
"""host:port, or several with commas between; IPv6 addresses stand in brackets."""


class BrokerSettings(Section):
    """How to reach Kafka."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", pattern=_SERVERS, examples=["kafka-1:9092,kafka-2:9092"]
    )
    """host:port of one or more brokers, separated by commas"""
    client_id: str = "anoean"
    """name of this client in the broker's logs and quotas"""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """whether the connection is encrypted (SSL) and how we log in (SASL)"""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """how we log in; needed with SASL_*"""
    sasl_username: str | None = None
    """user for PLAIN and SCRAM"""
    sasl_password: SecretStr | None = None
    """password for PLAIN and SCRAM; better in ANOEAN__BROKER__SASL_PASSWORD, or in a file of its own"""
    sasl_password_file: str | None = None
    """file that holds the password, instead of sasl_password"""
    sasl_oauth_token_url: str | None = Field(
        None, pattern=r"^https?://[^\s/]+\S*$", examples=["https://login.example.org/token"]
    )
    """token endpoint for OAUTHBEARER (OpenID Connect, client credentials)"""
    sasl_oauth_client_id: str | None = Field(None, min_length=1)
    """client id at the token endpoint"""
    sasl_oauth_client_secret: SecretStr | None = None
    """client secret at the token endpoint"""
    sasl_oauth_client_secret_file: str | None = None
    """file that holds the client secret, instead of sasl_oauth_client_secret"""
    sasl_oauth_scope: str | None = Field(None, min_length=1)
    """scope to ask for; null asks for none"""
    sasl_oauth_extensions: dict[str, str] = Field(default_factory=dict)
    """further names and values that the broker gets with the token"""
    sasl_oauth_ca_location: str | None = None
    """PEM file of the authorities to trust at the token endpoint; null takes the system's"""
    ssl_ca_location: str | None = None
    """PEM file of the authorities to trust; null takes the system's"""
    ssl_certificate_location: str | None = None
    """PEM file of the client's certificate, for mutual TLS"""
    ssl_key_location: str | None = None
    """PEM file of the client's key"""
    ssl_key_password: SecretStr | None = None
    """password of the client's key"""
    ssl_key_password_file: str | None = None
    """file that holds the password of the client's key, instead of ssl_key_password"""
    connect_timeout_s: float = Field(20.0, ge=1, le=600)
    """seconds for the first contact at the start; without an answer the process ends (exit code 4)"""
    request_timeout_s: float = Field(30.0, gt=0, le=600)
    """seconds to wait for the answer to one request (metadata, commit)"""

    @model_validator(mode="after")
    def _secrets_stand_in_one_place(self) -> Self:
        check_one_place(self, "sasl_password", "sasl_oauth_client_secret", "ssl_key_password")
        return self

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        login: tuple[str, ...] = (
            "sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file",
        )  # fmt: skip
        oauth = (
            "sasl_oauth_token_url", "sasl_oauth_client_id", "sasl_oauth_client_secret",
            "sasl_oauth_client_secret_file", "sasl_oauth_scope", "sasl_oauth_extensions",
            "sasl_oauth_ca_location",
        )  # fmt: skip
        protocol, mechanism = self.security_protocol, self.sasl_mechanism
        if not protocol.startswith("SASL_"):
            self._refuse_unused(
                (*login, *oauth),
                f"with security_protocol {protocol}; expected SASL_SSL or SASL_PLAINTEXT",
                "security_protocol",
            )
        elif mechanism == "OAUTHBEARER":
            self._require(oauth[:2], "sasl_oauth_client_secret", "sasl_mechanism OAUTHBEARER")
            self._refuse_unused(login[1:], "with sasl_mechanism OAUTHBEARER", "sasl_mechanism")
        else:
            self._require(login[:2], "sasl_password", f"security_protocol {protocol}")
            self._refuse_unused(
                oauth, f"with sasl_mechanism {mechanism}; expected OAUTHBEARER", "sasl_mechanism"
            )
        return self

    @model_validator(mode="after")
    def _extensions_can_be_sent(self) -> Self:
        # RFC 7628 and KIP-342; librdkafka separates them by commas.
        for name, value in self.sasl_oauth_extensions.items():
            if not re.fullmatch(r"[A-Za-z]+", name) or name == "auth":
                raise cross_check(
                    f"sasl_oauth_extensions has the name {name!r}; expected letters only, not 'auth'",
                    "sasl_oauth_extensions",
                )
            if not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]+", value):
                raise cross_check(
                    f"sasl_oauth_extensions.{name} has a value that cannot be sent; expected printable "
                    "ASCII without blanks and commas",
                    "sasl_oauth_extensions",
                )
        return self

    @model_validator(mode="after")
    def _certificates_are_complete(self) -> Self:
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise cross_check(
                "ssl_certificate_location and ssl_key_location belong together; set both or none",
                "ssl_certificate_location",
                "ssl_key_location",
            )
        # Whether the files exist is seen when connecting: a configuration may be checked on
        # another machine than the one that holds the keys.
        if not self.security_protocol.endswith("SSL"):
            self._refuse_unused(
                ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"),
                f"with security_protocol {self.security_protocol}; expected SSL or SASL_SSL",
                "security_protocol",
            )
        if self.ssl_key_location is None:
            self._refuse_unused(
                ("ssl_key_password", "ssl_key_password_file"),
                "without ssl_key_location",
                "ssl_key_location",
            )
        return self

    def _require(self, keys: tuple[str, ...], secret: str, chosen: str) -> None:
        """Refuse a login with something missing; its secret may stand in a file instead."""
        missing = [key for key in keys if getattr(self, key) is None]
        names = list(missing)
        if getattr(self, secret) is None and getattr(self, f"{secret}_file") is None:
            missing.append(secret)
            names.append(f"{secret} (or {secret}_file)")
        if missing:
            by = "security_protocol" if "protocol" in chosen else "sasl_mechanism"
            raise cross_check(f"{chosen} needs {' and '.join(names)} too", by, *missing)

    def _refuse_unused(self, keys: tuple[str, ...], why: str, by: str) -> None:
        """Refuse what would be ignored: whoever set it believes that it works."""
        unused = [key for key in keys if getattr(self, key) not in (None, {})]
        if unused:
            raise cross_check(f"{' and '.join(unused)} would not be used {why}", by, *unused)
