"""A signature vouches for one manifest, by one trusted key, and for nothing else."""

import base64
import json
import stat
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.detector.bundle import MANIFEST
from anoean_stream.detector.signature import (
    _CONTEXT,
    MAX_SIGNATURES,
    SIGNATURE,
    Signature,
    SignatureFile,
    TrustedKeys,
    key_id_of_text,
    new_private_key,
    sign_manifest,
)
from anoean_stream.errors import ConfigError, SignatureError
from tests.support.fuzzing import fuzz
from tests.support.hostile import Edit, edited, edits
from tests.support.models import make_bundle

ORIGIN = "models/edge/versions/7"
DATA = b'{"manifest": 1}'


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """A key file and its public key."""
    return tmp_path / "key.pem", new_private_key(tmp_path / "key.pem")


def signed(data: bytes, *files: Path) -> bytes:
    file = SignatureFile()
    for path in files:
        file = file.with_signature(sign_manifest(data, path))
    return file.to_json()


def refused(trusted: TrustedKeys, data: bytes, signature: bytes | None) -> str:
    with pytest.raises(SignatureError) as caught:
        trusted.check(data, signature, origin=ORIGIN)
    assert caught.value.file == SIGNATURE
    assert str(caught.value).startswith(f"{ORIGIN}: {SIGNATURE}")
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_a_trusted_key_is_named(key: tuple[Path, str]) -> None:
    file, public = key

    assert TrustedKeys([public]).check(DATA, signed(DATA, file), origin=ORIGIN) == key_id_of_text(
        public
    )


def test_the_private_key_is_for_its_owner_only_and_never_written_over(
    key: tuple[Path, str],
) -> None:
    file, _ = key

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="name of a new file"):
        new_private_key(file)
    assert file.read_bytes() == before


def test_an_unsigned_bundle_is_refused(key: tuple[Path, str]) -> None:
    sentence = refused(TrustedKeys([key[1]]), DATA, None)

    assert "is not signed" in sentence
    assert "anoean models sign" in sentence


def test_another_key_is_refused(key: tuple[Path, str], tmp_path: Path) -> None:
    other = new_private_key(tmp_path / "other.pem")

    sentence = refused(TrustedKeys([key[1]]), DATA, signed(DATA, tmp_path / "other.pem"))

    assert key_id_of_text(other) in sentence
    assert key_id_of_text(key[1]) in sentence


def test_the_name_of_a_trusted_key_on_a_signature_of_another_is_refused(
    key: tuple[Path, str], tmp_path: Path
) -> None:
    new_private_key(tmp_path / "other.pem")
    forged = sign_manifest(DATA, tmp_path / "other.pem")
    file = SignatureFile(signatures=(Signature(key_id_of_text(key[1]), forged.signature),))

    assert "is not the signature of this" in refused(TrustedKeys([key[1]]), DATA, file.to_json())


@fuzz(100)
@given(todo=edits)
def test_any_change_of_the_manifest_is_refused(
    tmp_path_factory: pytest.TempPathFactory, todo: list[Edit]
) -> None:
    folder = tmp_path_factory.mktemp("key")
    trusted = TrustedKeys([new_private_key(folder / "key.pem")])
    signature = signed(DATA, folder / "key.pem")
    changed = edited(DATA, todo)
    if changed != DATA:
        refused(trusted, changed, signature)


@fuzz(200)
@given(todo=edits, other=st.binary(max_size=80))
def test_any_change_of_the_signature_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, todo: list[Edit], other: bytes
) -> None:
    folder = tmp_path_factory.mktemp("key")
    trusted = TrustedKeys([new_private_key(folder / "key.pem")])
    signature = signed(DATA, folder / "key.pem")

    refused(trusted, DATA, other)
    changed = edited(signature, todo)
    try:
        trusted.check(DATA, changed, origin=ORIGIN)
    except SignatureError:
        return
    # Blanks between the words, or base64 in which the last letter has unused bits.
    assert json.loads(changed)["signatures"][0]["key_id"] == trusted.key_ids[0]


