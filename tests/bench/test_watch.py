"""A GPU that is not here, watched: no test sleeps, readings are asked for or the thread is waited for."""

import itertools
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from machines import UUID, fake_nvml, no_driver

from bench import gpus, readings
from bench.readings import Reading
from bench.watch import PROCESSES_EVERY, GpuWatch

NEVER = 3600.0
"""Seconds between readings of the thread: none comes but those at either end, and those that are asked for."""


def ticking() -> Callable[[], float]:
    return map(float, itertools.count()).__next__


def test_a_device_is_read_at_the_start_when_asked_and_at_the_end_in_base_units() -> None:
    with GpuWatch(UUID, nvml=fake_nvml(), interval=NEVER, now=ticking()) as gpu:
        gpu.read_once()
    found = gpu.watched
    assert [reading.at for reading in found.readings] == [0.0, 1.0, 2.0]
    assert set(found.readings) == {
        Reading(
            at=at,
            sm_clock_hz=345e6,
            memory_clock_hz=3201e6,
            temperature_c=41.0,
            power_w=112.5,
            reasons=frozenset({"idle"}),
            processes=frozenset({os.getpid()}),
        )
        for at in (0.0, 1.0, 2.0)
    }
    assert (found.max_clock_hz, found.before, found.own) == (1980e6, None, os.getpid())
    assert readings.flags(found, [(0.5, 1.5)]) == ()


def test_a_thread_of_its_own_reads_on_until_the_block_ends() -> None:
    enough, threads = threading.Event(), []

    def temperature(*_: object) -> int:
        threads.append(threading.current_thread().name)
        if len(threads) == 5:
            enough.set()
        return 40

    with GpuWatch(UUID, nvml=fake_nvml(nvmlDeviceGetTemperature=temperature), interval=0.0):
        assert enough.wait(60)
    assert threads[0] == threads[-1] == threading.current_thread().name
    assert set(threads[1:-1]) == {"gpu-watch"}
    assert "gpu-watch" not in {thread.name for thread in threading.enumerate()}


def test_the_thread_ends_and_nvml_is_closed_after_a_failure_too() -> None:
    closed: list[str] = []
    nvml = fake_nvml(nvmlShutdown=lambda: closed.append("closed"))
    gpu = GpuWatch(UUID, nvml=nvml, interval=NEVER)

    def measure() -> None:
        with gpu:
            assert closed == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure()
    assert closed == ["closed"]
    assert len(gpu.watched.readings) == 2
    assert "gpu-watch" not in {thread.name for thread in threading.enumerate()}


def test_the_list_of_processes_is_asked_for_at_both_ends_and_every_tenth_time() -> None:
    looks: list[object] = []

    def pids(handle: object) -> list[SimpleNamespace]:
        looks.append(handle)
        return [SimpleNamespace(pid=len(looks))]

    with GpuWatch(UUID, nvml=fake_nvml(nvmlDeviceGetComputeRunningProcesses=pids), interval=NEVER) as gpu:
        for _ in range(2 * PROCESSES_EVERY):
            gpu.read_once()
    processes = [reading.processes for reading in gpu.watched.readings]
    assert processes == [{1}] * PROCESSES_EVERY + [{2}] * PROCESSES_EVERY + [{3}, {4}]


def test_processes_that_draw_count_as_well() -> None:
    nvml = fake_nvml(nvmlDeviceGetGraphicsRunningProcesses=lambda _: [SimpleNamespace(pid=7)])
    with GpuWatch(UUID, nvml=nvml, interval=NEVER) as gpu:
        pass
    assert gpu.watched.readings[0].processes == {os.getpid(), 7}


REFUSING = [name for name in vars(fake_nvml()) if name.startswith("nvmlDeviceGet") and "Handle" not in name]


@pytest.mark.parametrize("function", REFUSING)
def test_what_a_device_refuses_is_unknown_and_the_rest_is_read(function: str) -> None:
    with GpuWatch(UUID, nvml=fake_nvml(**{function: None}), interval=NEVER, now=ticking()) as gpu:
        pass
    assert len(gpu.watched.readings) == 2
    assert gpu.watched.readings[0].at == 0.0


def test_a_device_that_fails_in_the_middle_leaves_unknowns() -> None:
    nvml = fake_nvml()
    with GpuWatch(UUID, nvml=nvml, interval=NEVER, now=ticking()) as gpu:
        vars(nvml).update(vars(fake_nvml(**dict.fromkeys(REFUSING))))
    first, last = gpu.watched.readings
    assert first.sm_clock_hz == 345e6
    assert last == Reading(at=1.0)


@pytest.mark.parametrize(
    ("uuid", "nvml"),
    [
        (None, fake_nvml()),
        (UUID, no_driver()),
        ("GPU-of-another-machine", fake_nvml()),
        (UUID, fake_nvml(nvmlDeviceGetHandleByUUID=None)),
    ],
    ids=["cpu", "no driver", "another device", "no handle"],
)
def test_without_a_device_the_watch_is_empty(uuid: str | None, nvml: SimpleNamespace) -> None:
    with GpuWatch(uuid, nvml=nvml, interval=0.0) as gpu:
        gpu.read_once()
    assert gpu.watched.readings == ()


