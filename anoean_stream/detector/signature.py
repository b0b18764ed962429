"""Who vouches for a bundle: Ed25519 signatures over its manifest, whose digests cover the rest.

``manifest.sig`` lies beside the manifest and is not among the files that it names, so a version that
is already published can be signed, or signed by one more key, without being changed::

    {
        "format_version": 1,
        "algorithm": "ed25519",
        "signatures": [{"key_id": "0f3a...", "signature": "<base64>"}],
    }

What is signed is a context string and then the bytes of manifest.json: a signature made for
anything else is none for a bundle, and the other way round. A key is named by the first 16
hexadecimal digits of the sha256 of its 32 bytes; that is a name, the check is always by the key.

The package cryptography (extra ``signing``) is imported by the functions that need it.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from anoean_stream.errors import ConfigError, SignatureError, brief

PublicKey = Any
"""An Ed25519PublicKey; its class is imported only where somebody asked for signatures."""

SIGNATURE: Final = "manifest.sig"

SIGNATURE_MAX_BYTES: Final = 16_384
"""Largest signature file, bytes; one signature takes 150."""

MAX_SIGNATURES: Final = 32
"""Signatures of one bundle: a few while keys are changed."""

_CONTEXT: Final = b"anoean bundle manifest, ed25519, version 1\0"

_KEY_BYTES: Final = 32

_PEM_MAX_BYTES: Final = 16_384
"""Largest key file, bytes; an Ed25519 key takes 120."""

_INSTALL: Final = "install it with: pip install 'anoean-stream[signing]'"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key's signature.

    Parameters
    ----------
    key_id : str
        Which key, 16 hexadecimal digits.
    signature : str
        Base64 of 64 bytes.
    """

    key_id: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    signature: Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{86}==$")]


class SignatureFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Content of ``manifest.sig``.

    Parameters
    ----------
    format_version : int
        1.
    algorithm : str
        ``"ed25519"``.
    signatures : tuple of Signature
        One for each key, at most `MAX_SIGNATURES`.
    """

    format_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=MAX_SIGNATURES)] = ()

    @classmethod
    def from_json(cls, data: bytes, *, origin: str) -> "SignatureFile":
        """Read what `to_json` wrote.

        Raises
        ------
        SignatureError
            When it is no signature file.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = (
                f"{origin}: {SIGNATURE} is no signature file: {brief(error)}; sign the version "
                "again with `anoean models sign`"
            )
            raise SignatureError(message, file=SIGNATURE) from error

    def to_json(self) -> bytes:
        """Return JSON for people: indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def with_signature(self, signature: Signature) -> "SignatureFile":
        """Return the file with one more signature, in place of an older one by the same key."""
        others = [kept for kept in self.signatures if kept.key_id != signature.key_id]
        return msgspec.structs.replace(self, signatures=(*others, signature))


class TrustedKeys:
    """The public keys of which one must have signed a bundle.

    Immutable; `check` takes a tenth of a millisecond and may be called from any thread.

    Parameters
    ----------
    keys : sequence of str
        Each the base64 of a public key, as ``anoean models keygen`` prints it, or the path of a
        PEM file with one.

    Raises
    ------
    ConfigError
        When one is neither, or the package cryptography is not installed.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = {
            key_id(key): key
            for key in (_public_key(text, place=place) for place, text in enumerate(keys, start=1))
        }

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Names of the keys."""
        return tuple(self._keys)

    def check(self, manifest: bytes, signature: bytes | None, *, origin: str) -> str:
        """Return the name of a trusted key that signed a manifest.

        Parameters
        ----------
        manifest, signature : bytes
            Of manifest.json and manifest.sig; None when there is no such file.
        origin : str
            Where they come from; begins every message.

        Raises
        ------
        SignatureError
            When no trusted key signed these very bytes.
        """
        trusted = ", ".join(self._keys)
        if signature is None:
            message = (
                f"{origin}: {SIGNATURE} is missing: the bundle is not signed, and "
                f"registry.trusted_keys asks for a signature by {trusted}; sign it with "
                "`anoean models sign NAME VERSION --key FILE` once you know where it comes from"
            )
            raise SignatureError(message, file=SIGNATURE)
        found = SignatureFile.from_json(signature, origin=origin).signatures
        by_trusted = [one for one in found if one.key_id in self._keys]
        if not by_trusted:
            signers = ", ".join(one.key_id for one in found) or "nobody"
            message = (
                f"{origin}: {SIGNATURE} has signatures by {signers}, none of registry.trusted_keys "
                f"({trusted}); sign it with a trusted key, or add the signer's public key to them"
            )
            raise SignatureError(message, file=SIGNATURE)
        for one in by_trusted:
            if _is_valid(self._keys[one.key_id], one, manifest):
                return one.key_id
        message = (
            f"{origin}: {SIGNATURE} is not the signature of this manifest.json by "
            f"{by_trusted[0].key_id}: one of the two was changed or exchanged; copy the version "
            "again from where it was signed, and find out who changed it"
        )
        raise SignatureError(message, file=SIGNATURE)


def new_private_key(path: Path) -> str:
    """Write a new private key to a file that only its owner can read; return the public key.

    Parameters
    ----------
    path : Path
        A new file; PEM (PKCS #8), not encrypted.

    Returns
    -------
    str
        Base64 of the public key, for ``registry.trusted_keys``.

    Raises
    ------
    ConfigError
        When the file is there already or cannot be written, or cryptography is not installed.
    """
    serialization, ed25519 = _cryptography()
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        # O_EXCL: never over another key, nor through a link.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        remedy = "give the name of a new file" if path.exists() else "choose another folder"
        message = f"cannot write a key to {path} ({error.strerror}); {remedy}"
        raise ConfigError(message) from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(handle)
    return public_text(private.public_key())


def sign_manifest(manifest: bytes, key_file: Path) -> Signature:
    """Return the signature of a manifest by the private key in a PEM file.

    Raises
    ------
    ConfigError
        When the file is no Ed25519 private key, or cryptography is not installed.
    """
    private = _private_key(key_file)
    signature = private.sign(_CONTEXT + manifest)
    return Signature(
        key_id=key_id(private.public_key()), signature=base64.b64encode(signature).decode()
    )


def public_text(key: PublicKey) -> str:
    """Return a public key as settings have it: base64 of its 32 bytes."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def key_id(key: PublicKey) -> str:
    """Return the name of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def key_id_of_text(public: str) -> str:
    """Return the name of a public key given as base64."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def _is_valid(key: PublicKey, signature: Signature, manifest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature.signature), _CONTEXT + manifest)
    except InvalidSignature:
        return False
    return True


def _public_key(text: str, *, place: int) -> PublicKey:
    serialization, ed25519 = _cryptography(why="registry.trusted_keys is set, but ")
    where = f"registry.trusted_keys, key {place}"
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) == _KEY_BYTES:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    pem = _read_pem(Path(text), what=f"{where}: {text[:100]!r} is no base64 of 32 bytes, and")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError) as error:
        remedy = (
            "that is a PRIVATE key: keep it away from workers, and give its public key"
            if b"PRIVATE KEY" in pem
            else "give the public key that `anoean models keygen` printed"
        )
        message = f"{where}: {text[:100]} is no PEM file of a public key; {remedy}"
        raise ConfigError(message) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        message = f"{where}: {text[:100]} is no Ed25519 key; make one with `anoean models keygen`"
        raise ConfigError(message)
    return key


def _private_key(path: Path) -> Any:
    serialization, ed25519 = _cryptography()
    pem = _read_pem(path, what="the key")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        message = (
            f"{path} is no PEM file of a private key without password; make one with "
            "`anoean models keygen`"
        )
        raise ConfigError(message) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        message = f"{path} is no Ed25519 key; make one with `anoean models keygen`"
        raise ConfigError(message)
    return key


def _read_pem(path: Path, *, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEM_MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"{what} {str(path)[:100]} cannot be read as a PEM file: {reason}"
        raise ConfigError(message) from error


def _cryptography(*, why: str = "") -> tuple[Any, Any]:
    """Return the two modules, or say how to install them."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        message = f"{why}signatures need the package cryptography ({error}); {_INSTALL}"
        raise ConfigError(message) from error
    return serialization, ed25519
