"""A registry in the model registry of an MLflow server.

::

    <name>/versions/<n>/...        model version n of the registered model <name>; its files are
                                   artifacts of the run that it came from
    <name>/aliases/<alias>.json    the alias; who moved it, and why, is the tag anoean.alias.<alias>
    <name>/threshold.json, ...     a tag anoean.file.<path>: the text, or the artifact that holds it

A version counts as whole when it has the tag ``anoean.whole``, which it gets in the very write that
creates it. Versions without ``anoean.artifacts`` are somebody else's and not seen.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import ClassVar, Final, NoReturn
from uuid import uuid4

import msgspec
import urllib3

from anoean_stream.detector.confinedfiles import too_large
from anoean_stream.errors import RegistryError, brief
from anoean_stream.registry.layout import MANIFEST, is_version
from anoean_stream.registry.mlflowaliases import alias_bytes, alias_tag, alias_tag_value
from anoean_stream.registry.mlflowclient import MlflowClient, MlflowError
from anoean_stream.registry.mlflowmodels import (
    ARTIFACTS,
    FOLDER,
    WHOLE,
    MlflowModels,
    aliases_of,
    tags_of,
)
from anoean_stream.registry.promises import FolderFacts, ordered

_FILE: Final = "anoean.file."

_INLINE_MAX_CHARS: Final = 4900
"""Longest value of a tag; MLflow's databases take 5000. What is longer becomes an artifact."""


_LOOKS: Final = 5
"""Writers that may replace a file in a row while one reader tries to read it."""


class _Pointer(msgspec.Struct, omit_defaults=True):
    """Value of a tag ``anoean.file.``: the text itself, or where it is."""

    text: str | None = None
    artifact: str | None = None


