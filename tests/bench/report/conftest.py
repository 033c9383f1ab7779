"""Runs made by hand: exact numbers, no clock, no torch."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from bench import layers, results
from bench.axes import AXES
from bench.records import Case, Environment, Flag, Observation, Outcome, Planned, Run, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from bench.axes import AxisValue
    from bench.results import RunResults

COMPARABLE = {"cpu": "Test CPU", "cores_usable": 2, "memory_bytes": 16 * 2**30, "torch": "2.13.0", "cpu_quota": None}


def case(layer: str = "dense", **axes: AxisValue) -> Case:
    known = layers.find(layer)
    found = {name: AXES[name].default for name in known.takes if name != "layer"}
    found |= {"layer": layer, "device": "cpu", "d_model": 8, "d_ff": 32, "seq_len": 100, "input": "gaussian"}
    if known.backends:
        found["backend"] = known.backends[0]
    if "num_experts" in found:
        found["num_experts"] = 8
    if "slots_per_expert" in found:
        found["slots_per_expert"] = 2
    return Case(found | axes)


def inspection(of: Case, *, flags: Sequence[str] = (), **metrics: float) -> Outcome:
    """The look at memory and routing before anything is timed."""
    units = {"peak_memory": "B", "activation_memory": "B", "parameter_memory": "B"}
    units |= {"drop_rate": "ratio", "unrouted_rate": "ratio", "load_imbalance": "factor", "routing_agreement": "ratio"}
    units |= {"saved_memory": "B", "optimizer_memory": "B"}
    units |= {"max_abs_error": "abs", "flops_torch": "FLOP", "flops_fvcore": "FLOP"}
    seen = tuple(Observation(name, units[name], (float(value),)) for name, value in metrics.items())
    return Outcome(of.id, 0, Status.OK, "", tuple(Flag(code, "fact") for code in flags), seen)


def timed(of: Case, *seconds: float) -> list[Outcome]:
    """One process for each figure."""
    return [
        Outcome(of.id, i, Status.OK, "", (), (Observation("latency", "s", (second,) * 6),))
        for i, second in enumerate(seconds, 1)
    ]


def failed(of: Case, status: Status, detail: str, repeat: int = 0) -> Outcome:
    return Outcome(of.id, repeat, status, detail)


def run(
    cases: Sequence[Case | Planned],
    outcomes: Sequence[Outcome],
    *,
    name: str = "quick-1",
    description: str = "Is Soft MoE fast here?",
    state: str = "complete",
    **more: object,
) -> RunResults:
    environment = Environment(
        COMPARABLE | more.pop("comparable", {}),
        {"host": "vm", "cpu_hz": 2.5e9, "cpu_turbo": None, "packages": {"torch": "2.13.0", "triton": None}, "gpus": []},
    )
    record = Run(
        id=more.pop("id", "0123456789ab"),
        name=name,
        grid=more.pop("grid", '[grid]\nname = "quick"\n'),
        description=description,
        command=more.pop("command", f"softmoe-bench run --grid quick --name {name}"),
        settings={"repeats": 3, "max_seconds": 0.25, "seed": 0},
        environment=environment,
        started=1_790_000_000.0,
        finished=1_790_000_090.0,
        state=state,
    )
    plan = [of if isinstance(of, Planned) else Planned(of) for of in cases]
    return results.of_outcomes(record, plan, outcomes)


def full(of: Case, *seconds: float, lost: float = 0.0, **more: object) -> list[Outcome]:
    """Everything that a worker reports of a healthy case."""
    seen = {"peak_memory": 3 * 2**20, "activation_memory": 2**20, "parameter_memory": 2 * 2**20}
    seen |= {"drop_rate": lost, "unrouted_rate": lost, "load_imbalance": 1.5, "max_abs_error": 1e-7}
    seen |= {"routing_agreement": 1.0, "flops_torch": 1e6}
    return [inspection(of, **(seen | more)), *timed(of, *seconds)]


def quick(**more: object) -> RunResults:
    """Dense, soft and sparse layers at two batch sizes: dense is clearly fastest, soft and experts choice tie."""
    cases, outcomes = [], []
    for batch in (1, 8):
        for layer, experts, scale in (
            ("dense", None, 1.0),
            ("soft", 8, 2.0),
            ("soft", 32, 3.0),
            ("expert_choice", 8, None),
            ("token_choice", 8, 4.0),
        ):
            axes = {} if experts is None else {"num_experts": experts}
            of = case(layer, batch_size=batch, **axes)
            seconds = (1.9, 2.1, 2.0) if scale is None else (scale * 1.00, scale * 1.02, scale * 1.01)
            cases.append(of)
            outcomes += full(of, *(s * batch / 1000 for s in seconds), lost=0.25 if layer == "token_choice" else 0.0)
    return run(cases, outcomes, **more)


H100 = {
    "gpu": "NVIDIA H100 80GB HBM3",
    "gpu_memory_bytes": 80 * 2**30,
    "gpu_sm_count": 132,
    "gpu_compute_capability": "9.0",
    "gpu_driver_major": "570",
    "cuda": "12.8",
    "cudnn": 91002,
    "tf32": False,
    "cpu": "Intel Xeon Platinum 8480C",
    "cores_usable": 16,
}


def on_gpu(found: RunResults, *factors: float, **more: object) -> RunResults:
    """The cases of a run on an H100, each so many times as fast; the factors are taken in turn."""
    cases, outcomes = [], []
    for i, result in enumerate(found.cases):
        of = result.case.with_axes(device="cuda")
        seconds = [second / factors[i % len(factors)] for second in result.figures["latency"].by_repeat.values()]
        cases.append(of)
        outcomes += full(of, *seconds)
    facts = {**H100, **more.pop("comparable", {})}
    return run(cases, outcomes, **{"name": "h100-1", "id": "b" * 12, "comparable": facts, **more})


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    return SimpleNamespace(
        case=case, inspection=inspection, timed=timed, failed=failed, run=run, full=full, quick=quick, on_gpu=on_gpu
    )


@pytest.fixture(scope="session")
def quick_page() -> str:
    from bench.report import render

    return render([quick()])


QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium, which reaches nobody; one for each module, so that none stays while others measure."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        proxy = {"server": "127.0.0.1:9", "bypass": "<-loopback>"}
        opened = driver.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET, proxy=proxy)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Callable[..., AbstractContextManager[Page]]:
    """Opens a page from its file; at the end nothing may have been complained of, nor anybody else be asked."""

    @contextmanager
    def opened(text: str, *, before: str = "", **context: object) -> Iterator[Page]:
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        place = browser.new_context(**context)
        place.set_default_timeout(120_000)  # a busy machine is no fault of the page
        page = place.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asking: complaints.append(asking.url) if asking.url != path.as_uri() else None)
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri())
        yield page
        page.close()
        place.close()
        assert not complaints, "\n".join(complaints)

    return opened
