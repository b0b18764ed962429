"""A record on its way out, before a topic and a producer are chosen for it."""

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class OutRecord:
    """One alert or one dead letter, ready to be sent.

    Parameters
    ----------
    key : bytes or None
        Kafka key; alerts of one source keep their order in one partition.
    value : bytes or None
        Payload; None only for the dead letter of a tombstone.
    headers : tuple of (str, bytes)
        Kafka headers, in order.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
