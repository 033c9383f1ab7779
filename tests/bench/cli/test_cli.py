"""The command line as a user meets it: real runs of a tiny grid, and mistakes."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from listening import listen
from recorded import measured, run, soft

from bench import layers
from bench.cli import group
from bench.errors import BenchError
from bench.records import Planned
from bench.store import open_store

FAKES = Path(__file__).parents[2] / "fakes"
TINY = """
[grid]
name = "tiny"
description = "Is it fast?"
[run]
repeats = 2
max_seconds = 0.05
[defaults]
seq_len = 16
d_model = 16
d_ff = 32
[[sweep]]
layer = "dense"
batch_size = [1, 2]
[[sweep]]
layer = "soft"
num_experts = 4
slots_per_expert = 4
batch_size = [1, 2]
"""

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Cli:
    """Runs the real program in a folder with a tiny grid."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(FAKES), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with two runs of exact figures, in the current folder."""
    monkeypatch.chdir(folder)
    store = open_store(create=True)
    for name, id_, seconds in (("quick-1", "aaaaaaaaaaaa", 1.0), ("quick-2", "bbbbbbbbbbbb", 1.5)):
        store.start_run(run(name, id=id_), [Planned(soft())])
        for outcome in measured(soft(), [seconds, 1.01 * seconds, 0.99 * seconds]):
            store.add_outcome(id_, outcome)
        store.set_state(id_, "complete")
    store.close()
    return folder


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, list(words))


def complaint(*words: str) -> str:
    """The one line that a mistake gives."""
    result = invoke(*words)
    assert isinstance(result.exception, BenchError), (result.output, result.exception)
    assert result.exception.exit_code == 2
    return str(result.exception)


# one whole story


def test_from_a_grid_to_a_report(cli: Cli, folder: Path) -> None:
    first = cli("run", "--grid", "tiny.toml", "--report", "out.html")
    assert first.returncode == 0, first.stderr
    assert "run tiny-1 (" in first.stdout
    assert "4 cases, 4 ok" in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 100
    assert "[12/12]" in first.stderr
    assert "\r" not in first.stderr
    assert (folder / "out.html").read_text().lower().startswith("<!doctype html>")
    second = cli("run", "--grid", "tiny.toml", "--set", "batch_size=2", "dtype=float32", "--json")
    assert second.returncode == 0, second.stderr
    answer = json.loads(second.stdout)
    assert [case["axes"]["batch_size"] for case in answer["cases"]] == [2, 2]
    assert {case["status"] for case in answer["cases"]} == {"ok"}
    for command in (["show"], ["show", "tiny-1"], ["list", "runs"], ["export", "-o", "x.parquet"], ["report"]):
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert "tiny-2" in cli("list", "runs").stdout
    assert set(pd.read_parquet(folder / "x.parquet").layer) == {"dense", "soft"}
    compared = cli("compare", "tiny-1", "tiny-2", "--fail-on", "missing")
    assert compared.returncode == 3, compared.stdout + compared.stderr
    assert "2 missing" in compared.stdout


def test_a_slower_layer_is_never_called_anything_better(cli: Cli) -> None:
    done = cli(
        *("run", "--grid", "tiny.toml", "--layer", "strange_layers:TwiceTheExperts"),
        *("--repeats", "5", "--max-seconds", "0.2"),
        *("layer=soft,strange_layers:TwiceTheExperts", "d_model=128", "d_ff=1024", "seq_len=64", "slots_per_expert=16"),
    )
    assert done.returncode == 0, done.stderr
    assert "not checked" in done.stdout
    compared = cli("compare", "latest", "--pair", "layer=soft,strange_layers:TwiceTheExperts", "--json")
    answer = json.loads(compared.stdout)
    verdicts = {case["verdict"] for case in answer["cases"]}
    assert verdicts <= {"slower", "unclear"}, compared.stdout  # unclear where something else used the machine
    assert "flops" in answer["fired"]
    assert compared.returncode == 1


def test_a_failing_layer_is_a_row_with_its_reason_and_exit_code_3(cli: Cli) -> None:
    done = cli("run", "--grid", "tiny.toml", "--layer", "strange_layers:Raises", "batch_size=1")
    assert done.returncode == 3
    assert "error: strange_layers:Raises" in done.stdout
    assert "ValueError: no tokens today" in done.stdout
    assert "2 ok, 1 error" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_killing_the_program_loses_no_finished_case(cli: Cli, folder: Path) -> None:
    """SIGKILL in the middle, then --resume measures only what is missing."""
    program = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", "--grid", "tiny.toml", "--repeats", "6"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(FAKES)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = folder / "softmoe-bench.db"
    end = time.monotonic() + 120
    while not path.exists() or count(path) < 9:
        assert time.monotonic() < end
        time.sleep(0.02)
    program.send_signal(signal.SIGKILL)
    program.wait()
    kept = rows(path)
    assert 9 <= len(kept) < 28
    done = cli("run", "--resume", "tiny-1")
    assert done.returncode == 0, done.stderr
    after = rows(path)
    assert len(after) == 4 * 7
    assert kept <= after
    assert "4 cases, 4 ok" in done.stdout


