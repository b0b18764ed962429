"""A notice on the alerts topic is told from an alert, and read by a person."""

import json
from datetime import UTC, datetime

from anoean_stream.cli.alert_view import is_notice, notice_line
from anoean_stream.records.notice import write_notice


def test_notice_is_one_line_with_share_count_and_reason() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    record = write_notice(
        "continues",
        at=at,
        episode_started_at=at,
        sample_share=0.1,
        reason="7 records behind",
        dropped_in_episode=900,
        gaps=(),
        worker_id="edge-1",
    )
    notice = json.loads(record.value or b"")

    line = notice_line(notice)

    assert is_notice(notice)
    assert not is_notice({"event_kind": "alert"})
    assert "sampling continues on edge-1: only 10% of the records scored, 900 dropped" in line
    assert "7 records behind" in line
