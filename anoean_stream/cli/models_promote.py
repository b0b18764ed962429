"""``anoean models promote``: an alias names another version, and the champion only through the gate."""

from typing import Annotated

import typer

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.gate_view import print_rules, promotion_document
from anoean_stream.cli.moments import parse_duration
from anoean_stream.cli.moving import move_alias
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.promotion import Promotion, promote_through_gate
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.errors import ConfigError
from anoean_stream.pipeline import verify_bundle
from anoean_stream.registry import CHAMPION, PREVIOUS, Registry
from anoean_stream.settings import Settings


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Number of the version, or an alias of it.")
    ],
    *,
    alias: Annotated[
        str,
        typer.Option(
            "--alias", help="The alias to move; workers serve champion, the only one with a gate."
        ),
    ] = CHAMPION,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Move it whatever the rules say; needs --reason, and is recorded.",
            show_default=False,
        ),
    ] = False,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why, for the record.", show_default=False),
    ] = "",
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait",
            parser=_seconds,
            metavar="DURATION",
            help="Wait so long (90s, 15m, 24h) until shadow reports cover enough records.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Let a version become champion, if it proves itself: workers swap at once.

    It is verified, compared with the champion on the evaluation set, and
    judged by what workers reported while it was their shadow (section gate
    of the settings). A refusal names every broken rule and ends with exit
    code 3. `promote NAME previous` goes through the gate, too; the quick way
    back is `anoean models rollback`.

    [bold]Examples[/]

    [cyan]anoean models promote edge 5 --alias shadow[/]

    [cyan]anoean models promote edge 5 --wait 24h[/]

    [cyan]anoean models promote edge 5 --force --reason "champion is blind"[/]
    """
    settings = load(config, overrides, debug=debug)
    quiet_librdkafka(debug=debug)
    _check(settings, alias=alias, force=force, reason=reason, wait_s=wait_s)
    registry = Registry.from_settings(settings.registry)
    number = registry.resolve(name, version)
    if alias != CHAMPION:
        _move(settings, registry, name, number, alias=alias, reason=reason, as_json=as_json)
        return
    promotion = promote_through_gate(
        settings, registry, name, number, force=force, reason=reason, wait_s=wait_s or 0.0
    )
    if as_json:
        print_json(promotion_document(promotion))
    else:
        print_rules(promotion)
        _say(promotion)
    promotion.raise_if_refused()


def _check(
    settings: Settings, *, alias: str, force: bool, reason: str, wait_s: float | None
) -> None:
    if force and not reason.strip():
        message = "--force needs --reason TEXT: it is recorded why the gate was overruled"
        raise ConfigError(message)
    if alias != CHAMPION and (force or wait_s is not None):
        message = (
            f"--alias {alias} is moved without a gate, which only {CHAMPION} has; drop --force and "
            "--wait"
        )
        raise ConfigError(message)
    if force and wait_s is not None:
        message = "--force does not wait for the rules; drop --wait, or drop --force"
        raise ConfigError(message)
    if wait_s is not None and not settings.gate.online:
        message = "--wait waits for shadow reports, but gate.online is false; drop one of the two"
        raise ConfigError(message)


def _move(
    settings: Settings,
    registry: Registry,
    name: str,
    version: str,
    *,
    alias: str,
    reason: str,
    as_json: bool,
) -> None:
    verify_bundle(registry.load(name, version))
    before = move_alias(settings, registry, name, version, alias=alias, reason=reason)
    if as_json:
        print_json({"name": name, "alias": alias, "from": before, "to": version})
        return
    _say_moved(name, alias, before, version)


def _say(promotion: Promotion) -> None:
    name, before = promotion.name, promotion.champion_before
    if promotion.outcome == "refused":
        return  # the error says it
    if promotion.outcome == "unchanged":
        out.print(f"{name}@{CHAMPION} names version {promotion.version} already")
        return
    _say_moved(name, CHAMPION, before, promotion.version)
    if promotion.outcome == "forced":
        err.print("[yellow]note:[/] against the gate, and recorded as forced")
    if before is not None:
        err.print(f"version {before} is now {name}@{PREVIOUS}")
    if promotion.alias_removed is not None:
        err.print(f"the alias {promotion.alias_removed} named it too and is removed")


def _say_moved(name: str, alias: str, before: str | None, version: str) -> None:
    came_from = "new" if before is None else f"from version {before}"
    out.print(f"{name}@{alias}: {came_from} to version {version}")
