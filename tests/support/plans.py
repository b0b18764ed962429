"""Plans for `WorkerProcess`: settings for quick rebalances and small chunks."""

from typing import Any, Literal

Protocol = Literal["range", "cooperative-sticky", "KIP-848"]


def worker_plan(
    bootstrap: str,
    topic: str,
    group: str,
    *,
    protocol: Protocol = "cooperative-sticky",
    chunk_max_records: int = 500,
    chunks_in_flight: int = 4,
    session_timeout_s: float = 6.0,
    shutdown_deadline_s: float = 10.0,
    options: dict[str, str] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Return a plan; `rest` are the keys of `tests.support.chunk_worker`."""
    consumer: dict[str, Any] = {
        "group_id": group,
        "commit_interval_s": 0.2,
        "chunk_max_records": chunk_max_records,
        "chunks_in_flight": chunks_in_flight,
        "session_timeout_s": session_timeout_s,
        "heartbeat_interval_s": session_timeout_s / 6,
        "options": options or {},
    }
    if protocol == "KIP-848":
        consumer["group_protocol"] = "consumer"
    else:
        consumer["assignment_strategy"] = protocol
    settings = {
        "broker": {"bootstrap_servers": bootstrap, "request_timeout_s": 10.0},
        "consumer": consumer,
        "worker": {"shutdown_deadline_s": shutdown_deadline_s},
    }
    return {"settings": settings, "topic": topic, **rest}
