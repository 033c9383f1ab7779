"""`softmoe-bench compare`: did it get slower?"""

from __future__ import annotations

import click

from bench.cli.options import json_option, store_option
from bench.errors import Exit, InputError


@click.command()
@click.argument("base")
@click.argument("candidate", required=False)
@click.option(
    "--pair",
    metavar="AXIS=BASE,CANDIDATE",
    help="Compare cases that differ in one axis, as in backend=einsum,fused; with one run, within it.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 10),
    default=0.05,
    show_default=True,
    help="Smallest relative change worth a verdict.",
)
@store_option
@json_option
def compare(
    base: str,
    candidate: str | None,
    pair: str | None,
    threshold: float,
    store: str | None,
    as_json: bool,  # noqa: FBT001  (click passes flags by name)
) -> int:
    """Compare CANDIDATE with BASE case by case (runs: id, prefix, name, latest or baseline:NAME).

    Exit code 1 if a case is slower, 3 if one is missing or failed, 4 if the runs cannot be compared.
    """
    from bench import compare as comparing  # noqa: PLC0415
    from bench import results  # noqa: PLC0415
    from bench.cli import answer, terminal  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    if candidate is None and pair is None:
        raise InputError("compare needs two runs, or one run and --pair AXIS=BASE,CANDIDATE")
    asked = None if pair is None else comparing.parse_pair(pair)
    opened = open_store(store)
    sides = [results.load(opened, opened.find(word)) for word in (base, candidate or base)]
    if asked is None and sides[0].run.id == sides[1].run.id:
        raise InputError(f"{base} and {candidate} are the same run ({sides[0].run.name}): there is nothing to compare")
    found = comparing.compare(*sides, threshold=threshold, pair=asked)
    if as_json:
        answer.write(answer.of_comparison(found))
    else:
        terminal.show_comparison(found)
    if found.worse:
        return Exit.WORSE
    return Exit.INCOMPLETE if found.incomplete else Exit.OK
