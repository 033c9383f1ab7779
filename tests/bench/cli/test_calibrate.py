"""`softmoe-bench calibrate` with a recorded device, and once for real."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import CEILINGS

from bench import executors, peaks
from bench import run as running
from bench.cli import group
from bench.environment import GIB
from bench.errors import BenchError, InputError, StoreError
from bench.executors import Probe
from bench.executors.replay import ReplayExecutor
from bench.records import Ceiling, Environment
from bench.store import open_store

CUDA = (
    Ceiling("cuda", "bandwidth", "B/s", (3.0e12,), "copy of 256 MiB arrays"),
    Ceiling("cuda", "bfloat16", "FLOP/s", (7.0e14, 7.5e14, 8.0e14), "8192 x 8192 x 8192"),
    Ceiling("cuda", "cache", "B", (50e6,), "all instances of the last level"),
    Ceiling("cuda", "float64", "FLOP/s", (4e13, 4.5e13, 5e13, 5.5e13, 6e13), "4096 x 4096 x 4096"),
)
H100 = {"gpu": "NVIDIA H100 80GB HBM3", "gpu_sm_count": 132, "gpu_memory_bytes": 80 * GIB, "cpu": "Test CPU"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTMOE_BENCH_STORE", raising=False)
    return tmp_path


@pytest.fixture
def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """A machine with one H100 that gives back what was recorded."""
    del folder
    recorded = ReplayExecutor([], probe=Probe(("cpu", "cuda")), ceilings=[*CEILINGS, *CUDA])
    monkeypatch.setattr(executors, "make", lambda _name: recorded)
    monkeypatch.setattr(running, "comparable_facts", lambda _probe: H100)
    return Environment(H100)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, ["calibrate", *words], catch_exceptions=True)


def test_ceilings_are_kept_for_this_machine_and_shown_beside_the_data_sheet(machine: Environment) -> None:
    result = invoke()
    sheet = peaks.of_machine(H100)
    assert sheet is not None
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "cpu: Test CPU",
        "                  measured    data sheet   share  fastest way",
        "  bandwidth      20.0 GB/s             –       –  copy of 256 MiB",
        "  float32      100 GFLOP/s             –       –  1024 x 1024 x 1024",
        "cuda: NVIDIA H100 80GB HBM3",
        "                  measured    data sheet   share  fastest way",
        "  bandwidth      3.00 TB/s     3.35 TB/s  89.6 %  copy of 256 MiB arrays",
        "  bfloat16     750 TFLOP/s   989 TFLOP/s  75.8 %  8192 x 8192 x 8192",
        "  float64     50.0 TFLOP/s             –       –  4096 x 4096 x 4096 (rough: ±10%)",
        "  rough: half of the samples lie more than 10% apart; calibrate again on an idle machine",
        f"  data sheet: {sheet.source}",
        f"kept in softmoe-bench.db for runs on this machine ({machine.fingerprint})",
    ]
    assert "calibrating cuda: about 3 s for each number format and for memory" in result.stderr
    store = open_store()
    assert store.ceilings(machine.fingerprint) == (*CEILINGS, *CUDA)
    store.close()


def test_one_device_may_be_calibrated_alone(machine: Environment) -> None:
    result = invoke("--device", "cuda", "--store", "my.db")
    assert result.exit_code == 0, result.output
    assert "cpu:" not in result.stdout
    store = open_store("my.db")
    assert store.ceilings(machine.fingerprint) == CUDA
    store.close()


def test_a_gpu_without_a_data_sheet_is_told_what_that_means(
    machine: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "comparable_facts", lambda _probe: {**machine.comparable, "gpu": "NVIDIA X900"})
    lines = invoke("--device", "cuda").stdout.splitlines()
    assert lines[0] == "cuda: NVIDIA X900"
    assert "  data sheet: unknown for this GPU, so its runs have no MFU, but a share of what was measured here" in lines


def test_what_is_measured_on_a_busy_machine_is_shown_and_what_was_known_before_is_kept(
    machine: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("--device", "cpu").exit_code == 0
    store = open_store()
    before = store.ceilings(machine.fingerprint)
    busy = [replace(c, samples=(1.0,), disturbed="machine was busy" * (c.what == "float32")) for c in CEILINGS]
    again = ReplayExecutor([], probe=Probe(("cpu",)), ceilings=busy)
    monkeypatch.setattr(executors, "make", lambda _name: again)
    result = invoke("--device", "cpu")
    assert "(not kept: machine was busy)" in result.stdout
    assert "calibrate again when it is idle" in result.stdout
    after = {ceiling.what: ceiling.value for ceiling in store.ceilings(machine.fingerprint)}
    store.close()
    known = {ceiling.what: ceiling.value for ceiling in before}
    assert after == {what: known[what] if what == "float32" else 1.0 for what in known}


def test_an_answer_for_programs(machine: Environment) -> None:
    answer = json.loads(invoke("--json").stdout)
    assert answer["fingerprint"] == machine.fingerprint
    assert answer["machine"] == H100
    found = {(row["device"], row["what"]): row for row in answer["ceilings"]}
    assert set(found) == {(ceiling.device, ceiling.what) for ceiling in (*CEILINGS, *CUDA)}
    row = found["cuda", "bfloat16"]
    assert (row["measured"], row["datasheet"], row["unit"]) == (7.5e14, 989.4e12, "FLOP/s")
    assert row["share"] == pytest.approx(0.758, abs=1e-3)
    assert found["cpu", "float32"]["datasheet"] is None
    assert found["cpu", "float32"]["share"] is None


def test_a_device_that_is_not_here(machine: Environment) -> None:
    del machine
    result = invoke("--device", "tpu")
    assert isinstance(result.exception, InputError)
    assert "unknown device 'tpu'" in str(result.exception)
    assert "(allowed: cpu, cuda)" in str(result.exception)


def test_a_store_that_cannot_be_made_is_refused_before_anything_is_measured(machine: Environment) -> None:
    del machine
    result = invoke("--store", "nowhere/s.db")
    assert isinstance(result.exception, StoreError)
    assert "calibrating" not in result.output


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_a_time_that_is_none(machine: Environment, seconds: str) -> None:
    del machine
    result = invoke("--seconds", seconds)
    assert result.exit_code == 2
    assert not isinstance(result.exception, BenchError)


def calibrate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


TINY = """
[grid]
name = "tiny"
description = "Is it fast?"
[run]
repeats = 1
max_seconds = 0.05
[[sweep]]
layer = "dense"
seq_len = 16
d_model = 16
d_ff = 32
"""


def test_a_run_finds_the_ceilings_of_its_machine(folder: Path) -> None:
    (folder / "tiny.toml").write_text(TINY)
    done = calibrate(folder, "calibrate", "--device", "cpu", "--seconds", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    spoilt = {row["what"] for row in json.loads(done.stdout)["ceilings"] if row["disturbed"]}
    ran = calibrate(folder, "run", "--grid", "tiny.toml", "--set", "device=cpu", "--json")
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)["cases"][0]["figures"]
    assert ("ceiling_share" in figures) is ("float32" not in spoilt)
    if "ceiling_share" in figures:
        assert figures["ceiling_share"]["value"] > 0
        assert figures["ceiling_share"]["unit"] == "ratio"
    assert "mfu" not in figures
    findings = {
        finding["name"]: finding for finding in json.loads(calibrate(folder, "doctor", "--json").stdout)["findings"]
    }
    assert findings["ceilings"]["ok"] is True
    assert findings["ceilings"]["detail"] == "measured for cpu"


def doctor_on_ceilings(machine: Environment, *words: str) -> dict[str, object]:
    del machine
    result = CliRunner().invoke(group, ["doctor", "--json", *words])
    assert result.exit_code == 0, result.output
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    return dict(findings["ceilings"])


def test_doctor_says_that_a_store_knows_nothing_of_this_machine_and_makes_none(machine: Environment) -> None:
    finding = doctor_on_ceilings(machine)
    assert (finding["ok"], finding["hint"]) == (False, "softmoe-bench calibrate")
    assert "softmoe-bench.db does not exist" in str(finding["detail"])
    assert not Path("softmoe-bench.db").exists()


def test_doctor_leaves_a_store_of_an_older_form_as_it_is(machine: Environment) -> None:
    kept = Path(__file__).parents[2] / "data" / "stores" / "form-1.db"
    Path("old.db").write_bytes(kept.read_bytes())
    finding = doctor_on_ceilings(machine, "--store", "old.db")
    assert finding["detail"] == "this machine was not calibrated, so no figure is held against it"
    assert Path("old.db").read_bytes() == kept.read_bytes()


@pytest.mark.gpu
def test_a_run_on_a_gpu_finds_the_ceilings_of_its_machine(folder: Path) -> None:
    (folder / "tiny.toml").write_text(TINY)
    done = calibrate(folder, "calibrate", "--device", "cuda", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cuda: ")
    ran = calibrate(folder, "run", "--grid", "tiny.toml", "--set", "device=cuda", "--json")
    assert ran.returncode == 0, ran.stderr
    (case,) = json.loads(ran.stdout)["cases"]
    assert 0 < case["figures"]["ceiling_share"]["value"] < 1
    assert not {"suspect", "unknown_peak"} & {caveat["code"] for caveat in case["caveats"]}
