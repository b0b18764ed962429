"""Write the published JSON Schemas anew: ``python -m tests.support.schemas``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from anoean_stream.records.alert import alert_schema
from anoean_stream.records.audit import audit_schema
from anoean_stream.records.control import control_schema
from anoean_stream.records.notice import notice_schema
from anoean_stream.records.workerreport import worker_report_schema

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
ALERT_SCHEMA_FILE = FOLDER / "alert-1.0.json"
NOTICE_SCHEMA_FILE = FOLDER / "notice-1.0.json"
AUDIT_SCHEMA_FILE = FOLDER / "audit-1.0.json"
CONTROL_SCHEMA_FILE = FOLDER / "control-1.0.json"
WORKER_REPORT_SCHEMA_FILE = FOLDER / "worker-report-1.0.json"

PUBLISHED: Final[dict[Path, Callable[[], dict[str, Any]]]] = {
    ALERT_SCHEMA_FILE: alert_schema,
    NOTICE_SCHEMA_FILE: notice_schema,
    AUDIT_SCHEMA_FILE: audit_schema,
    CONTROL_SCHEMA_FILE: control_schema,
    WORKER_REPORT_SCHEMA_FILE: worker_report_schema,
}
"""File, and the function that renders it from the records' own type."""

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, schema in PUBLISHED.items():
        file.write_text(json.dumps(schema(), indent=2) + "\n")
        print(file)
