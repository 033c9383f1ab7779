"""Runs that were never measured: exact figures for the tests of everything behind the worker."""

from collections.abc import Sequence

from bench import plan
from bench.executors import Probe
from bench.records import Case, Ceiling, Environment, Flag, Observation, Outcome, Planned, Run, Settings, Status
from bench.results import RunResults, of_outcomes
from bench.store import open_store

HERE = {"cpu": "Test CPU", "cores_usable": 2, "torch": "2.13.0"}
PROBE = Probe(devices=("cpu",), comparable={"torch": "2.13.0"})

CEILINGS = (
    Ceiling("cpu", "bandwidth", "B/s", (2.0e10, 1.9e10, 2.1e10), "copy of 256 MiB"),
    Ceiling("cpu", "cache", "B", (4.0e6,), "last level"),
    Ceiling("cpu", "float32", "FLOP/s", (1.0e11, 1.1e11, 0.9e11), "1024 x 1024 x 1024"),
)


def soft(**axes: object) -> Case:
    return plan.single(
        "soft", {"num_experts": 8, "slots_per_expert": 4, "seq_len": 32, "d_model": 16, "d_ff": 32, **axes}
    )


def dense(**axes: object) -> Case:
    return plan.single("dense", {"seq_len": 32, "d_model": 16, "d_ff": 32, **axes})


def inspected(case: Case, *, memory: float = 2.0e6, flags: Sequence[Flag] = ()) -> Outcome:
    """The first process of a case: everything but time."""
    return Outcome(
        case.id,
        0,
        Status.OK,
        flags=tuple(flags),
        observations=(
            Observation("parameters", "count", (1000.0,)),
            Observation("parameter_memory", "B", (4000.0,)),
            Observation("activation_memory", "B", (memory / 2,)),
            Observation("peak_memory", "B", (memory,)),
            Observation("max_abs_error", "abs", (1e-6,)),
        ),
        started=100.0,
        finished=101.0,
    )


def timed(case: Case, repeat: int, seconds: float, *, reference: float = 1e-3, count: int = 5) -> Outcome:
    """A process that timed a case, every sample alike."""
    return Outcome(
        case.id,
        repeat,
        Status.OK,
        observations=(
            Observation("latency", "s", (seconds,) * count),
            Observation("reference_latency", "s", (reference,) * count),
        ),
        started=100.0 + repeat,
        finished=100.5 + repeat,
    )


def failed(case: Case, status: Status = Status.ERROR, detail: str = "ValueError: it broke", repeat: int = 0) -> Outcome:
    return Outcome(case.id, repeat, status, detail, started=100.0, finished=101.0)


def measured(case: Case, latencies: Sequence[float], *, references: Sequence[float] = ()) -> list[Outcome]:
    """All processes of a case: an inspection and one timed process per latency."""
    beside = references or [1e-3] * len(latencies)
    return [
        inspected(case),
        *(timed(case, i, s, reference=r) for i, (s, r) in enumerate(zip(latencies, beside, strict=True), 1)),
    ]


def run(name: str = "quick-1", *, id: str = "0123456789ab", **facts: object) -> Run:  # noqa: A002
    return Run(
        id=id,
        name=name,
        grid="quick",
        description="Is it fast?",
        command="softmoe-bench run --grid quick",
        settings={"repeats": 3, "max_seconds": 1.0, "timeout": 300.0, "half_width": 0.01, "min_samples": 10, "seed": 0},
        environment=Environment({**HERE, **facts}, {"host": "box"}),
        started=1_700_000_000.0,
        finished=1_700_000_060.0,
        state="complete",
    )


def results(outcomes: Sequence[Outcome], cases: Sequence[Case], *, of: Run | None = None) -> RunResults:
    return of_outcomes(of or run(), [Planned(case) for case in cases], outcomes)


SETTINGS = Settings(repeats=3, max_seconds=0.05, timeout=60.0, min_samples=3)


def write_many(path: str, run_id: str) -> None:
    """Writes forty outcomes to a store; here, because a process started anew can import this module by its name."""
    store = open_store(path)
    for repeat in range(40):
        store.add_outcome(run_id, timed(soft(), repeat, 1.0))


def open_and_count(path: str, runs: int) -> None:
    """Opens a store, which may migrate it, and finds as many runs; here for the same reason."""
    store = open_store(path)
    found = len(store.runs())
    store.close()
    if found != runs:
        raise SystemExit(f"found {found} runs, expected {runs}")
