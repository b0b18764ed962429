"""Topics, a registry and logins on the secure broker, and ``anoean serve`` in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from tests.support.registries import publish_model
from tests.support.secure_broker import OAUTH_CLIENTS, USERS, Acl, SecureBroker
from tests.support.worker import WorkerProcess

LIMIT_S: Final = 30.0
"""Seconds within which a worker that cannot start must have said why."""

Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended by itself.

    Parameters
    ----------
    code : int
        Exit code.
    output : str
        All it printed, stdout and stderr.
    seconds : float
        How long it took.
    """

    code: int
    output: str
    seconds: float

    @property
    def sentences(self) -> list[str]:
        """What it told the user at the end; more than one is too many."""
        return [line for line in self.output.splitlines() if line.startswith("error: ")]


@dataclass(frozen=True)
class SecureStage:
    """Three topics and a group of one test, a model, and every way to log in.

    Parameters
    ----------
    broker : SecureBroker
        Shared by all tests.
    folder : Path
        For registry and secrets.
    name : str
        Makes topics and group this test's own.
    """

    broker: SecureBroker
    folder: Path
    name: str
    flows: str = field(init=False)
    alerts: str = field(init=False)
    dead_letters: str = field(init=False)
    group: str = field(init=False)

    def __post_init__(self) -> None:
        for kind in ("flows", "alerts", "dead_letters", "group"):
            object.__setattr__(self, kind, f"{kind}-{self.name}")

    def build(self) -> "SecureStage":
        """Create the topics, and publish a model."""
        self.broker.create_topics(self.flows, self.alerts, self.dead_letters)
        publish_model(self.folder)
        return self

    @property
    def least_acls(self) -> tuple[Acl, ...]:
        """Everything that a worker needs, and nothing else; docs/security.md names the same."""
        return (
            Acl(ResourceType.TOPIC, self.flows, AclOperation.READ),
            Acl(ResourceType.GROUP, self.group, AclOperation.READ),
            Acl(ResourceType.TOPIC, self.alerts, AclOperation.WRITE),
            Acl(ResourceType.TOPIC, self.dead_letters, AclOperation.WRITE),
        )

    # ------------------------------------------------------------------ logins

    def password(self, *, kind: str = "SCRAM-SHA-512", tls: bool = True) -> dict[str, object]:
        """Log in as the worker by a password from a file."""
        port = self.broker.sasl_ssl if tls else self.broker.sasl_plaintext
        own: dict[str, object] = {
            "broker.bootstrap_servers": f"127.0.0.1:{port}",
            "broker.security_protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
            "broker.sasl_mechanism": kind,
            "broker.sasl_username": "worker",
            "broker.sasl_password_file": self.secret("password", USERS["worker"]),
        }
        return {**own, "broker.ssl_ca_location": self.broker.authority.ca} if tls else own

    def certificate(self, name: str = "cert-worker") -> dict[str, object]:
        """Log in by a certificate whose key is encrypted; its common name is the user."""
        certificate, key = self.broker.authority.issue(name, password="planted-key-password-c2")
        return {
            "broker.bootstrap_servers": f"127.0.0.1:{self.broker.ssl}",
            "broker.security_protocol": "SSL",
            "broker.ssl_ca_location": self.broker.authority.ca,
            "broker.ssl_certificate_location": certificate,
            "broker.ssl_key_location": key,
            "broker.ssl_key_password_file": self.secret("key-password", "planted-key-password-c2"),
        }

    def token(self) -> dict[str, object]:
        """Log in by a token from the token endpoint; its subject is the user."""
        secret = OAUTH_CLIENTS["oauth-worker"]
        return {
            "broker.bootstrap_servers": f"127.0.0.1:{self.broker.sasl_ssl}",
            "broker.security_protocol": "SASL_SSL",
            "broker.ssl_ca_location": self.broker.authority.ca,
            "broker.sasl_mechanism": "OAUTHBEARER",
            "broker.sasl_oauth_token_url": self.broker.tokens.url,
            "broker.sasl_oauth_client_id": "oauth-worker",
            "broker.sasl_oauth_client_secret_file": self.secret("client-secret", secret),
            "broker.sasl_oauth_scope": "kafka",
            "broker.sasl_oauth_extensions.pool": "blue",
            "broker.sasl_oauth_ca_location": self.broker.authority.ca,
        }

    def secret(self, name: str, text: str) -> Path:
        """Write a secret into a file of its own, with the newline that editors add."""
        path = self.folder / name
        path.write_text(f"{text}\n", encoding="utf-8")
        return path

    # ------------------------------------------------------------------ processes

    def settings(self, login: Settings) -> dict[str, object]:
        """Return the settings of a worker of this stage."""
        return {
            "topics.input": self.flows,
            "topics.alerts": self.alerts,
            "topics.dead_letters": self.dead_letters,
            "consumer.group_id": self.group,
            "scoring.false_positive_rate": 1.0,
            **login,
        }

    def worker(self, login: Settings) -> WorkerProcess:
        """Return a worker, not started."""
        return WorkerProcess("", self.folder / "models", self.settings(login))

    def run(self, login: Settings, *words: str) -> Ended:
        """Run ``anoean`` with these settings until it ends by itself."""
        settings = {
            **self.settings(login),
            "registry.url": self.folder / "models",
            "web.port": 0,
        }
        command = list(words or ("serve",))
        command += _flags(f"{key}={value}" for key, value in settings.items())
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "anoean_stream", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=2 * LIMIT_S,
            env={name: text for name, text in os.environ.items() if "ANOEAN" not in name},
        )
        return Ended(done.returncode, done.stdout, time.monotonic() - began)


def _flags(words: Iterable[str]) -> list[str]:
    return [part for word in words for part in ("--set", word)]
