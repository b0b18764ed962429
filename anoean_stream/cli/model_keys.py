"""``anoean models keygen`` and ``sign``: a key pair, and a signature by which workers know a model."""

from pathlib import Path
from typing import Annotated

import typer

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.detector.bundle import MANIFEST, MAX_BYTES, read_bundle_folder
from anoean_stream.detector.confinedfiles import read_confined
from anoean_stream.detector.signature import (
    SIGNATURE,
    SIGNATURE_MAX_BYTES,
    SignatureFile,
    key_id_of_text,
    new_private_key,
    sign_manifest,
)
from anoean_stream.errors import ConfigError
from anoean_stream.pipeline import verify_bundle
from anoean_stream.registry import Registry


def keygen(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="New file for the private key; mode 0600.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key pair for signing models; print the public key.

    Keep the private key where models are released, and away from workers. Give the public key to
    workers as registry.trusted_keys.

    [bold]Example[/]

    [cyan]anoean models keygen models.key.pem[/]
    """
    public = new_private_key(path)
    if as_json:
        print_json(
            {"private_key": str(path), "public_key": public, "key_id": key_id_of_text(public)}
        )
        return
    out.print(public, soft_wrap=True)
    err.print(
        f"private key {key_id_of_text(public)} is in {path}; let workers trust it with\n"
        f"  ANOEAN__REGISTRY__TRUSTED_KEYS='[\"{public}\"]'",
        soft_wrap=True,
        markup=False,
    )


def sign(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FOLDER", help="Name of the model, or a bundle's folder.")
    ],
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="Number of the version, or an alias of it; left out, NAME is a folder.",
            show_default=False,
        ),
    ] = None,
    *,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Private key, from keygen.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Verify a bundle, then sign its manifest: manifest.sig is put beside it.

    The version itself does not change. A second key adds its signature to the first one's.

    [bold]Examples[/]

    [cyan]anoean models sign edge 4 --key models.key.pem[/]

    [cyan]anoean models sign ./bundle --key models.key.pem[/]
    """
    if version is None:
        folder = Path(name)
        if not folder.is_dir():
            message = (
                f"{name} is no folder of a bundle; for a model of the registry give its version "
                f"too: anoean models sign {name} VERSION --key {key}"
            )
            raise ConfigError(message)
        key_id = _sign_folder(folder, key)
        signed = str(folder)
    else:
        settings = load(config, overrides, debug=debug)
        registry = Registry(settings.registry.url)  # what is not signed yet is trusted by nobody
        number = registry.resolve(name, version)
        verify_bundle(registry.load(name, number))
        key_id = registry.sign(name, number, key)
        signed = f"{name} version {number}"
    if as_json:
        print_json({"signed": signed, "key_id": key_id})
        return
    out.print(f"{signed} is signed by {key_id}", soft_wrap=True, markup=False)


def _sign_folder(folder: Path, key: Path) -> str:
    verify_bundle(read_bundle_folder(folder))
    manifest = read_confined(folder, MANIFEST, max_bytes=MAX_BYTES[MANIFEST])
    try:
        before = SignatureFile.from_json(
            read_confined(folder, SIGNATURE, max_bytes=SIGNATURE_MAX_BYTES), origin=str(folder)
        )
    except FileNotFoundError:
        before = SignatureFile()
    signature = sign_manifest(manifest, key)
    (folder / SIGNATURE).write_bytes(before.with_signature(signature).to_json())
    return signature.key_id
