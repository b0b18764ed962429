"""The jars of Apache Kafka in a cache folder, fetched once by Maven, and a class archive for quick starts.

Maven copies what deploy/kafka/pom.xml names. The first start of the broker then writes a class
data archive (about 50 MB), which takes a boot from 6 s to 2 s.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
POM: Final = REPOSITORY / "deploy" / "kafka" / "pom.xml"

MAVEN_TIMEOUT_S: Final = 600.0
"""Seconds Maven may take: 44 MB of jars; 6 s on a fast line, minutes on a slow one."""


class KafkaUnavailableError(RuntimeError):
    """No real broker can be had here; the message says what is missing."""


def cache_folder() -> Path:
    """Return where jars and archives are kept: ANOEAN_CACHE_DIR, or .cache in the repository."""
    root = os.environ.get("ANOEAN_CACHE_DIR")
    return (Path(root) if root else REPOSITORY / ".cache") / "kafka"


def java() -> str:
    """Return the path of a Java 17 or newer.

    Raises
    ------
    KafkaUnavailableError
        There is none, or it is too old for Kafka 4.
    """
    found = shutil.which("java")
    if found is None:
        msg = "no `java` on the PATH; Kafka 4.3 needs Java 17 or newer (Debian: apt install openjdk-17-jre-headless)"
        raise KafkaUnavailableError(msg)
    version = _java_version(found)
    first = next(iter(version.splitlines()), "")
    major = first.split('"')[1].split(".")[0] if '"' in first else "0"
    if not major.isdigit() or int(major) < 17:
        msg = f"`{found}` is {first or 'unreadable'}; Kafka 4.3 needs Java 17 or newer"
        raise KafkaUnavailableError(msg)
    return found


def _java_version(path: str) -> str:
    done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    return done.stderr or done.stdout


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two test runs at once fetch one copy."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def class_path() -> str:
    """Return the class path of the broker, fetching the jars when the cache has none.

    Raises
    ------
    KafkaUnavailableError
        Maven is missing or failed.
    """
    key = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    root = cache_folder()
    folder = root / f"jars-{key}"
    with locked(root):
        if not folder.is_dir():
            _fetch(folder)
    # Sorted and explicit: the class archive is bound to this very order.
    return os.pathsep.join(str(jar) for jar in sorted(folder.glob("*.jar")))


def _fetch(folder: Path) -> None:
    """Let Maven copy the jars beside the final folder, then rename: a half fetch is never used."""
    maven = shutil.which("mvn")
    if maven is None:
        msg = "no `mvn` on the PATH, and the jars of Kafka are not in the cache (Debian: apt install maven)"
        raise KafkaUnavailableError(msg)
    print(f"fetching the jars of Apache Kafka into {folder} (once, 44 MB)", file=sys.stderr)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        maven, "--batch-mode", "--quiet", "--file", str(POM), "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={partial}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        msg = f"Maven did not fetch the jars of Kafka within {MAVEN_TIMEOUT_S:.0f} s; try: {' '.join(command)}"
        raise KafkaUnavailableError(msg) from err
    if done.returncode != 0 or not any(partial.glob("kafka_*.jar")):
        tail = (done.stdout + done.stderr).strip()[-2000:]
        msg = f"Maven could not fetch the jars of Kafka (exit {done.returncode}): {tail}"
        raise KafkaUnavailableError(msg)
    partial.rename(folder)


def class_archive(classes: str) -> Path:
    """Return where the class archive for this Java and these jars is, or is to be written."""
    identity = hashlib.sha256(f"{_java_version(java())}{classes}".encode()).hexdigest()[:12]
    return cache_folder() / f"classes-{identity}.jsa"
