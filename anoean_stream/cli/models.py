"""``anoean models``: what is in the registry, whether it is sound, which version decides, and who serves it."""

from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli import (
    model_keys,
    models_diff,
    models_evaluation,
    models_gc,
    models_history,
    models_promote,
    models_rollback,
    models_status,
)
from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.detector.bundle import Bundle, Manifest
from anoean_stream.errors import ModelNotFoundError, SignatureError
from anoean_stream.pipeline import verify_bundle
from anoean_stream.registry import Registry, VersionInfo
from anoean_stream.settings import Settings

app = typer.Typer(
    help="What is in the registry, who serves what, promotion and the way back.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

app.command("keygen")(model_keys.keygen)
app.command("sign")(model_keys.sign)
app.command("promote")(models_promote.promote)
app.add_typer(models_evaluation.app, name="evaluation")
app.command("rollback")(models_rollback.rollback)
app.command("status")(models_status.status)
app.command("history")(models_history.history)
app.command("diff")(models_diff.diff)
app.command("gc")(models_gc.gc)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Number of the version, or an alias of it.")
]


@app.command("list")
def list_models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only this model.", show_default=False),
    ] = None,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """List every version of every model, with its aliases and what its training reported.

    [bold]Examples[/]

    [cyan]anoean models list[/]

    [cyan]anoean models list edge --set registry.url=s3://bucket/models --json[/]
    """
    settings = load(config, overrides, debug=debug)
    registry = Registry.from_settings(settings.registry)
    if name is None and not registry.exists():
        message = (
            f"there is no registry at {registry.url} yet; publish a model with `anoean train`, "
            f"or set registry.url to the registry's folder or URL"
        )
        raise ModelNotFoundError(message)
    names = registry.models() if name is None else [name]
    versions = {model: registry.versions(model) for model in names}
    signed = {
        (model, info.version): _signed(registry, model, info.version)
        for model, infos in versions.items()
        for info in infos
    }
    if as_json:
        print_json(
            {
                "registry": registry.url,
                "models": [
                    {
                        "name": model,
                        "versions": [
                            _info_document(info) | {"signed": signed[model, info.version]}
                            for info in infos
                        ],
                    }
                    for model, infos in versions.items()
                ],
            }
        )
        return
    if not versions:
        err.print(f"registry {registry.url} has no model yet; publish one with `anoean train`")
        return
    table = Table("model", "version", "created", "aliases", title=f"registry {registry.url}")
    for heading in ("AUPR", "threshold", "rate"):
        table.add_column(heading, justify="right")
    # A column more does not fit 80 letters: only for those who sign.
    shows_signers = any(one["key_ids"] or one["trusted"] is False for one in signed.values())
    if shows_signers:
        table.add_column("signed by", no_wrap=True)
    for model, infos in versions.items():
        for info in infos:
            signer = (_short_signature_cell(signed[model, info.version]),) if shows_signers else ()
            table.add_row(model, info.version, *_info_cells(info), *signer)
    out.print(table)


