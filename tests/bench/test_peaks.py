"""The table of peaks against names as drivers write them."""

import re

import pytest

from bench import peaks
from bench.peaks import GIB, Peak

# (name, multiprocessors, MiB) as nvidia-smi and NVML report them
DEVICES = {
    "NVIDIA V100 SXM2 16 GB": ("Tesla V100-SXM2-16GB", 80, 16160),
    "NVIDIA V100 SXM2 32 GB": ("Tesla V100-SXM2-32GB", 80, 32510),
    "NVIDIA T4": ("Tesla T4", 40, 15360),
    "NVIDIA A100 SXM4 40 GB": ("NVIDIA A100-SXM4-40GB", 108, 40960),
    "NVIDIA A100 SXM4 80 GB": ("NVIDIA A100-SXM4-80GB", 108, 81920),
    "NVIDIA A100 PCIe 80 GB": ("NVIDIA A100 80GB PCIe", 108, 81920),
    "NVIDIA A30": ("NVIDIA A30", 56, 24576),
    "NVIDIA A10": ("NVIDIA A10", 72, 23028),
    "NVIDIA A40": ("NVIDIA A40", 84, 46068),
    "NVIDIA RTX A6000": ("NVIDIA RTX A6000", 84, 49140),
    "NVIDIA GeForce RTX 3090": ("NVIDIA GeForce RTX 3090", 82, 24576),
    "NVIDIA GeForce RTX 4090": ("NVIDIA GeForce RTX 4090", 128, 24564),
    "NVIDIA RTX 6000 Ada Generation": ("NVIDIA RTX 6000 Ada Generation", 142, 49140),
    "NVIDIA L40S": ("NVIDIA L40S", 142, 46068),
    "NVIDIA L40": ("NVIDIA L40", 142, 46068),
    "NVIDIA L4": ("NVIDIA L4", 58, 23034),
    "NVIDIA H100 SXM5": ("NVIDIA H100 80GB HBM3", 132, 81559),
    "NVIDIA H100 PCIe": ("NVIDIA H100 PCIe", 114, 81559),
    "NVIDIA H100 NVL": ("NVIDIA H100 NVL", 132, 95830),
    "NVIDIA H200 SXM": ("NVIDIA H200", 132, 143771),
    "NVIDIA H200 NVL": ("NVIDIA H200 NVL", 132, 143771),
    "NVIDIA B200": ("NVIDIA B200", 148, 183359),
    "NVIDIA GeForce RTX 5090": ("NVIDIA GeForce RTX 5090", 170, 32607),
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": (
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        188,
        97887,
    ),
}
STRANGERS = [
    ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 14, 4864),
    ("NVIDIA A100-SXM4-80GB", 42, 40448),  # a slice that calls itself by the whole's name
    ("NVIDIA A100-SXM4-80GB", 108, 40960),
    ("NVIDIA A10G", 80, 23028),
    ("NVIDIA A16", 10, 15356),
    ("NVIDIA A800-SXM4-80GB", 108, 81920),
    ("NVIDIA GeForce RTX 3090 Ti", 84, 24564),
    ("NVIDIA GeForce RTX 4090 D", 114, 24564),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 76, 16376),
    ("NVIDIA GeForce RTX 5090 D", 170, 32607),
    ("NVIDIA GH200 480GB", 132, 97871),
    ("NVIDIA GB200", 152, 189471),
    ("NVIDIA H20", 78, 97871),
    ("NVIDIA H800", 132, 81559),
    ("NVIDIA H100 80GB HBM2e", 114, 81559),
    ("NVIDIA B300 SXM6 AC", 148, 275040),
    ("NVIDIA L20", 92, 46068),
    ("Quadro RTX 6000", 72, 24576),
    ("Tesla V100-PCIE-16GB", 80, 16160),
    ("AMD Instinct MI300X", 304, 196288),
    ("", 108, 81920),
]


def found(name: str, sm_count: int, mib: int) -> str | None:
    peak = peaks.find(name, sm_count, mib * 2**20)
    return None if peak is None else peak.title


@pytest.mark.parametrize("title", DEVICES)
def test_a_device_is_known_by_its_name_multiprocessors_and_memory(title: str) -> None:
    assert found(*DEVICES[title]) == title


