"""What a self-check on a machine says of a comparison made there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from recorded import dense, measured, run, soft

from bench import floors, sides
from bench.compare import compare
from bench.records import Planned, Run
from bench.store import Store, open_store

CASE = soft()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "s.db"), create=True)


def keep(store: Store, name: str, latencies: Sequence[float], **more: object) -> Run:
    """A finished run of one case."""
    case = more.pop("case", CASE)
    kept = run(name, id=f"{crc32(name.encode()):012d}", **more)
    store.keep_run(replace(kept, state="complete"), [Planned(case)], measured(case, latencies))
    return kept


def noisy(count: int, spread: float, seed: int = 0) -> list[float]:
    return np.exp(spread * np.random.default_rng(seed).normal(size=count)).tolist()


def said(store: Store, threshold: float = 0.05, *, processes: int = 5) -> list[str]:
    base, candidate = (keep(store, name, [1.0] * processes) for name in ("base", "candidate"))
    found = compare(*sides.load(store, base, candidate), threshold=threshold)
    return floors.remarks(store, found, candidate)


def test_without_a_self_check_nothing_is_said(store: Store) -> None:
    keep(store, "some", noisy(30, 0.3))
    assert said(store) == []


def test_a_threshold_below_what_can_be_seen_is_said_with_the_figures(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(40, 0.1))
    (remark,) = said(store)
    assert remark.startswith("a threshold of 5 % is below the smallest change that can be told from none here: ")
    assert "selfcheck-1 found it so in 1 of 1 cases (" in remark
    assert remark.endswith(" % with 5 processes a side)")
    assert 10 < float(remark.split("(")[1].split()[0]) < 30


def test_a_threshold_above_it_is_fine(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(40, 0.1))
    assert said(store, 0.3) == []


def test_it_is_seen_with_as_many_processes_as_the_comparison_has(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(80, 0.02))
    assert "with 3 processes a side" in said(store, 0.03, processes=3)[0]


def test_more_processes_see_more(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(80, 0.02))
    assert said(store, 0.03, processes=20) == []


def test_a_check_without_noise_never_says_anything(store: Store) -> None:
    keep(store, "selfcheck-1", [1.0] * 20)
    assert said(store, 0.0) == []


def test_the_newest_check_of_the_machine_that_has_the_case_counts(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(40, 0.3))
    keep(store, "selfcheck-2", noisy(40, 0.1))
    keep(store, "selfcheck-3", noisy(40, 0.5), case=dense())
    keep(store, "selfcheck-4", noisy(40, 0.5), cpu="Other CPU")
    keep(store, "selfcheck-5", noisy(5, 0.5), case=dense(batch_size=2))
    assert "selfcheck-2" in said(store)[0]


def test_noise_that_hides_even_twice_the_time(store: Store) -> None:
    keep(store, "selfcheck-1", noisy(20, 1.0))
    assert "(more than 100 % with 5 processes a side)" in said(store)[0]
