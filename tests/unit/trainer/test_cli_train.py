"""``anoean train``: what lands in the registry, on stdout and on stderr, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.cli import main
from anoean_stream.detector.bundle import read_bundle_folder
from anoean_stream.registry.evaluation import evaluation_info
from anoean_stream.registry.registry import Registry
from tests.support.labelled import WriteCsv, labelled_rows
from trainer import anoean

FAST = (
    "--set", "training.epochs=2", "--set", "training.encoder_hidden=[16]",
    "--set", "training.latent_dim=4", "--set", "training.false_positive_rate=0.01",
)  # fmt: skip

UNTOLD = ("--set", "topics.audit=null", "--set", "topics.control=null")
NO_GATE = ("--set", "gate.offline=false", "--set", "gate.online=false")

Train = Callable[..., int]


@pytest.fixture
def run_train(empty_folder: Path, write_csv: WriteCsv, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_folder / "cache"))
    flows = write_csv(labelled_rows(n_normals=600, n_anomalies=40))

    def run(*words: str) -> int:
        return main([
            "train", "--data", str(flows), "--label-column", "label", "--normal-value", "NORMAL",
            *FAST, *UNTOLD, *words,
        ])  # fmt: skip

    return run


def test_the_first_version_is_champion_and_a_later_one_only_when_promoted(
    run_train: Train, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(str(empty_folder / "models"))

    codes = [run_train("--json")]
    assert registry.aliases("anoean") == {"champion": "1"}
    codes.append(run_train("--json"))
    assert registry.aliases("anoean") == {"champion": "1"}
    codes.append(run_train("--json", "--promote", *NO_GATE))
    assert registry.aliases("anoean") == {"champion": "3", "previous": "1"}

    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert codes == [0, 0, 0]
    assert [(d["version"], d["champion"]) for d in documents] == [
        ("1", True),
        ("2", False),
        ("3", True),
    ]
    assert documents[0]["rows"] == 680
    assert documents[0]["metrics"]["aupr"] > 0.9
    assert documents[0]["seconds"] > 0
    published = read_bundle_folder(Path(documents[0]["bundle"]))
    assert published.manifest.metrics == documents[0]["metrics"]
    assert (Path(documents[0]["bundle"]) / "report" / "MODEL_CARD.md").is_file()


def test_a_later_version_that_the_gate_refuses_is_published_and_not_champion(
    run_train: Train, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train()
    capsys.readouterr()

    assert run_train("--promote", "--set", "gate.online=false") == 3

    said = capsys.readouterr()
    registry = Registry(str(empty_folder / "models"))
    assert registry.version_numbers("anoean") == ["1", "2"]
    assert registry.aliases("anoean") == {"champion": "1"}
    assert "anoean version 2 in" in said.out
    assert "version 2 of model 'anoean' is not promoted, champion stays 1" in said.err
    assert "gate.min_anomalies" in said.err  # of the set that the first training made


def test_a_person_sees_columns_epochs_and_the_result(
    run_train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_train("--name", "edge") == 0

    said = capsys.readouterr()
    assert "edge version 1 in" in said.out
    assert "left out 'src_ip': an address" in said.err
    assert "epoch   1  L_D" in said.err
    assert "it is champion: the first version of this model" in said.err


def test_out_writes_a_folder_and_no_registry(run_train: Train, empty_folder: Path) -> None:
    assert run_train("--out", "result") == 0

    assert read_bundle_folder(empty_folder / "result").manifest.name == "anoean"
    assert (empty_folder / "result" / "report" / "report.json").is_file()
    assert not (empty_folder / "models").exists()


def test_ctrl_c_publishes_the_best_model_without_promoting_it(
    run_train: Train,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    epoch = anoean._epoch

    def interrupted(
        state: anoean.AnoeanState, *args: object, number: int, **rest: object
    ) -> object:
        if number == 2:
            raise KeyboardInterrupt
        return epoch(state, *args, number=number, **rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(anoean, "_epoch", interrupted)
        assert run_train("--json") == 130

    said = capsys.readouterr()
    registry = Registry(str(empty_folder / "models"))
    assert json.loads(said.out)["interrupted"] is True
    assert "stopped by Ctrl-C after 1 epochs" in said.err
    assert registry.version_numbers("anoean") == ["1"]
    assert registry.aliases("anoean") == {}

    assert run_train("--resume") == 0
    assert "resuming after epoch 1" in capsys.readouterr().err
    assert not list((empty_folder / "cache").rglob("*.checkpoint"))


def test_held_out_rows_become_the_evaluation_set_and_are_never_trained_on(
    run_train: Train, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(str(empty_folder / "models"))
    assert run_train("--json") == 0
    first = evaluation_info(registry, "anoean")
    assert run_train("--json", "--set", "training.seed=3") == 0

    said = capsys.readouterr()
    assert first == evaluation_info(registry, "anoean") is not None
    assert "the model had no evaluation set: 136 held-out rows" in said.err
    assert "136 rows are in evaluation set 1 (identical in the 4 fields that both have)" in said.err
    documents = [json.loads(line) for line in said.out.splitlines()]
    named = {"number": 1, "sha256": first.sha256 if first else ""}
    assert [d["evaluation"] for d in documents] == [
        {**named, "rows_in_it": 0},
        {**named, "rows_in_it": 136},
    ]


def test_a_candidate_that_nobody_could_be_told_of_is_shadow_all_the_same(
    run_train: Train, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = (
        "--set",
        "broker.bootstrap_servers=127.0.0.1:1",
        "--set",
        "topics.audit=anomaly-audit",
    )

    assert run_train("--warm-start", "champion") == 3
    assert "no model 'anoean'" in capsys.readouterr().err
    assert run_train() == 0
    assert run_train("--publish-as", "shadow", "--warm-start", "champion", *nobody) == 0

    said = capsys.readouterr()
    registry = Registry(str(empty_folder / "models"))
    assert registry.aliases("anoean") == {"champion": "1", "shadow": "2"}
    assert registry.manifest("anoean", "2").training["warm_start"]["version"] == "1"
    assert "shadow names it now" in said.err
    assert "not told to anomaly-audit" in said.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--label-column", "class"), "no label column 'class'"),
        (("--normal-value", "7"), "no row is normal"),
        (("--dataset", "nsl-kdd"), "got both"),
        (("--features", "absent.yaml"), "cannot read the features file"),
        (("--out", "x", "--promote"), "drop one"),
        (("--resume",), "no checkpoint"),
        (("--out", "x", "--publish-as", "shadow"), "--publish-as moves an alias"),
        (("--publish-as", "champion"), "through `anoean models promote`"),
        (("--publish-as", "Shadow"), "expected an alias of small letters"),
        (("--publish-as", "shadow", "--promote"), "drop one"),
        (("--since", "1h", "--labels", "x.csv"), "--since, --labels: about a topic"),
        (("--trust-unlabelled",), "add --from-topic NAME"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    run_train: Train, words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_train(*words) == 2

    said = capsys.readouterr()
    assert complaint in said.err
    assert "Traceback" not in said.err
    assert not said.out