def count(path: Path) -> int:
    try:
        return len(rows(path))
    except sqlite3.OperationalError:
        return 0


def rows(path: Path) -> set[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return set(connection.execute("SELECT case_id, repeat, started FROM outcomes"))
    finally:
        connection.close()


def test_ctrl_c_keeps_what_is_measured_and_says_how_to_go_on(folder: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", "--grid", "tiny.toml", "--repeats", "50", "--store", "my.db"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(FAKES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,  # noqa: PLW1509  (no other thread runs here)
    )
    end = time.monotonic() + 120
    while not (folder / "my.db").exists() or count(folder / "my.db") < 6:
        assert time.monotonic() < end
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate()
    assert program.returncode == 130
    assert "go on with: softmoe-bench run --resume tiny-1 --store my.db" in err
    assert "Traceback" not in err
    assert "interrupted" in out


def test_inline_measures_in_this_process(cli: Cli) -> None:
    done = cli("run", "--grid", "tiny.toml", "--executor", "inline", "layer=dense", "batch_size=1")
    assert done.returncode == 0, done.stderr


def test_doctor_says_what_machine_this_is(cli: Cli) -> None:
    done = cli("doctor")
    assert done.returncode == 0
    assert "worker process: starts; devices: cpu" in done.stdout
    assert "memory_peak_reset" in done.stdout
    answer = json.loads(cli("doctor", "--json").stdout)
    assert answer["machine"]["torch"] == answer["packages"]["torch"]
    assert {"name", "ok", "detail", "hint"} == set(answer["findings"][0])
    others = answer["findings"][-1]
    missing = [layer.package.name for layer in layers.TABLE.values() if layer.missing]
    assert (others["name"], others["ok"]) == ("layers of other packages", not missing)
    assert all(name in others["detail"] for name in missing)
    assert "transformers" in answer["packages"]


# answers from a store


def test_compare_of_two_runs(stored: Path) -> None:
    del stored
    result = invoke("compare", "quick-1", "quick-2", "--json")
    answer = json.loads(result.stdout)
    (case,) = answer["cases"]
    assert case["verdict"] == "slower"
    assert case["ratio"]["estimate"] == pytest.approx(1.5)
    assert answer["worse"]


def test_compare_prints_a_table_worst_first(stored: Path) -> None:
    del stored
    result = invoke("compare", "quick-1", "quick-2")
    assert "1.50" in result.output
    assert "1 slower" in result.output


def test_a_wider_threshold_needs_more(stored: Path) -> None:
    del stored
    assert "1 unclear" in invoke("compare", "quick-1", "quick-2", "--threshold", "0.5").output
    assert "1 same" in invoke("compare", "quick-1", "quick-2", "--threshold", "0.9").output


def test_baselines(stored: Path) -> None:
    del stored
    assert (
        invoke("baseline", "list").output == "no baseline yet; save one with `softmoe-bench baseline save NAME [RUN]`\n"
    )
    assert "baseline main: run quick-1" in invoke("baseline", "save", "main", "quick-1").output
    assert "main  run quick-1" in invoke("baseline", "list").output
    assert json.loads(invoke("baseline", "list", "--json").output)[0]["run"] == "quick-1"
    assert "run quick-1 (aaaaaaaaaaaa)" in invoke("baseline", "show", "main").output
    assert "1 slower" in invoke("compare", "baseline:main", "latest").output
    assert "baseline main is forgotten" in invoke("baseline", "delete", "main").output
    assert "has no baseline main" in complaint("baseline", "delete", "main")


def test_only_a_complete_run_becomes_a_baseline(stored: Path) -> None:
    store = open_store(str(stored / "softmoe-bench.db"))
    store.set_state("bbbbbbbbbbbb", "interrupted")
    assert "run quick-2 is interrupted; finish it with" in complaint("baseline", "save", "main", "quick-2")


def test_show_prints_the_table_again(stored: Path) -> None:
    del stored
    output = invoke("show", "quick-1").output
    assert "1.00 s" in output
    assert json.loads(invoke("show", "quick-1", "--json").output)["cases"][0]["figures"]["latency"]["processes"] == 3


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_export(stored: Path, ending: str) -> None:
    path = stored / f"rows.{ending}"
    assert invoke("export", "quick-1", "quick-2", "-o", str(path)).exit_code == 0
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[ending]
    frame = read(path)
    assert set(frame.run) == {"quick-1", "quick-2"}
    assert frame[frame.metric == "latency"].value.max() == pytest.approx(1.515)


def test_export_summary(stored: Path) -> None:
    invoke("export", "--summary", "-o", str(stored / "rows.csv"))
    frame = pd.read_csv(stored / "rows.csv")
    assert len(frame[frame.metric == "latency"]) == 1


@pytest.mark.parametrize("what", ["layers", "grids", "axes", "metrics"])
def test_lists(what: str) -> None:
    assert len(invoke("list", what).output.splitlines()) >= 4
    answer = json.loads(invoke("list", what, "--json").output)
    assert all({"name", "text"} <= set(row) for row in answer)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "needs: soft-moe, not installed (pip install soft-moe==0.0.1))"),
        ("0.0.1", "needs: soft-moe, installed 0.0.1)"),
    ],
)
def test_a_list_of_layers_says_what_each_needs(
    version: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.layers.layer.package_versions", lambda names: dict.fromkeys(names, version))
    lines = invoke("list", "layers").output.splitlines()
    assert [line.endswith(words) for line in lines if line.startswith("soft_moe_bwconrad")] == [True]
    assert not [line for line in lines if line.startswith("soft ") and "needs" in line]


def test_plan_shows_cases_and_skips(folder: Path) -> None:
    (folder / "skip.toml").write_text(
        '[[sweep]]\nlayer = "token_choice"\nnum_experts = [1, 4]\ntop_k = 2\n[[sweep]]\nlayer = "dense"\n'
    )
    output = invoke("plan", "--grid", str(folder / "skip.toml")).output
    assert "(skipped: top_k=2 is more than num_experts=1)" in output
    assert "2 cases, 1 skipped" in output
    answer = json.loads(invoke("plan", "--grid", str(folder / "skip.toml"), "--json").output)
    assert [case["skip"] is None for case in answer["cases"]] == [False, True, True]


def test_plan_says_once_what_all_cases_share(folder: Path) -> None:
    (folder / "two.toml").write_text(
        '[defaults]\nd_model = 32\n[[sweep]]\nlayer = "soft"\nnum_experts = [2, 4]\nslots_per_expert = 1\n'
        '[[sweep]]\nlayer = "dense"\n'
    )
    lines = invoke("plan", "--grid", str(folder / "two.toml")).output.splitlines()
    said = " ".join(lines)
    assert said.count("d_model=32") == 1
    assert said.index("In every case: ") < said.index("d_model=32") < said.index("layer=soft")
    assert [line.count("num_experts=") for line in lines if "layer=" in line] == [1, 1, 0]
    assert max(map(len, lines[1 : lines.index(next(line for line in lines if "layer=" in line))])) <= 100


def test_plan_says_what_each_case_needs(folder: Path) -> None:
    (folder / "one.toml").write_text('[[sweep]]\nlayer = "dense"\nseq_len = 32\nd_model = 16\nd_ff = 32\n')
    words = ("plan", "--grid", str(folder / "one.toml"), "--repeats", "2", "--max-seconds", "3")
    found = json.loads(invoke(*words, "--json").output)
    [case] = found["cases"]
    assert case["estimated_bytes"] == 4 * (2 * 16 * 32 + 32 + 16 + 2 * 32 * 16 + 32 * 32)
    assert case["estimated_seconds"] == pytest.approx(3 * (1.5 * 3 + 0.5))
    assert case["measured_before"] is False
    output = invoke(*words).output
    assert "(about 12.2 KiB, 15 s)" in output
    assert "2 timed processes each and one inspection, about 15 s, up to 12.2 KiB by formula" in output


def test_plan_knows_what_cases_took_before(folder: Path) -> None:
    (folder / "one.toml").write_text(
        '[run]\nrepeats = 1\nmax_seconds = 0.01\n[[sweep]]\nlayer = "dense"\nseq_len = 32\nd_model = 16\nd_ff = 32\n'
    )
    words = ("--grid", str(folder / "one.toml"), "--store", str(folder / "s.db"))
    assert invoke("run", *words).exit_code == 0
    [case] = json.loads(invoke("plan", *words, "--json").output)["cases"]
    assert case["measured_before"] is True
    assert "as before" in invoke("plan", *words).output


# mistakes: one line each, nothing written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "say what to measure: --grid NAME|FILE"),
        (["run", "--grid", "quik"], "unknown grid 'quik'; did you mean quick?"),
        (["run", "--grid", "no.toml"], "grid file no.toml does not exist"),
        (["run", "--grid", "tiny.toml", "--set", "batchsize=2"], "unknown axis 'batchsize'; did you mean batch_size?"),
        (["run", "--grid", "tiny.toml", "--set", "batch_size=two"], "unknown axis 'two'"),
        (["run", "--grid", "tiny.toml", "--set", "batch_size=0"], "batch_size = '0': takes a whole number >= 1"),
        (["run", "--grid", "tiny.toml", "--set", "dtype=float64"], "allowed: float32, bfloat16, float16"),
        (["run", "--grid", "tiny.toml", "--set", "layer=expert_choice"], "grid tiny has only dense, soft"),
        (["run", "--grid", "tiny.toml", "--set", "layer=sofd"], "unknown layer 'sofd'; did you mean soft?"),
        (["run", "--grid", "tiny.toml", "--set", "top_k=2"], "no layer of grid tiny takes it here"),
        (["run", "--grid", "tiny.toml", "--layer", "nonsense"], "is no import target: write package.module:factory"),
        (["run", "--grid", "tiny.toml", "--executor", "cloud"], "unknown executor 'cloud'"),
        (["run", "--grid", "tiny.toml", "--report", "nowhere/x.html"], "nowhere does not exist"),
        (["run", "--grid", "tiny.toml", "--report", "."], "report . is a folder"),
        (["run", "--grid", "broken.toml"], "broken.toml: not valid TOML"),
        (["run", "--resume", "x", "--grid", "quick"], "--resume goes on with what the run asked"),
        (["run", "--grid", "tiny.toml", "--retry-failed"], "name it with --resume RUN"),
        (["run", "--grid", "tiny.toml", "--store", "nowhere/s.db"], "nowhere does not exist"),
        (["run", "--grid", "tiny.toml", "--store", "broken.toml"], "broken.toml: file is not a database"),
        (["show"], "softmoe-bench.db does not exist"),
        (["compare", "a"], "compare needs two runs"),
        (["compare", "a", "b"], "softmoe-bench.db does not exist"),
        (["report", "-o", "nowhere/x.html"], "nowhere does not exist"),
        (["export", "-o", "x.xls"], "the ending says no format; use --format csv | json | parquet"),
        (
            ["run", "--resume", "tiny-1", "--repeats", "9"],
            "--resume measures as the run began: leave out --repeats and --max-seconds",
        ),
        (["plan"], "say which grid to plan"),
        (["baseline", "save", "baseline:x"], "give a plain word"),
    ],
)
def test_mistakes(words: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.toml").write_text("[grid\n" * 200)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert message in complaint(*words)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "words",
    [
        ["report", "-o", "out.html"],
        ["export", "-o", "rows.csv"],
        ["export", "--format", "bencher", "-o", "b.json"],
        ["history", "all", "--report", "out.html"],
        ["compare", "quick-1", "quick-2", "-o", "out.txt"],
    ],
    ids=" ".join,
)
def test_a_disk_that_is_full_is_no_verdict(words: list[str], stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del stored

    def full(*_given: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert f"{words[-1]} cannot be written: No space left on device" in complaint(*words)


def test_mistakes_within_a_store(stored: Path) -> None:
    before = (stored / "softmoe-bench.db").read_bytes()
    assert "has no run quick-9 (newest: quick-1, quick-2" in complaint("show", "quick-9")
    assert "are the same run (quick-2)" in complaint("compare", "quick-2", "latest")
    assert "--pair backend: no case has backend = einsum" in complaint(
        "compare", "latest", "--pair", "backend=fused,einsum"
    )
    assert (stored / "softmoe-bench.db").read_bytes() == before


def test_a_mistake_ends_with_exit_code_2_and_one_line(cli: Cli) -> None:
    for words in (["run", "--grid", "quik"], ["run", "--frobnicate"], ["frobnicate"], ["show", "x"]):
        done = cli(*words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert len(cli("run", "--grid", "quik").stderr.splitlines()) == 1


def test_a_layer_that_cannot_be_imported_is_refused_before_anything_is_written(cli: Cli, folder: Path) -> None:
    done = cli("run", "--grid", "tiny.toml", "--layer", "no_such_module:Layer")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "softmoe-bench: layer no_such_module:Layer: there is no module no_such_module"
        " (searched: here and installed packages)"
    )
    assert not (folder / "softmoe-bench.db").exists()


def test_the_store_can_be_named_by_the_environment(cli: Cli, folder: Path) -> None:
    done = cli("show", SOFTMOE_BENCH_STORE="elsewhere.db")
    assert "store elsewhere.db does not exist" in done.stderr
    assert not (folder / "elsewhere.db").exists()


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    line = f"{sys.executable} -m bench list metrics | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(FAKES)},
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
