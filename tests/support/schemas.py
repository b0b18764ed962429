"""Write the published JSON Schemas anew: ``python -m tests.support.schemas``."""

import json
from pathlib import Path

from anoean_stream.records.alert import alert_schema

ALERT_SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "schemas" / "alert-1.0.json"

if __name__ == "__main__":
    ALERT_SCHEMA_FILE.parent.mkdir(parents=True, exist_ok=True)
    ALERT_SCHEMA_FILE.write_text(json.dumps(alert_schema(), indent=2) + "\n")
    print(ALERT_SCHEMA_FILE)