@app.command()
def show(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME@REF",
            help="Model, and a version or alias of it; else model.name and model.alias of the "
            "settings.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show one version: manifest, features, figures of merit, files.

    [bold]Examples[/]

    [cyan]anoean models show[/]

    [cyan]anoean models show edge@3[/]

    [cyan]anoean models show edge@previous --json[/]
    """
    settings = load(config, overrides, debug=debug)
    registry = Registry(settings.registry.url)
    name, version = _named(registry, model, settings)
    aliases = sorted(a for a, v in registry.aliases(name).items() if v == version)
    files = registry.files(name, version)
    bundle = registry.load(name, version)
    signed = _signed(Registry.from_settings(settings.registry), name, version)
    if as_json:
        print_json(
            _bundle_document(bundle, name=name, version=version, aliases=aliases, files=files)
            | {"signed": signed}
        )
        return
    _print_bundle(bundle, name=name, version=version, aliases=aliases, files=files, signed=signed)


@app.command()
def verify(
    name: NameArgument,
    version: VersionArgument,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Make every check that a worker makes before it serves a version.

    With registry.trusted_keys: the signature. Hashes, format, shapes against the feature contract,
    finite weights, and the golden batch: recorded rows, scored here and now, against the scores that the trainer computed. Exit code 3
    and one sentence when the version is refused.

    [bold]Example[/]

    [cyan]anoean models verify edge 4[/]
    """
    settings = load(config, overrides, debug=debug)
    registry = Registry.from_settings(settings.registry)
    number = registry.resolve(name, version)
    bundle = _verified(registry, name, number)
    n_golden = len(bundle.golden.records)
    signed = _signed(registry, name, number)
    if as_json:
        print_json(
            {
                "name": name,
                "version": number,
                "sound": True,
                "sha256": bundle.sha256,
                "golden_records": n_golden,
                "signed": signed,
            }
        )
        return
    out.print(
        f"model {name} version {number} is sound: {len(bundle.manifest.files)} hashes, shapes, "
        f"finite weights and {n_golden} golden scores agree"
    )
    out.print(f"signed by: {_signature_cell(signed)}")


def _verified(registry: Registry, name: str, version: str) -> Bundle:
    bundle = registry.load(name, version)
    verify_bundle(bundle)
    return bundle


def _signed(registry: Registry, name: str, version: str) -> dict[str, Any]:
    """Return who says to have signed a version, whether it holds, and why not.

    ``trusted`` is the key's name when the signature was checked and holds, False when it was
    refused, and None without registry.trusted_keys: then the names are only claims.
    """
    try:
        key_ids = [one.key_id for one in registry.signatures(name, version).signatures]
        trusted = registry.signer(name, version)
    except SignatureError as error:
        return {"key_ids": _claimed(registry, name, version), "trusted": False, "error": str(error)}
    return {"key_ids": key_ids, "trusted": trusted}


def _claimed(registry: Registry, name: str, version: str) -> list[str]:
    try:
        return [one.key_id for one in registry.signatures(name, version).signatures]
    except SignatureError:
        return []


def _signature_cell(signed: dict[str, Any]) -> str:
    claimed = ", ".join(signed["key_ids"]) or "nobody"
    if signed["trusted"] is False:
        return f"{claimed} (not trusted)"
    if signed["trusted"] is None:
        return claimed if not signed["key_ids"] else f"{claimed} (not checked)"
    return f"{signed['trusted']} (trusted)"


def _short_signature_cell(signed: dict[str, Any]) -> str:
    """Return it in few letters, for a table: eight digits of a key tell it from a few others."""
    if signed["trusted"] is False:
        return "[red]not trusted[/]"
    names = [signed["trusted"]] if signed["trusted"] else signed["key_ids"]
    return ", ".join(name[:8] for name in names)


def _named(registry: Registry, model: str | None, settings: Settings) -> tuple[str, str]:
    name, _, ref = (model or settings.model.name).partition("@")
    return name, registry.resolve(name, ref or settings.model.alias)


def _info_cells(info: VersionInfo) -> tuple[str, ...]:
    aliases = ", ".join(info.aliases)
    if info.manifest is None:
        return (f"[red]{escape(info.error or '')}[/]", aliases, "", "", "")
    aupr = info.manifest.metrics.get("aupr")
    return (
        escape(info.manifest.created_at),
        aliases,
        "" if aupr is None else f"{aupr:.4f}",
        f"{info.manifest.threshold:.4g}",
        f"{info.manifest.false_positive_rate:g}",
    )


def _info_document(info: VersionInfo) -> dict[str, Any]:
    document: dict[str, Any] = {"version": info.version, "aliases": list(info.aliases)}
    if info.manifest is None:
        return document | {"error": info.error}
    return document | {
        "created_at": info.manifest.created_at,
        "metrics": info.manifest.metrics,
        "threshold": info.manifest.threshold,
        "false_positive_rate": info.manifest.false_positive_rate,
    }


def _bundle_document(
    bundle: Bundle, *, name: str, version: str, aliases: list[str], files: list[str]
) -> dict[str, Any]:
    contract = bundle.detector.contract
    return {
        "name": name,
        "version": version,
        "aliases": aliases,
        "sha256": bundle.sha256,
        "manifest": msgspec.to_builtins(bundle.manifest),
        "features": {
            "numbers": [field.name for field in contract.numbers],
            "flags": [field.name for field in contract.flags],
            "categories": [field.name for field in contract.categories],
            "excluded": {field.name: field.reason for field in contract.excluded},
        },
        "files": files,
    }


def _print_bundle(
    bundle: Bundle,
    *,
    name: str,
    version: str,
    aliases: list[str],
    files: list[str],
    signed: dict[str, Any],
) -> None:
    manifest: Manifest = bundle.manifest
    contract = bundle.detector.contract
    table = Table(show_header=False, title=f"{name} version {version}", title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    rows: list[tuple[str, str]] = [
        ("aliases", ", ".join(aliases) or "none"),
        ("created", f"{manifest.created_at} by anoean {manifest.code_version}"),
        ("sha256", bundle.sha256),
        ("signed by", _signature_cell(signed)),
        ("threshold", f"{manifest.threshold:.6g} (rate {manifest.false_positive_rate:g})"),
        ("latent dimensions", str(manifest.latent_dim)),
        ("contract", manifest.contract_id),
        ("numbers", ", ".join(field.name for field in contract.numbers) or "none"),
        ("flags", ", ".join(field.name for field in contract.flags) or "none"),
        ("categories", ", ".join(field.name for field in contract.categories) or "none"),
        (
            "left out",
            ", ".join(f"{field.name} ({field.reason})" for field in contract.excluded) or "none",
        ),
        *((f"metric {metric}", f"{value:.6g}") for metric, value in manifest.metrics.items()),
        *((f"training {key}", str(value)) for key, value in manifest.training.items()),
        ("files", ", ".join(files)),
    ]
    for heading, text in rows:
        table.add_row(heading, escape(text))
    out.print(table)
