"""The scheduled run: what the script refuses before it starts, and what the CronJobs promise."""

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.retraining import SCRIPT, with_anoean

CRON_JOBS = SCRIPT.parent / "cronjob.yaml"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with the real command on PATH, and a folder for lock and checkpoint."""
    return {
        **with_anoean(tmp_path),
        "RETRAIN_DIR": str(tmp_path / "state"),
        "ANOEAN__REGISTRY__URL": str(tmp_path / "models"),
        "ANOEAN__BROKER__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "ANOEAN__BROKER__REQUEST_TIMEOUT_S": "1",
    }


def run(step: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), step],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("step", "said", "complaint"),
    [
        ("", {}, "expected train or promote, got ''"),
        ("deploy", {}, "expected train or promote, got 'deploy'"),
        ("train", {}, "RETRAIN_LABELS is not set"),
        ("train", {"RETRAIN_LABELS": "labels.csv"}, "RETRAIN_NORMAL_VALUE is not set"),
    ],
)
def test_a_wrong_call_ends_with_64_and_a_sentence(
    step: str, said: dict[str, str], complaint: str, environment: dict[str, str]
) -> None:
    done = run(step, environment | said)

    assert done.returncode == 64
    assert complaint in done.stderr


def test_a_second_run_ends_with_75_while_the_first_holds_the_lock(
    environment: dict[str, str],
) -> None:
    state = Path(environment["RETRAIN_DIR"])
    state.mkdir()
    with (state / "anoean.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = run("promote", environment)

    assert done.returncode == 75
    assert "another run for anoean is in progress" in done.stderr


def test_exit_codes_of_the_command_come_through_and_the_log_has_its_words(
    environment: dict[str, str], tmp_path: Path
) -> None:
    logs = tmp_path / "logs"

    done = run("promote", environment | {"RETRAIN_LOG_DIR": str(logs), "RETRAIN_WAIT": ""})

    assert done.returncode == 3  # there is no such model
    assert (done.stdout, done.stderr) == ("", "")
    (log,) = logs.iterdir()
    assert log.name.startswith("anoean-promote-")
    assert "no model 'anoean'" in log.read_text()
    assert "ended with exit code 3" in log.read_text()


def test_without_a_broker_training_ends_with_4(environment: dict[str, str]) -> None:
    said = {"RETRAIN_LABELS": "topic:labels", "RETRAIN_NORMAL_VALUE": "benign"}

    done = run("train", environment | said | {"RETRAIN_WARM_START": ""})

    assert done.returncode == 4


def test_what_is_missing_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    for tool in ("sh", "date"):
        (only / tool).symlink_to(shutil.which(tool) or tool)

    done = run("promote", environment | {"PATH": str(only)})

    assert done.returncode == 69
    assert "anoean is not installed" in done.stderr


def cron_jobs() -> dict[str, dict[str, Any]]:
    documents = list(yaml.safe_load_all(CRON_JOBS.read_text()))
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == "CronJob"}


def settings() -> dict[str, str]:
    documents = list(yaml.safe_load_all(CRON_JOBS.read_text()))
    (found,) = (one["data"] for one in documents if one["kind"] == "ConfigMap")
    return dict(found)


@pytest.mark.parametrize("name", ["anoean-retrain", "anoean-promote"])
def test_a_cron_job_runs_once_at_a_time_without_rights_on_a_read_only_disk(name: str) -> None:
    job = cron_jobs()[name]["spec"]
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert job["concurrencyPolicy"] == "Forbid"
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("name", ["anoean-retrain", "anoean-promote"])
def test_every_path_that_is_written_is_mounted_and_every_volume_is_used(name: str) -> None:
    pod = cron_jobs()[name]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    writable = {
        mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
    }

    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert writable == {"/models", "/tmp", settings()["RETRAIN_DIR"]}
    assert container["command"][-1] in SCRIPT.read_text()


def test_the_gate_may_wait_as_long_as_it_is_told_to() -> None:
    deadline_s = cron_jobs()["anoean-promote"]["spec"]["jobTemplate"]["spec"][
        "activeDeadlineSeconds"
    ]

    assert settings()["RETRAIN_WAIT"] == "6h"
    assert deadline_s > 6 * 3600


def test_every_setting_of_the_config_map_is_one_that_the_script_knows() -> None:
    script = SCRIPT.read_text()

    assert all(name in script for name in settings())
