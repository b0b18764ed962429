"""The examples of docs/features.md and docs/bundle.md run, and print what they say."""

import re
from pathlib import Path

import pytest

from tests.support.models import make_bundle

DOCS = Path(__file__).parents[3] / "docs"


def example_of(page: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return str(code)


def test_the_example_of_the_features_page_prints_what_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = example_of("features.md")
    said = [line.partition("# ")[2].partition(":")[0] for line in code.splitlines() if "# " in line]

    exec(code, {})  # noqa: S102  # our own page

    assert capsys.readouterr().out.splitlines() == said


def test_the_example_of_the_bundle_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "models/anoean/versions/1")
    monkeypatch.chdir(tmp_path)

    exec(example_of("bundle.md"), {})  # noqa: S102  # our own page

    assert "Scores(distance_B=" in capsys.readouterr().out
