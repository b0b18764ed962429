"""``anoean models gc``: remove the versions that nothing needs any more."""

from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.trail import tell
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import Registry
from anoean_stream.registry.registry import who_am_i
from anoean_stream.registry.retention import Collection, Decision


def gc(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only this model.", show_default=False),
    ] = None,
    *,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=1,
            help="Newest versions to keep; else registry.keep_versions of the settings.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Remove old versions, but none that is served, was served last, or may still be needed.

    Kept are the newest, those that an alias names, those that were champion since the version to
    which a roll back goes, and what a publisher may still be writing. A number is never used again.

    [bold]Examples[/]

    [cyan]anoean models gc --dry-run[/]

    [cyan]anoean models gc edge --keep 3[/]
    """
    settings = load(config, overrides, debug=debug)
    registry = Registry.from_settings(settings.registry)
    n_kept = keep or settings.registry.keep_versions
    collections: dict[str, Collection] = {}
    for model in registry.models() if name is None else [name]:
        done = registry.collect(model, keep=n_kept, dry_run=dry_run)
        collections[model] = done
        if done.removed and not dry_run:
            tell(settings, _record(model, done, keep=n_kept), wake=False)
    if as_json:
        print_json(
            {
                "registry": registry.url,
                "keep": n_kept,
                "dry_run": dry_run,
                "freed_bytes": sum(done.freed_bytes for done in collections.values()),
                "models": [_document(model, done) for model, done in collections.items()],
            }
        )
        return
    if not collections:
        err.print(f"registry {registry.url} has no model")
        return
    _print(collections, registry=registry, keep=n_kept, dry_run=dry_run)


def _record(model: str, done: Collection, *, keep: int) -> AuditRecord:
    return AuditRecord.of(
        "deleted",
        model=model,
        who=who_am_i(),
        who_kind="user",
        reason=f"anoean models gc, the newest {keep} are kept",
        detail={
            "versions": [one.version for one in done.removed],
            "kept": [one.version for one in done.kept],
            "freed_bytes": done.freed_bytes,
        },
    )


def _document(model: str, done: Collection) -> dict[str, Any]:
    return {
        "name": model,
        "removed": [_decision(one) for one in done.removed],
        "kept": [_decision(one) for one in done.kept],
        "leftovers_bytes": done.leftovers_bytes,
        "freed_bytes": done.freed_bytes,
    }


def _decision(one: Decision) -> dict[str, Any]:
    return {"version": one.version, "why": one.why, "size_bytes": one.size_bytes}


def _print(
    collections: dict[str, Collection], *, registry: Registry, keep: int, dry_run: bool
) -> None:
    gone = "would go" if dry_run else "removed"
    table = Table("model", "version", "", "why", title=f"registry {registry.url}")
    table.add_column("size", justify="right")
    for model, done in collections.items():
        rows = [(one, f"[red]{gone}[/]") for one in done.removed]
        rows += [(one, "kept") for one in done.kept]
        for one, fate in sorted(rows, key=lambda row: int(row[0].version)):
            table.add_row(model, one.version, fate, one.why, decimal(one.size_bytes))
    out.print(table)
    n_removed = sum(len(done.removed) for done in collections.values())
    freed = decimal(sum(done.freed_bytes for done in collections.values()))
    verb = "would be removed, which frees" if dry_run else "removed, which freed"
    out.print(f"{n_removed} versions {verb} {freed}; the newest {keep} of each model are kept")
