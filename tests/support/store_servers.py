"""Real servers for registries: moto's S3 and MLflow, each a process in an environment of its own.

Their packages would not fit beside ours, so they get a virtual environment in the cache folder,
made once for each list of versions (store_servers.txt): 80 packages, about a minute.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Final, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.support.kafka_broker import free_port
from tests.support.kafka_jars import REPOSITORY, locked
from tests.support.lifetime import die_with_parent
from tests.support.waiting import wait_until

PACKAGES: Final = Path(__file__).with_suffix(".txt")

INSTALL_TIMEOUT_S: Final = 400.0
"""Seconds that pip may take: a minute on a free machine, four on a busy one."""

START_TIMEOUT_S: Final = 90.0
"""Seconds until a server must answer: 10 on a free machine, most of it imports of MLflow."""

S3_PROGRAM: Final = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
app, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_at_a_time(environ, start_response):
    with turn:  # S3 decides one conditional write after the other; moto alone would not
        return list(app(environ, start_response))
make_server("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True).serve_forever()
"""


class ServersUnavailableError(RuntimeError):
    """The servers' packages cannot be had here; the message says why."""


def python() -> Path:
    """Return the Python of the servers' environment, which is made when the cache has none.

    Raises
    ------
    ServersUnavailableError
        pip could not install the packages.
    """
    root = os.environ.get("ANOEAN_CACHE_DIR")
    folder = (Path(root) if root else REPOSITORY / ".cache") / "stores"
    identity = f"{sys.version_info[:2]}{PACKAGES.read_text(encoding='utf-8')}"
    home = folder / f"servers-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    with locked(folder):
        if not (home / "whole").exists():
            _install(home)
    return home / "bin" / "python"


def _install(home: Path) -> None:
    """Make the environment; the stamp is written last, so that half of one is never used."""
    print(f"installing moto and MLflow into {home} (once, 80 packages)", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [*pip, "--no-deps", "--requirement", str(PACKAGES)],
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            msg = f"not done within {INSTALL_TIMEOUT_S:.0f} s: {' '.join(command)}"
            raise ServersUnavailableError(msg) from error
        if done.returncode != 0:
            tail = (done.stdout + done.stderr).strip()[-1500:]
            msg = f"exit {done.returncode} of {' '.join(command)}: {tail}"
            raise ServersUnavailableError(msg)
    (home / "whole").touch()


class Server:
    """A process that answers HTTP on a port of its own; stop it and start it again.

    Parameters
    ----------
    folder : Path
        Where its data and its log are.
    """

    ready_path = "/"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, python_path: Path) -> list[str]:
        """Return how to start it."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it, and return when it answers."""
        interpreter = python()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self.command(interpreter),
            cwd=self.folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": "",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it calls into the C library only
            start_new_session=True,
        )
        wait_until(
            self._answers,
            within_s=START_TIMEOUT_S,
            what=f"{self.command(interpreter)} answers",
            hint=self.tail,
        )
        return self

    def stop(self) -> None:
        """End it with all its processes; its data stays where it keeps any."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, 9)
            except ProcessLookupError:
                print("the server had ended by itself", self.tail(), file=sys.stderr)
            self._process.wait(10)
            self._process = None
        if self._log is not None:
            self._log.close()

    def tail(self) -> str:
        """Return the end of its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended: {self.tail()}"
        try:
            with urlopen(self.address + self.ready_path, timeout=5) as answer:  # noqa: S310 - http, and our own server
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


class S3Server(Server):
    """moto's S3, in memory, one request at a time."""

    def command(self, python_path: Path) -> list[str]:
        """Return how to start it."""
        return [str(python_path), "-c", S3_PROGRAM, str(self.port)]

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        request = Request(f"{self.address}/{name}", method="PUT")  # noqa: S310 - the same
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            assert answer.status == 200

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }


class MlflowServer(Server):
    """``mlflow server`` on SQLite, with artifacts in a folder."""

    ready_path = "/health"

    def command(self, python_path: Path) -> list[str]:
        """Return how to start it."""
        return [
            str(python_path), "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """What registry.url is for it."""
        return f"mlflow+{self.address}"
