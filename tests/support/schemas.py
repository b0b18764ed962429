"""Write the published JSON Schemas anew: ``python -m tests.support.schemas``."""

import json
from pathlib import Path

from anoean_stream.records.alert import alert_schema
from anoean_stream.records.notice import notice_schema

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
ALERT_SCHEMA_FILE = FOLDER / "alert-1.0.json"
NOTICE_SCHEMA_FILE = FOLDER / "notice-1.0.json"

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, schema in (
        (ALERT_SCHEMA_FILE, alert_schema()),
        (NOTICE_SCHEMA_FILE, notice_schema()),
    ):
        file.write_text(json.dumps(schema, indent=2) + "\n")
        print(file)