class MlflowStore:
    """The model registry of one server.

    MLflow gives the numbers and never the same twice. Each file is decided by one tag, so a reader
    sees the old one or the new. MLflow cannot compare and write in one request: between the two
    steps of `exchange` lies a round trip in which another process may write.

    Parameters
    ----------
    url : str
        ``mlflow+http://host:5000`` or ``mlflow+https://...``.
    shown : str
        The name to use in messages, without user and password.

    Raises
    ------
    ValueError
        When the URL names no host.
    """

    exchanges_atomically: ClassVar[bool] = False

    _writing = threading.Lock()  # at least the threads of this process do not overtake each other

    def __init__(self, url: str, *, shown: str) -> None:
        self.url = shown
        self._client = MlflowClient(url.removeprefix("mlflow+"))
        self._server = MlflowModels(self._client)

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        with self._errors("look for", path):
            match path.split("/"):
                case [""]:
                    return any(self._server.models())
                case [name, "versions", number]:
                    return ARTIFACTS in self._server.version_tags(name, number)
                case [name, "versions", number, file] if file == MANIFEST:
                    return WHOLE in self._server.version_tags(name, number)
            folder, _, file = path.rpartition("/")
            return file in self.children(folder) or bool(self.children(path))

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""
        with self._errors("list", folder):
            match folder.split("/"):
                case [""]:
                    names = set(self._server.models())
                case [name, "versions"]:
                    names = {str(one["version"]) for one in self._server.versions(name)}
                case [name, "versions", number, *rest]:
                    names = self._files_of_version(name, number, rest)
                case [name, "aliases"]:
                    names = {f"{alias}.json" for alias in aliases_of(self._server.model(name))}
                case [name, *rest]:
                    names = _names_below(tags_of(self._server.model(name)), rest)
                    if not rest:
                        names |= {"aliases"} if aliases_of(self._server.model(name)) else set()
                        names |= {"versions"} if any(self._server.versions(name)) else set()
        return sorted(names)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""
        with self._errors("read", path):
            match path.split("/"):
                case [name, "versions", number, *rest] if rest:
                    tags = self._server.version_tags(name, number)
                    if WHOLE not in tags:
                        raise FileNotFoundError(path)
                    file = "/".join(rest)
                    data = self._pointed(tags, file, max_bytes=max_bytes)
                    if data is None:
                        where = f"{tags[ARTIFACTS]}/{file}"
                        data = self._client.download(where, max_bytes=max_bytes)
                case [name, "aliases", file]:
                    data = self._alias(name, file.removesuffix(".json"))
                case [name, *rest]:
                    data = self._file_of_model(name, "/".join(rest), max_bytes=max_bytes)
            if data is None:
                raise FileNotFoundError(path)
            if len(data) > max_bytes:
                shown = f"{self.url.rstrip('/')}/{path}"
                raise RegistryError(too_large(shown, len(data), max_bytes=max_bytes))
        return data

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        """Upload the files as artifacts of a new run, then create the version that names them.

        Only the second step makes it visible, so a version is whole from the first moment. Folders of
        other things than versions (evaluation sets) are files like any other, `last` written last: of
        two writers at once, within a round trip of each other, both may take the same number.
        """
        name, _, kind = folder.partition("/")
        if kind != "versions":
            return self._add_files(folder, files, last=last)
        with self._errors("write", folder):
            self._server.ensure_model(name)
            run, uri = self._server.new_run(name)
            where = f"{self._server.artifact_path(uri)}/{FOLDER}"
            for file in ordered(files, last):
                self._client.upload(f"{where}/{file}", files[file])
            created = self._client.post(
                "model-versions/create",
                name=name,
                source=f"{uri}/{FOLDER}",
                run_id=run,
                tags=[{"key": ARTIFACTS, "value": where}, {"key": WHOLE, "value": "true"}],
            )
            self._server.finish_run(run)
        return int(created["model_version"]["version"])

    def _add_files(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        with self._errors("write", folder), self._writing:
            number = max([0, *(int(one) for one in self.children(folder) if is_version(one))]) + 1
            for file in ordered(files, last):
                self._write(f"{folder}/{number}/{file}", files[file])
        return number

    def replace(self, path: str, data: bytes) -> None:
        """Write a file: what is large is uploaded under a new name, then one tag names it."""
        with self._errors("write", path), self._writing:
            self._write(path, data)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare, then write: between the two lies a round trip in which another may write."""
        with self._errors("write", path), self._writing:
            try:
                found = self.read(path, max_bytes=2**30)
            except FileNotFoundError:
                found = None
            if found != expected:
                return False
            self._write(path, data)
        return True

    def remove(self, path: str) -> bool:
        """Remove a file; removing a version's manifest hides the whole version."""
        with self._errors("remove", path), self._writing:
            match path.split("/"):
                case [name, "aliases", file]:
                    alias = file.removesuffix(".json")
                    if alias not in aliases_of(self._server.model(name)):
                        return False
                    self._client.delete("registered-models/alias", name=name, alias=alias)
                    self._server.untag_model(name, alias_tag(alias))
                    return True
                case [name, "versions", number, *rest] if rest:
                    file = "/".join(rest)
                    tag = WHOLE if file == MANIFEST else f"{_FILE}{file}"
                    if tag not in self._server.version_tags(name, number):
                        return False
                    self._client.delete(
                        "model-versions/delete-tag", name=name, version=number, key=tag
                    )
                    return True
                case [name, *rest]:
                    tags = tags_of(self._server.model(name))
                    tag = f"{_FILE}{'/'.join(rest)}"
                    if tag not in tags:
                        return False
                    self._server.untag_model(name, tag)
                    self._forget(tags.get(tag))
                    return True
        return False

    def facts(self, folder: str) -> FolderFacts:
        """Return size and time of a version; of other folders nothing is known."""
        with self._errors("list", folder):
            match folder.split("/"):
                case [name, "versions", number]:
                    version = self._server.version(name, number)
                    if version is None or ARTIFACTS not in tags_of(version):
                        return FolderFacts(0, None)
                    created_s = int(version["creation_timestamp"]) / 1000
                    return FolderFacts(
                        self._server.size_bytes(tags_of(version)[ARTIFACTS]),
                        datetime.fromtimestamp(created_s, UTC),
                    )
        return FolderFacts(0, None)

    def remove_folder(self, folder: str) -> None:
        """Remove a version, then its artifacts and its run; MLflow never gives its number again."""
        name, _, number = folder.split("/")
        with self._errors("remove", folder):
            version = self._server.version(name, number)
            if version is None or ARTIFACTS not in tags_of(version):
                return
            self._client.delete("model-versions/delete", name=name, version=number)
            self._server.remove_run(version["run_id"], tags_of(version)[ARTIFACTS])

    def tidy(self, folder: str, *, before: datetime) -> int:
        """Remove runs that never became a version: their publisher died."""
        name, _, kind = folder.partition("/")
        if kind != "versions":
            return 0
        freed_bytes = 0
        with self._errors("remove", folder):
            try:
                experiment = self._server.experiment(name)
            except FileNotFoundError:
                return 0
            found = self._client.post(
                "runs/search",
                experiment_ids=[experiment],
                filter=f"attributes.start_time < {round(before.timestamp() * 1000)}",
                max_results=1000,
            )
            used = {one["run_id"] for one in self._server.versions(name)}
            for run in (one["info"] for one in found.get("runs", [])):
                if run["run_id"] not in used:
                    where = f"{self._server.artifact_path(run['artifact_uri'])}/{FOLDER}"
                    freed_bytes += self._server.size_bytes(where)
                    self._server.remove_run(run["run_id"], where)
        return freed_bytes

    def _files_of_version(self, name: str, number: str, rest: list[str]) -> set[str]:
        tags = self._server.version_tags(name, number)
        if WHOLE not in tags:
            return set()
        listed = self._client.artifacts("/".join([tags[ARTIFACTS], *rest]))
        found = {str(one["path"]).rpartition("/")[2] for one in listed}
        return found | _names_below(tags, rest)

    def _alias(self, name: str, alias: str) -> bytes | None:
        model = self._server.model(name)
        version = aliases_of(model).get(alias)
        if version is None:
            return None
        return alias_bytes(version, tags_of(model).get(alias_tag(alias)))

    def _file_of_model(self, name: str, file: str, *, max_bytes: int) -> bytes | None:
        """Return a file beside the versions; None when there is none."""
        for attempt in range(_LOOKS):
            try:
                tags = tags_of(self._server.model(name))
                return self._pointed(tags, file, max_bytes=max_bytes)
            except FileNotFoundError:
                # Between our two requests a writer named another artifact and removed this one.
                if attempt == _LOOKS - 1:
                    raise
        return None

    def _pointed(self, tags: Mapping[str, str], file: str, *, max_bytes: int) -> bytes | None:
        """Return the file that a tag holds or names; None when there is no such tag."""
        value = tags.get(f"{_FILE}{file}")
        if value is None:
            return None
        pointer = msgspec.json.decode(value, type=_Pointer)
        if pointer.artifact is not None:
            return self._client.download(pointer.artifact, max_bytes=max_bytes)
        return (pointer.text or "").encode()

    def _write(self, path: str, data: bytes) -> None:
        match path.split("/"):
            case [name, "aliases", file]:
                self._write_alias(name, file.removesuffix(".json"), data)
            case [name, "versions", number, *rest] if rest == [MANIFEST]:
                tags = self._server.version_tags(name, number)
                self._client.upload(f"{tags[ARTIFACTS]}/{MANIFEST}", data)
                self._server.tag_version(name, number, WHOLE, "true")
            case [name, "versions", number, *rest] if rest:
                value = self._pointer(name, data)
                self._server.tag_version(name, number, f"{_FILE}{'/'.join(rest)}", value)
            case [name, *rest]:
                self._server.ensure_model(name)
                tag = f"{_FILE}{'/'.join(rest)}"
                before = tags_of(self._server.model(name)).get(tag)
                value = self._pointer(name, data)
                self._client.post("registered-models/set-tag", name=name, key=tag, value=value)
                self._forget(before)

    def _write_alias(self, name: str, alias: str, data: bytes) -> None:
        """Write the record first; moving the alias is the step that makes it count."""
        model = self._server.model(name)
        before = alias_bytes(aliases_of(model).get(alias), tags_of(model).get(alias_tag(alias)))
        version, value = alias_tag_value(data, before=before)
        self._client.post(
            "registered-models/set-tag", name=name, key=alias_tag(alias), value=value
        )  # fmt: skip
        self._client.post("registered-models/alias", name=name, alias=alias, version=version)

    def _pointer(self, name: str, data: bytes) -> str:
        """Return the value of a tag for a file, after uploading what is too long for a tag."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None
        if text is not None:
            value = msgspec.json.encode(_Pointer(text=text)).decode()
            if len(value) <= _INLINE_MAX_CHARS:
                return value
        where = f"anoean/{name}/{uuid4().hex}"
        self._client.upload(where, data)
        return msgspec.json.encode(_Pointer(artifact=where)).decode()

    def _forget(self, value: str | None) -> None:
        """Remove the artifact that a tag named before."""
        if value is not None and (old := msgspec.json.decode(value, type=_Pointer).artifact):
            self._client.remove_artifacts(old)

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if verb == "read":
                raise
            self._fail(verb, path, error)
        except (MlflowError, urllib3.exceptions.HTTPError, msgspec.DecodeError, KeyError) as error:
            self._fail(verb, path, error)

    def _fail(self, verb: str, path: str, error: Exception) -> NoReturn:
        if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
            error = error.reason
        message = (
            f"registry {self.url}: cannot {verb} {path or 'models'} ({type(error).__name__}: "
            f"{brief(error)}); check that `mlflow server` answers there, and its login "
            f"(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD), or set registry.url to another one"
        )
        raise RegistryError(message) from error


def _names_below(tags: Mapping[str, str], folder: list[str]) -> set[str]:
    prefix = "".join(f"{part}/" for part in folder)
    files = [key.removeprefix(_FILE) for key in tags if key.startswith(_FILE)]
    return {
        file.removeprefix(prefix).partition("/")[0] for file in files if file.startswith(prefix)
    }
