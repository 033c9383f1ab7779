"""What the newest self-check on a machine has to say against the thresholds of a comparison made there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench import results, selfcheck
from bench.judging import side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Run
    from bench.results import CaseResult
    from bench.store import Store
    from bench.verdicts import Comparisons


def remarks(store: Store, found: Comparisons, run: Run) -> list[str]:
    """Returns a sentence where the threshold is below what can be seen on the run's machine, nothing otherwise.

    What counts is the newest self-check there that has any of the compared cases, with as many processes a side as the
    comparison has, or as half of the check has.
    """
    compared = {row.case_id: row.replicates for row in found.rows if row.compared}
    for check in reversed([known for known in store.runs() if _is_check_here(known, run)]):
        if compared.keys().isdisjoint(planned.case.id for planned in store.plan(check.id)):
            continue
        of_cases = [result for result in results.load(store, check).cases if result.case.id in compared]
        seen = [_smallest(result, compared[result.case.id]) for result in of_cases]
        return _said(check.name, found.threshold, [one for one in seen if one is not None])
    return []


def _smallest(result: CaseResult, processes: int) -> tuple[int, float] | None:
    """Returns processes a side and the smallest change that they tell from none, None where the check has too few."""
    order = selfcheck.in_time(result)
    size = min(processes, len(order) // 2)
    if size < selfcheck.LEAST:
        return None
    factor = selfcheck.smallest_factor(side(result), order, size, 0.0)
    return size, math.inf if factor is None else factor - 1


def _said(name: str, threshold: float, seen: Sequence[tuple[int, float]]) -> list[str]:
    """Returns what there is to say of the smallest changes of cases."""
    above = [change for _, change in seen if change > threshold]
    if not above:
        return []
    sizes = sorted({size for size, _ in seen})
    sides = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    changes = f"{_say(min(above))} to {_say(max(above))}" if len(above) > 1 else _say(above[0])
    what = f"a threshold of {100 * threshold:.3g} % is below the smallest change that can be told from none here"
    where = f"{name} found it so in {len(above)} of {len(seen)} cases"
    return [f"{what}: {where} ({changes} with {sides} processes a side)"]


def _is_check_here(found: Run, run: Run) -> bool:
    """Returns whether a run is a self-check of the machine of another."""
    return (
        found.name.startswith(selfcheck.PREFIX)
        and found.state == "complete"
        and found.environment.fingerprint == run.environment.fingerprint
    )


def _say(change: float) -> str:
    """Returns a share in percent."""
    return f"{100 * change:.0f} %" if change < math.inf else f"more than {100 * (selfcheck.LARGEST - 1):.0f} %"