@pytest.mark.parametrize("device", STRANGERS, ids=lambda device: f"{device[0]}, {device[1]}")
def test_a_device_that_is_not_in_the_table_has_no_peak(device: tuple[str, int, int]) -> None:
    assert found(*device) is None


def test_every_device_of_the_table_is_tried() -> None:
    assert [peak.title for peak in peaks.table()] == list(DEVICES)


@pytest.mark.parametrize("peak", peaks.table(), ids=lambda peak: peak.title)
def test_a_name_fits_its_own_device_only(peak: Peak) -> None:
    names = [name for name, _, _ in (*DEVICES.values(), *STRANGERS)]
    same = [name for name in dict.fromkeys(names) if re.fullmatch(peak.name, name)]
    assert same == [DEVICES[peak.title][0]]


@pytest.mark.parametrize(
    ("name", "sm_count", "memory"),
    [(None, 132, 80 * GIB), ("NVIDIA H100 80GB HBM3", None, 80 * GIB), ("NVIDIA H100 80GB HBM3", 132, None)],
)
def test_a_device_of_which_something_is_unknown_has_no_peak(
    name: str | None, sm_count: int | None, memory: int | None
) -> None:
    assert peaks.find(name, sm_count, memory) is None


@pytest.mark.parametrize("peak", peaks.table(), ids=lambda peak: peak.title)
def test_figures_are_of_dense_arithmetic_and_in_base_units(peak: Peak) -> None:
    for dtype, sparse in peak.with_sparsity.items():
        assert peak.flops_per_s[dtype] <= sparse / 2 * 1.001, dtype
        assert peak.flops_per_s[dtype] >= sparse / 2 * 0.98, dtype
    assert set(peak.with_sparsity) <= set(peak.flops_per_s) <= {"float32", "tf32", "bfloat16", "float16"}
    assert all(5e12 < figure < 5e15 for figure in peak.flops_per_s.values())
    assert 2e11 < peak.bandwidth < 1e13


@pytest.mark.parametrize("peak", peaks.table(), ids=lambda peak: peak.title)
def test_narrower_formats_are_no_slower(peak: Peak) -> None:
    order = [peak.flops_per_s[name] for name in ("float32", "tf32", "bfloat16") if name in peak.flops_per_s]
    assert order == sorted(order)
    both = {peak.flops_per_s[name] for name in ("bfloat16", "float16") if name in peak.flops_per_s}
    assert len(both) <= 1


@pytest.mark.parametrize("peak", peaks.table(), ids=lambda peak: peak.title)
def test_a_figure_names_its_document_and_year(peak: Peak) -> None:
    assert peak.source.startswith("NVIDIA ")
    assert re.fullmatch(r"20\d\d(-\d\d)?", peak.date)


def test_the_gpu_of_a_run_is_looked_up_by_its_facts() -> None:
    facts = {"gpu": "NVIDIA H200", "gpu_sm_count": 132, "gpu_memory_bytes": 140 * GIB, "cpu": "Xeon"}
    peak = peaks.of_machine(facts)
    assert peak is not None
    assert (peak.flops_per_s["bfloat16"], peak.bandwidth) == (989.5e12, 4.8e12)
    assert peaks.of_machine({"cpu": "Xeon"}) is None


@pytest.mark.parametrize(
    ("dtype", "device", "facts", "expected"),
    [
        ("float32", "cuda", {"tf32": False, "float32_matmul_precision": "highest"}, "float32"),
        ("float32", "cuda", {"tf32": True, "float32_matmul_precision": "highest"}, "tf32"),
        ("float32", "cuda", {"tf32": False, "float32_matmul_precision": "high"}, "tf32"),
        ("float32", "cuda", {"tf32": False, "float32_matmul_precision": "medium"}, "tf32"),
        ("float32", "cuda", {}, "float32"),
        ("float32", "cpu", {"tf32": True}, "float32"),
        ("bfloat16", "cuda", {"tf32": True}, "bfloat16"),
    ],
)
def test_float32_on_a_gpu_that_may_use_tf32_is_held_against_tf32(
    dtype: str, device: str, facts: dict[str, object], expected: str
) -> None:
    assert peaks.number_format(dtype, device, facts) == expected
