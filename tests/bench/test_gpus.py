"""GPUs that are not here: every test brings its own /proc, /sys and GPU."""

import sys

import pytest
from machines import fake_nvml, no_driver

from bench.environment import GIB
from bench.gpus import Gpu, gpus, nvml_status, sm_count, used_first


def test_a_gpu_is_described_in_base_units() -> None:
    assert gpus(fake_nvml()) == [
        Gpu(
            0,
            uuid="GPU-6f2d",
            name="NVIDIA H200",
            memory_bytes=150_754_820_096,
            driver="570.86.15",
            compute_capability="9.0",
            sm_count=132,
            clock_hz=345e6,
            max_clock_hz=1980e6,
            power_limit_w=700.0,
            energy_counter=True,
            mig_enabled=False,
            clock_reasons=True,
            other_processes=(),
        )
    ]
    assert nvml_status(fake_nvml()) == "ok"


def test_the_gpu_in_use_comes_first_whatever_the_driver_calls_it() -> None:
    """CUDA names a device without the driver's prefix, and counts in an order of its own."""
    found = [Gpu(0, uuid="GPU-aa"), Gpu(1, uuid="GPU-bb"), Gpu(2)]
    assert [gpu.index for gpu in used_first(found, "bb")] == [1, 0, 2]
    assert [gpu.index for gpu in used_first(found, "GPU-bb")] == [1, 0, 2]
    assert [gpu.index for gpu in used_first(found, None)] == [0, 1, 2]
    assert [gpu.index for gpu in used_first(found, "cc")] == [0, 1, 2]


def test_comparable_gpu_facts_leave_out_what_changes() -> None:
    cool, hot = gpus(fake_nvml())[0], gpus(fake_nvml(nvmlDeviceGetClockInfo=lambda *_: 1980))[0]
    assert cool != hot
    assert cool.comparable_facts() == hot.comparable_facts()
    assert cool.comparable_facts() == {
        "gpu": "NVIDIA H200",
        "gpu_memory_bytes": 140 * GIB,
        "gpu_sm_count": 132,
        "gpu_compute_capability": "9.0",
        "gpu_driver_major": "570",
    }
    assert set(Gpu(0).comparable_facts().values()) == {None}


def test_a_device_that_refuses_everything_is_listed_with_unknowns() -> None:
    refusals = dict.fromkeys(name for name in vars(fake_nvml()) if name.startswith("nvmlDeviceGet"))
    kept = {"nvmlDeviceGetCount": lambda: 2, "nvmlDeviceGetHandleByIndex": str}
    assert gpus(fake_nvml(**refusals | kept)) == [Gpu(0, driver="570.86.15"), Gpu(1, driver="570.86.15")]
    lost = {"nvmlDeviceGetHandleByIndex": None}
    assert gpus(fake_nvml(**lost)) == [Gpu(0)]


def test_an_old_binding_without_a_function_is_no_error() -> None:
    nvml = fake_nvml(nvmlDeviceGetName=lambda _: b"Tesla V100")
    del nvml.nvmlDeviceGetNumGpuCores
    gpu = gpus(nvml)[0]
    assert gpu.name == "Tesla V100"
    assert gpu.sm_count is None


@pytest.mark.parametrize(
    ("cores", "capability", "count"),
    [
        (6912, "8.0", 108),
        (5120, "7.0", 80),
        (10752, "8.6", 84),
        (18176, "8.9", 142),
        (16896, "9.0", 132),
        (24064, "12.0", 188),
        (2880, "3.5", None),
        (None, "9.0", None),
        (16896, None, None),
    ],
)
def test_multiprocessors_follow_from_lanes(cores: float | None, capability: str | None, count: int | None) -> None:
    assert sm_count(cores, capability) == count


def test_nvml_is_closed_after_use_and_also_after_a_failure() -> None:
    closed = []
    gpus(fake_nvml(nvmlShutdown=lambda: closed.append("used")))

    def crash(_: object) -> None:
        raise RuntimeError("not NVML's")

    broken = fake_nvml(nvmlShutdown=lambda: closed.append("failed"), nvmlDeviceGetName=crash)
    with pytest.raises(RuntimeError, match="not NVML's"):
        gpus(broken)
    assert closed == ["used", "failed"]


def test_without_a_driver_there_is_a_reason_and_no_exception() -> None:
    assert gpus(no_driver()) == []
    assert nvml_status(no_driver()) == "NVML cannot start: Driver Not Loaded"
    assert nvml_status(fake_nvml(nvmlDeviceGetCount=lambda: 0)) == "the NVIDIA driver sees no GPU"


def test_without_the_binding_there_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus() == []
    assert "pip install nvidia-ml-py" in nvml_status()