def test_a_signature_for_something_else_is_none_for_a_bundle(key: tuple[Path, str]) -> None:
    file, public = key
    private = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    bare = base64.b64encode(private.sign(DATA)).decode()
    forged = SignatureFile(signatures=(Signature(key_id_of_text(public), bare),))

    refused(TrustedKeys([public]), DATA, forged.to_json())
    # And what was signed for a bundle says so: it verifies only with the context before it.
    ours = base64.b64decode(sign_manifest(DATA, file).signature)
    private.public_key().verify(ours, _CONTEXT + DATA)


def test_two_keys_while_one_replaces_the_other(key: tuple[Path, str], tmp_path: Path) -> None:
    old_file, old = key
    new_file = tmp_path / "new.pem"
    new = new_private_key(new_file)

    for data in (signed(DATA, old_file), signed(DATA, new_file)):
        TrustedKeys([old, new]).check(DATA, data, origin=ORIGIN)
    both = signed(DATA, old_file, new_file)
    assert TrustedKeys([old]).check(DATA, both, origin=ORIGIN) == key_id_of_text(old)
    assert TrustedKeys([new]).check(DATA, both, origin=ORIGIN) == key_id_of_text(new)
    refused(TrustedKeys([new]), DATA, signed(DATA, old_file))


def test_signing_again_with_one_key_leaves_one_signature(key: tuple[Path, str]) -> None:
    assert len(json.loads(signed(DATA, key[0], key[0]))["signatures"]) == 1


def test_more_signatures_than_anybody_needs_are_refused(key: tuple[Path, str]) -> None:
    one = sign_manifest(DATA, key[0])
    file = SignatureFile(signatures=(one,) * (MAX_SIGNATURES + 1))

    assert "no signature file" in refused(TrustedKeys([key[1]]), DATA, file.to_json())


def test_a_public_key_may_be_a_pem_file(key: tuple[Path, str], tmp_path: Path) -> None:
    raw = base64.b64decode(key[1])
    public = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(pem)

    assert TrustedKeys([str(tmp_path / "public.pem")]).key_ids == (key_id_of_text(key[1]),)


def test_what_is_no_public_key_is_a_sentence_with_its_place(
    key: tuple[Path, str], tmp_path: Path
) -> None:
    file, public = key
    (tmp_path / "text.pem").write_text("hello")
    other_kind = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "rsa.pem").write_bytes(
        other_kind.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    for text, named in (
        (str(file), "PRIVATE key: keep it away"),
        (str(tmp_path / "text.pem"), "no PEM file of a public key"),
        (str(tmp_path / "rsa.pem"), "no Ed25519 key"),
        (str(tmp_path / "nowhere.pem"), "No such file"),
        ("AAAA", "no base64 of 32 bytes"),
        ("a\0b", "cannot be read as a PEM file"),
    ):
        with pytest.raises(ConfigError, match=named) as caught:
            TrustedKeys([public, text])
        assert "registry.trusted_keys, key 2" in str(caught.value)


def test_what_is_no_private_key_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("hello")

    with pytest.raises(ConfigError, match="no PEM file of a private key"):
        sign_manifest(DATA, tmp_path / "text.pem")
    with pytest.raises(ConfigError, match="No such file"):
        sign_manifest(DATA, tmp_path / "nowhere.pem")


def test_without_the_package_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)

    with pytest.raises(ConfigError, match=r"trusted_keys is set.*anoean-stream\[signing\]"):
        TrustedKeys(["AAAA"])


def test_a_bundle_written_anew_has_no_signature_of_the_old_one(
    key: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    make_bundle(folder)
    (folder / SIGNATURE).write_bytes(signed((folder / MANIFEST).read_bytes(), key[0]))

    make_bundle(folder, seed=1)

    assert not (folder / SIGNATURE).exists()
