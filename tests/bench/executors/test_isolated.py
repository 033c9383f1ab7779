"""The real thing: a fork server with torch, and children that do what children do."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import all_gone, children, wait_until
from recorded import SETTINGS, soft

from bench import plan
from bench.errors import WorkerError
from bench.executors import IsolatedExecutor
from bench.executors.fork_server import explain
from bench.executors.isolated import kills_for_memory
from bench.records import Case, Outcome, Status, Task


@pytest.fixture(scope="module")
def executor() -> Iterator[IsolatedExecutor]:
    with IsolatedExecutor() as working:
        yield working


def strange(name: str) -> Case:
    return plan.single(
        f"strange_layers:{name}", {"num_experts": 2, "slots_per_expert": 1, "seq_len": 8, "d_model": 8, "d_ff": 8}
    )


def attempt(executor: IsolatedExecutor, case: Case, *, repeat: int = 1, timeout: float = 60.0) -> Outcome:
    task = plan.task(case, repeat, SETTINGS)
    return executor.run(Task(**{**vars(task), "settings": type(SETTINGS)(**{**vars(SETTINGS), "timeout": timeout})}))


def test_a_case_is_inspected_and_timed(executor: IsolatedExecutor) -> None:
    inspection = attempt(executor, soft(), repeat=0)
    assert inspection.status is Status.OK, inspection.detail
    seen = {o.metric for o in inspection.observations}
    assert {"parameters", "peak_memory", "flops_torch", "flops_fvcore", "drop_rate", "max_abs_error"} <= seen
    assert "latency" not in seen
    timing = attempt(executor, soft())
    assert timing.status is Status.OK, timing.detail
    assert {o.metric for o in timing.observations} == {"latency", "reference_latency"}
    assert min(timing.samples("latency")) > 0
    assert timing.finished > timing.started


def test_the_parent_stays_free_of_torch() -> None:
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from recorded import SETTINGS, soft\n"
        "from bench import plan\n"
        "from bench.executors import IsolatedExecutor\n"
        "if __name__ == '__main__':\n"
        "    with IsolatedExecutor() as executor:\n"
        "        outcome = executor.run(plan.task(soft(), 1, SETTINGS))\n"
        "    print(outcome.status, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ok", "False"]


def test_the_server_has_torch_and_no_second_thread(executor: IsolatedExecutor) -> None:
    attempt(executor, soft())
    server = executor._server.pid
    maps = Path(f"/proc/{server}/maps").read_text()
    assert "libtorch" in maps
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1


def test_an_inspection_imports_nothing_large_that_the_server_has_not() -> None:
    program = (
        "import importlib, sys\n"
        "from bench.worker.server import PRELOAD\n"
        "for module in PRELOAD:\n    importlib.import_module(module)\n"
        "before = set(sys.modules)\n"
        "from bench import plan\n"
        "from bench.records import INSPECTION, Settings\n"
        "from bench.worker import main\n"
        "case = plan.single('dense', {'seq_len': 8, 'd_model': 8, 'd_ff': 8})\n"
        "print(main.attempt(plan.task(case, INSPECTION, Settings()))['status'], len(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    status, imported = done.stdout.split()
    assert status == "ok"
    assert int(imported) < 100, "torch._dynamo alone brings some hundreds of modules"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Shrinks", "maps (1, 8, 8) to (1, 1, 8), expected the same shape"),
        ("not_a_layer", "returned str, expected a torch.nn.Module"),
    ],
)
def test_what_is_no_layer_is_an_error(executor: IsolatedExecutor, name: str, words: str) -> None:
    outcome = attempt(executor, strange(name))
    assert outcome.status is Status.ERROR
    assert words in outcome.detail


def test_a_factory_gets_the_axes_that_it_names(executor: IsolatedExecutor) -> None:
    assert attempt(executor, strange("Identity")).status is Status.OK
    refused = attempt(executor, strange("Identity").with_axes(normalize="none"))
    assert refused.status is Status.ERROR
    assert "does not take normalize (it takes: d_model, d_ff, num_experts, slots_per_expert)" in refused.detail


def test_ctrl_c_ends_the_child_and_reaches_the_caller(executor: IsolatedExecutor) -> None:
    attempt(executor, soft())
    workers: list[int] = []
    server = executor._server.pid or 0

    def interrupt() -> None:
        wait_until(lambda: children(server))
        workers.extend(children(server))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in background
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            attempt(executor, strange("Hangs"), timeout=60.0)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert workers
    all_gone(workers)


def test_a_probe_says_what_there_is_and_what_is_wrong(executor: IsolatedExecutor) -> None:
    found = executor.probe(
        [
            "softmoe_ref.soft:soft",
            "no_such_module:x",
            "strange_layers:Nothing",
            "strange_layers:not_callable",
        ]
    )
    assert "cpu" in found.devices
    assert found.comparable["torch_threads"] >= 1
    assert found.problems == (
        "layer no_such_module:x: there is no module no_such_module (searched: here and installed packages)",
        "layer strange_layers:Nothing: module strange_layers has no Nothing",
        "layer strange_layers:not_callable: is no factory, it cannot be called",
    )


def test_no_worker_at_all_is_an_error_of_its_own(executor: IsolatedExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Resource temporarily unavailable")

    del executor
    monkeypatch.setattr("subprocess.Popen", refuse)
    with (
        pytest.raises(WorkerError, match="no worker process can be started: Resource temporarily unavailable"),
        IsolatedExecutor(),
    ):
        pass


def test_no_folder_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with IsolatedExecutor() as working:
        attempt(working, soft())
        assert [len(list(folder.iterdir())) for folder in tmp_path.glob("softmoe-bench-*")] == [0]
    assert list(tmp_path.glob("softmoe-bench-*")) == []


def test_words_for_exit_codes(tmp_path: Path) -> None:
    assert explain(-9) == "signal 9 (SIGKILL)"
    assert explain(3) == "exit code 3"
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 12\noom_kill 4\n")
    assert kills_for_memory(counters) == 4
    assert kills_for_memory(tmp_path / "nothing") == 0


def test_a_device_is_calibrated_in_a_child(executor: IsolatedExecutor) -> None:
    found = executor.calibrate("cpu", 0.01)
    assert {ceiling.what for ceiling in found} >= {"float32", "bfloat16", "float16", "cache"}
    assert all(ceiling.device == "cpu" and ceiling.value > 0 for ceiling in found)


def test_a_device_that_cannot_be_calibrated_is_one_line(executor: IsolatedExecutor) -> None:
    with pytest.raises(WorkerError, match=r"device nothing cannot be calibrated: .*nothing"):
        executor.calibrate("nothing", 0.01)
