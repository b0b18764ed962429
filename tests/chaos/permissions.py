"""Permissions that are taken away for a while; needs a broker with an authorizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.support.waiting import wait_until

GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Properties of a broker that asks an authorizer, and lets everybody do what no ACL is about."""


@contextmanager
def denied_to_write(admin: AdminClient, topic: str) -> Iterator[None]:
    """Forbid everybody to write to a topic."""
    where = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL)
    deny = AclBinding(*where, "User:ANONYMOUS", "*", AclOperation.WRITE, AclPermissionType.DENY)
    anybody: Any = None
    mine = AclBindingFilter(*where, anybody, anybody, AclOperation.ANY, AclPermissionType.ANY)
    admin.create_acls([deny])[deny].result(20)
    _wait_for(admin, mine, 1)
    try:
        yield
    finally:
        admin.delete_acls([mine])[mine].result(20)
        _wait_for(admin, mine, 0)


def _wait_for(admin: AdminClient, mine: AclBindingFilter, n_acls: int) -> None:
    wait_until(
        lambda: len(admin.describe_acls(mine).result(20)) == n_acls,
        what=f"{n_acls} ACLs",
        within_s=20,
    )
