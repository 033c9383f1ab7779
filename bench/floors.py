"""What the newest self-check on a machine has to say against the thresholds of a comparison made there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench import results, selfcheck

if TYPE_CHECKING:
    from bench.records import Run
    from bench.store import Store
    from bench.verdicts import Comparisons


def remarks(store: Store, found: Comparisons, run: Run) -> list[str]:
    """Returns a sentence where the threshold is below what can be seen on the run's machine, nothing otherwise."""
    kept = [r for r in store.runs() if _is_check_here(r, run)]
    if not kept:
        return []
    newest = kept[-1]
    compared = {row.case_id for row in found.rows if row.compared}
    checks = selfcheck.analyse(results.load(store, newest), threshold=found.threshold).cases
    looks = [case.chosen for case in checks if case.case_id in compared and case.chosen is not None]
    seen = [look.smallest - 1 if look.smallest is not None else math.inf for look in looks]
    above = [change for change in seen if change > found.threshold]
    if not above:
        return []
    span = f"{_say(min(above))} to {_say(max(above))} with {looks[0].processes} processes a side"
    what = f"a threshold of {100 * found.threshold:.3g} % is below the smallest change that can be seen here"
    return [f"{what}: {newest.name} found it so in {len(above)} of {len(seen)} cases ({span})"]


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
