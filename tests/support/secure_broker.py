"""A real Kafka that lets nobody in unasked: TLS, mutual TLS, every kind of SASL, access lists.

One node with four listeners on 127.0.0.1:

* ``sasl_ssl``: TLS and a login: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER;
* ``sasl_plaintext``: the same logins without TLS;
* ``ssl``: a client certificate is the login (also between brokers);
* the controller's, with certificates.

Nobody may do anything until an access list says so, but ``admin`` and the broker itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.support.certificates import Authority
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.token_endpoint import TokenEndpoint
from tests.support.waiting import wait_until

ADMIN_PASSWORD: Final = "admin-of-the-test"
USERS: Final = {"worker": "planted-password-5f1c"}
OAUTH_CLIENTS: Final = {"oauth-worker": "planted-client-secret-77ab"}
_SECURITY: Final = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Acl:
    """One permission: an operation on a resource, as ``kafka-acls`` would grant it."""

    resource: ResourceType
    name: str
    operation: AclOperation


class SecureBroker(KafkaBroker):
    """`KafkaBroker` with listeners for every protocol, users, and access lists.

    Parameters
    ----------
    folder : Path
        For data, certificates and keys.
    users : mapping of str to str
        Password by name; for PLAIN and SCRAM alike.
    oauth_clients : mapping of str to str
        Secret by client id; for OAUTHBEARER.
    """

    def __init__(
        self, folder: Path, *, users: Mapping[str, str], oauth_clients: Mapping[str, str]
    ) -> None:
        self.authority = Authority(folder / "certificates")
        self.admin_certificate = self.authority.issue("admin")
        server = self.authority.issue("broker", hosts=("127.0.0.1",))
        store = folder / "certificates" / "broker-store.pem"
        store.write_bytes(server[1].read_bytes() + server[0].read_bytes())
        self.tokens = TokenEndpoint(dict(oauth_clients), certificate=server[0], key=server[1])
        keys = self.tokens.write_public_keys(folder / "jwks.json").as_uri()
        self._java_options = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"]
        self.sasl_ssl, self.sasl_plaintext, self.ssl, controller = (free_port() for _ in range(4))
        listeners = {
            "SASL_SSL": self.sasl_ssl,
            "SASL_PLAINTEXT": self.sasl_plaintext,
            "SSL": self.ssl,
        }
        listed = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        everyone = {"admin": ADMIN_PASSWORD, **users}
        super().__init__(
            folder / "kafka",
            port=self.sasl_ssl,
            controller_ports={1: controller},
            properties={
                "listeners": f"{listed},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": listed,
                "listener.security.protocol.map": (
                    "SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:SSL"
                ),
                "inter.broker.listener.name": "SSL",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(store),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.ca),
                "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
                "listener.name.ssl.ssl.client.auth": "required",
                "listener.name.controller.ssl.client.auth": "required",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:admin;User:broker",
                "allow.everyone.if.no.acl.found": "false",
                **_logins("sasl_ssl", everyone, keys),
                **_logins("sasl_plaintext", everyone, keys),
            },
            format_options=[
                word
                for name, password in everyone.items()
                for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for word in ("--add-scram", f"{kind}=[name={name},password={password}]")
            ],
        )

    def _java(self, classes: str, options: list[str]) -> list[str]:
        return super()._java(classes, [*options, *self._java_options])

    # ------------------------------------------------------------------ as the administrator

    @property
    def admin_config(self) -> dict[str, Any]:
        """What an independent client needs to be the administrator."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.ssl}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority.ca),
            "ssl.certificate.location": str(self.admin_certificate[0]),
            "ssl.key.location": str(self.admin_certificate[1]),
        }

    def create_topics(self, *names: str) -> None:
        """Create topics of one partition."""
        admin = AdminClient(self.admin_config)
        for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
            future.result(20)

    def publish(self, topic: str, values: Iterable[bytes]) -> None:
        """Write values, and wait until all are acknowledged."""
        producer = Producer(self.admin_config)
        for value in values:
            producer.produce(topic, value)
        assert producer.flush(20) == 0

    def read(self, topic: str) -> list[bytes]:
        """Return all values of a topic."""
        whole = TopicPartition(topic, 0, 0)
        consumer = Consumer({**self.admin_config, "group.id": "reader"})
        try:
            end = consumer.get_watermark_offsets(whole, timeout=10)[1]
            consumer.assign([whole])
            found: list[bytes] = []
            while len(found) < end:
                messages = consumer.consume(end - len(found), 10)
                assert messages, f"{topic}: {len(found)} of {end} records"
                found += [cast("bytes", message.value()) for message in messages]
            return found
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> int:
        """Return the committed next offset."""
        admin = AdminClient(self.admin_config)
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])]
        (found,) = admin.list_consumer_group_offsets(asked)[group].result(20).topic_partitions
        return cast("int", found.offset)

    def grant(self, user: str, acls: Iterable[Acl]) -> None:
        """Allow these, and return when the broker knows."""
        admin = AdminClient(self.admin_config)
        bindings = [_binding(user, acl) for acl in acls]
        for future in admin.create_acls(bindings).values():
            future.result(20)
        self._wait_for(admin, user, {*bindings}, present=True)

    def withdraw(self, user: str, acl: Acl) -> None:
        """Take one back, and return when the broker knows."""
        admin = AdminClient(self.admin_config)
        binding = _binding(user, acl)
        for future in admin.delete_acls([_filter(binding)]).values():
            future.result(20)
        self._wait_for(admin, user, {binding}, present=False)

    def _wait_for(
        self, admin: AdminClient, user: str, bindings: set[AclBinding], *, present: bool
    ) -> None:
        anything = cast("str", None)  # what confluent-kafka's types forget
        everything = AclBindingFilter(
            ResourceType.ANY, anything, ResourcePatternType.ANY, f"User:{user}", anything,
            AclOperation.ANY, AclPermissionType.ANY,
        )  # fmt: skip

        def settled() -> bool:
            known = {*cast("list[AclBinding]", admin.describe_acls(everything).result(20))}
            return bindings <= known if present else not bindings & known

        wait_until(settled, what=f"access lists of {user}", within_s=20)


def _logins(listener: str, users: Mapping[str, str], keys: str) -> dict[str, str]:
    """Return the properties of one listener's four kinds of login."""
    prefix = f"listener.name.{listener}"
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    scram = f"{_SECURITY}.scram.ScramLoginModule required;"
    bearer = f"{prefix}.oauthbearer.sasl"
    return {
        f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{prefix}.plain.sasl.jaas.config": (
            f"{_SECURITY}.plain.PlainLoginModule required {known};"
        ),
        f"{prefix}.scram-sha-256.sasl.jaas.config": scram,
        f"{prefix}.scram-sha-512.sasl.jaas.config": scram,
        f"{bearer}.jaas.config": f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required;",
        f"{bearer}.server.callback.handler.class": (
            f"{_SECURITY}.oauthbearer.OAuthBearerValidatorCallbackHandler"
        ),
        f"{bearer}.oauthbearer.jwks.endpoint.url": keys,
    }


def _binding(user: str, acl: Acl) -> AclBinding:
    return AclBinding(
        acl.resource, acl.name, ResourcePatternType.LITERAL, f"User:{user}", "*", acl.operation,
        AclPermissionType.ALLOW,
    )  # fmt: skip


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type, binding.principal,
        binding.host, binding.operation, binding.permission_type,
    )  # fmt: skip
