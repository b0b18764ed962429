"""``anoean models rollback``: the champion before the present one, in one command."""

import time
from typing import Annotated

import typer
from rich.markup import escape

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.following import (
    WaitOption,
    raise_if_behind,
    tell_following,
    wait_for_workers,
)
from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    ReasonOption,
    SetOption,
    load,
)
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.trail import tell
from anoean_stream.errors import BundleError, ModelNotFoundError, RegistryError
from anoean_stream.pipeline import verify_bundle
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import CHAMPION, PREVIOUS, Registry
from anoean_stream.registry.registry import who_am_i


def rollback(
    name: ModelArgument = None,
    *,
    reason: ReasonOption = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Do not ask whether that version can be served."),
    ] = False,
    wait: WaitOption = True,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Let champion name the version before it; a second time goes one further.

    That version is loaded and verified first, then the alias moves, the
    audit topic is told, and workers look at once (topics.control).

    Exit code 3 when a worker has not followed in time; the alias has moved
    all the same.

    [bold]Examples[/]

    [cyan]anoean models rollback[/]

    [cyan]anoean models rollback edge --reason "alerts on every backup"[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    champion = registry.alias_version(model, CHAMPION)
    if not force:
        _verify_target(registry, model)
    who = who_am_i()
    left, target = registry.roll_back(model, by=who, reason=reason, if_version=champion)
    changed_at_s = time.monotonic()
    further = _earlier(registry, model)
    if not as_json:
        out.print(f"{escape(model)}@{CHAMPION}: back from version {left} to version {target}")
        err.print(
            f"a second roll back goes to version {further[0]}"
            if further
            else "there is no version before that one"
        )
    told = tell(
        settings,
        AuditRecord.of(
            "rolled_back",
            model=model,
            who=who,
            who_kind="user",
            alias=CHAMPION,
            from_version=left,
            to_version=target,
            reason=reason,
            detail={"automatic": False, "registry_moved": True, "hold_down_s": 0.0},
        ),
    )
    _note_threshold(registry, model, target)
    following = (
        wait_for_workers(
            settings,
            model,
            has_followed=lambda report: report.version == target,
            changed_at_s=changed_at_s,
            alias=CHAMPION,
        )
        if wait and told
        else None
    )
    if as_json:
        print_json(
            {
                "name": model,
                "alias": CHAMPION,
                "from": left,
                "to": target,
                "next": further[0] if further else None,
                "told": told,
                "workers": None if following is None else following.as_document(),
            }
        )
        raise_if_behind(following)
        return
    tell_following(following, what=f"version {target}")


def _earlier(registry: Registry, model: str) -> list[str]:
    """Return where roll backs go, the next one first: versions that still exist."""
    record = registry.alias_record(model, CHAMPION)
    earlier = record.history
    if not earlier:
        try:
            previous = registry.alias_version(model, PREVIOUS)
        except ModelNotFoundError:
            return []
        earlier = () if previous == record.version else (previous,)
    whole = set(registry.version_numbers(model))
    return [version for version in earlier if version in whole]


def _note_threshold(registry: Registry, model: str, version: str) -> None:
    """Say when the threshold that was asked for was worked out for other versions only."""
    try:
        choice = registry.threshold(model).choice
    except RegistryError as error:  # the alias has moved: no reason to end as if it had not
        err.print(f"[yellow]note:[/] {escape(str(error))}", soft_wrap=True)
        return
    if choice is None or choice.kind == "false_positive_rate" or version in choice.distances:
        return
    err.print(
        f"[yellow]note:[/] the threshold ({choice}) was not worked out for version {version}; see "
        "`anoean threshold show`, and set it again once that version has scored some traffic",
        soft_wrap=True,
    )


def _verify_target(registry: Registry, model: str) -> None:
    """Raise BundleError, which names a way out, when a roll back would go to a broken version."""
    earlier = _earlier(registry, model)
    if not earlier:
        return  # the registry says it better
    problem = _problem(registry, model, earlier[0])
    if problem is None:
        return
    sound = next((one for one in earlier[1:] if _problem(registry, model, one) is None), None)
    way = (
        f"version {sound}, champion before it, is sound: take it with `anoean models promote {model} "
        f"{sound} --force --reason ...`"
        if sound
        else "no earlier champion is sound either: look at `anoean models list`, or copy that version "
        "again"
    )
    message = (
        f"the roll back would go to version {earlier[0]}, which workers refuse ({problem}); {way}; "
        "nothing was changed (--force does not ask)"
    )
    raise BundleError(message)


def _problem(registry: Registry, model: str, version: str) -> str | None:
    try:
        verify_bundle(registry.load(model, version))
    except (BundleError, ModelNotFoundError) as error:
        return str(error)
    return None
