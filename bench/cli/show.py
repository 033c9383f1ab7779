"""`softmoe-bench show`: a stored run once more."""

from __future__ import annotations

import click

from bench.cli.options import json_option, store_option


@click.command()
@click.argument("run", default="latest")
@store_option
@json_option
def show(run: str, store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """Show a run (id, prefix, name, latest or baseline:NAME) as `run`, `duel` or `claims` did at its end."""
    from bench import claims, duels, results  # noqa: PLC0415
    from bench.claims import asking  # noqa: PLC0415
    from bench.cli import answer, claims_shown, run_table, terminal  # noqa: PLC0415
    from bench.formats import TABLE, Context  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    found = results.load(opened, opened.find(run))
    if duels.is_duel(found):
        fought = duels.of_results(found)
        if as_json:
            click.echo(TABLE["json"](fought, Context()), nl=False)
        else:
            terminal.show_comparison(fought, Context())
    elif asking.is_for_claims(found):
        judged = asking.of_results(claims.TABLE, found)
        if as_json:
            answer.write(claims_shown.as_plain(judged, found.run.name))
        else:
            claims_shown.show(judged)
    elif as_json:
        answer.write(answer.of_run(found))
    else:
        run_table.show(found)