def test_a_cpu_does_not_even_start_nvml() -> None:
    def refuse() -> None:
        raise AssertionError("NVML was started")

    with GpuWatch(None, nvml=fake_nvml(nvmlInit=refuse)):
        pass


def test_the_old_name_of_the_reasons_will_do() -> None:
    nvml = fake_nvml(
        nvmlDeviceGetCurrentClocksEventReasons=None, nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x4
    )
    with GpuWatch(UUID, nvml=nvml, interval=NEVER) as gpu:
        pass
    assert gpu.watched.readings[0].reasons == {"power_cap"}


# which device, and who is on it


def test_a_device_is_found_by_the_uuid_that_cuda_gives_and_by_nvml_s() -> None:
    for uuid in (UUID, UUID.removeprefix("GPU-")):
        assert gpus.find(fake_nvml(nvmlDeviceGetDeviceHandleFromMigDeviceHandle=None), uuid) == ("handle 0", "handle 0")
    assert gpus.find(fake_nvml(), "0000") is None


def sliced(**changed: Callable[..., object]) -> SimpleNamespace:
    """A device cut into slices, one of which is asked for."""

    def find(uuid: str) -> str:
        if uuid != UUID.replace("GPU", "MIG"):
            raise fake_nvml().NVMLError("Not Found")
        return "slice"

    on = {"slice": [SimpleNamespace(pid=os.getpid())], "device": [SimpleNamespace(pid=7)]}
    return fake_nvml(
        nvmlDeviceGetHandleByUUID=find,
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle={"slice": "device"}.__getitem__,
        nvmlDeviceGetComputeRunningProcesses=on.__getitem__,
        nvmlDeviceGetClockInfo=lambda handle, _clock: {"device": 1410}[handle],
        nvmlDeviceGetMigMode=lambda _: [1, 1],
        **changed,
    )


@pytest.mark.parametrize("uuid", [UUID.removeprefix("GPU-"), UUID.replace("GPU", "MIG")])
def test_a_slice_has_its_own_processes_and_the_device_s_clocks(uuid: str) -> None:
    assert gpus.find(sliced(), uuid) == ("device", "slice")
    with GpuWatch(uuid, nvml=sliced(), interval=NEVER) as gpu:
        pass
    assert gpu.watched.readings[0].processes == {os.getpid()}
    assert gpu.watched.readings[0].sm_clock_hz == 1410e6


def test_whoever_holds_a_gpu_is_found_on_all_of_them() -> None:
    on = {"handle 0": [SimpleNamespace(pid=7)], "handle 1": [SimpleNamespace(pid=7), SimpleNamespace(pid=8)]}
    nvml = fake_nvml(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetComputeRunningProcesses=on.__getitem__)
    assert gpus.holders(nvml) == {7, 8}
    assert gpus.holders(fake_nvml(nvmlDeviceGetComputeRunningProcesses=lambda _: [])) == frozenset()


@pytest.mark.parametrize(
    "nvml",
    [
        no_driver(),
        fake_nvml(nvmlDeviceGetCount=None),
        fake_nvml(nvmlDeviceGetHandleByIndex=None),
        fake_nvml(nvmlDeviceGetComputeRunningProcesses=None, nvmlDeviceGetGraphicsRunningProcesses=None),
    ],
    ids=["no driver", "no count", "no handle", "no lists"],
)
def test_where_nobody_can_be_asked_holders_are_unknown(nvml: SimpleNamespace) -> None:
    assert gpus.holders(nvml) is None


@pytest.mark.gpu
def test_the_real_device_is_seen_at_work() -> None:
    import time

    import torch

    from bench.worker import device

    before = device.processes_before()
    on = torch.device("cuda")
    a = torch.randn(4096, 4096, device=on)
    spans = []
    with GpuWatch(device.uuid(on), before=before) as gpu:
        end = time.perf_counter() + 1.0
        while (start := time.perf_counter()) < end:
            a @ a
            torch.cuda.synchronize()
            spans.append((start, time.perf_counter()))
    found = gpu.watched
    assert len(found.readings) >= 5
    assert found.max_clock_hz is not None
    clocks = [reading.sm_clock_hz for reading in found.readings]
    assert all(clock is not None and 1e8 < clock <= found.max_clock_hz for clock in clocks)
    assert all(reading.reasons is None or "idle" not in reading.reasons for reading in found.readings[3:-1])
    told = readings.facts(found, spans)
    assert 10 < told["gpu_temperature_c"][1] < 110
    assert told["gpu_readings"] == len(found.readings)
    assert all(0 <= index < len(spans) for indices in readings.marks(found, spans).values() for index in indices)
