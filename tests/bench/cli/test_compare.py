"""`compare` as a user meets it: thresholds, first runs, other machines, and its exit codes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import CEILINGS, dense, measured, run, soft

from bench.cli import group
from bench.cli.thresholds import parse_thresholds
from bench.errors import BenchError, Exit, InputError, NotComparableError
from bench.records import Ceiling, Planned, Run
from bench.store import Store, open_store

STEADY = [1.00, 1.01, 0.99, 1.00, 1.01]
NOISY = [1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 0.7, 1.4, 1.0, 1.2, 0.9, 1.1]


def keep(store: Store, name: str, latencies: Sequence[float], **more: object) -> Run:
    """A finished run of two cases, of which the second always takes as long."""
    kept = run(name, id=name.encode().hex()[:12].ljust(12, "0"), **more)
    outcomes = [*measured(soft(), latencies), *measured(dense(), STEADY)]
    store.keep_run(kept, [Planned(soft()), Planned(dense())], outcomes)
    return kept


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    made = open_store("softmoe-bench.db", create=True)
    keep(made, "old", STEADY)
    keep(made, "new", [1.5 * value for value in STEADY])
    return made


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, ["compare", *words], standalone_mode=False)


def complaint(*words: str) -> BenchError:
    error = invoke(*words).exception
    assert isinstance(error, BenchError), error
    return error


# thresholds


def test_thresholds_are_for_latency_unless_they_name_another_metric() -> None:
    assert parse_thresholds([]) == {}
    assert parse_thresholds(["0.1", "memory=0", "flops=1e-3", "parameters=10"]) == {
        "latency": 0.1, "memory": 0.0, "flops": 0.001, "parameters": 10.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["5%"], "--threshold 5%: takes a share from 0 to 10, as in 0.05 for 5 %"),
        (["-0.1"], "--threshold -0.1: takes a share from 0 to 10, as in 0.05 for 5 %"),
        (["nan"], "--threshold nan: takes a share from 0 to 10, as in 0.05 for 5 %"),
        (["11"], "--threshold 11: takes a share from 0 to 10, as in 0.05 for 5 %"),
        (["memory="], "--threshold memory=: takes a share from 0 to 10, as in 0.05 for 5 %"),
        (["memry=0.1"], "--threshold memry=0.1: unknown metric 'memry'; did you mean memory?"),
        (["=0.1"], "--threshold =0.1: unknown metric '' (allowed: latency, memory, flops, parameters)"),
        (["0.1", "latency=0.2"], "--threshold latency=0.2: latency is given twice"),
    ],
)
def test_a_threshold_that_makes_no_sense(words: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_thresholds(words)
    assert str(caught.value).startswith(message)


def test_a_threshold_moves_the_verdict(store: Store) -> None:
    del store
    for words, code, verdict in (
        ((), Exit.WORSE, "slower"),
        (("--threshold", "0.5"), Exit.OK, "unclear"),
        (("--threshold", "latency=0.9"), Exit.OK, "same"),
    ):
        done = invoke("old", "new", "--json", *words)
        assert done.return_value == code
        assert next(case["verdict"] for case in json.loads(done.stdout)["cases"]) == verdict


# first runs


def test_no_baseline_yet_is_no_mistake(store: Store) -> None:
    del store
    done = invoke("baseline:main", "latest")
    assert done.return_value == Exit.OK
    assert done.stderr == (
        "no baseline yet, so there is nothing to compare with: `softmoe-bench baseline save main new` makes this run"
        " the baseline\n"
    )
    assert "No baseline yet: all 2 cases are new." in done.stdout
    answer = json.loads(invoke("baseline:main", "latest", "--json").stdout)
    assert (answer["counts"]["new"], answer["exit_code"]) == (2, 0)


def test_no_baseline_yet_fails_where_that_is_asked_for(store: Store) -> None:
    del store
    done = invoke("baseline:main", "latest", "--fail-on", "no-baseline")
    assert done.return_value == Exit.INCOMPLETE
    assert done.stderr.endswith("fails: no-baseline (2 cases)\n")


def test_a_wrong_name_beside_other_baselines_is_a_mistake(store: Store) -> None:
    store.save_baseline("main", store.find("old"))
    assert str(complaint("baseline:mian", "new")) == (
        "store softmoe-bench.db: unknown baseline 'mian'; did you mean main? (allowed: main)"
    )
    assert invoke("baseline:main", "new").return_value == Exit.WORSE


def test_a_first_run_that_is_not_there_is_a_mistake(store: Store) -> None:
    del store
    assert "has no run nwe" in str(complaint("baseline:main", "nwe"))


def test_a_candidate_that_is_a_baseline_must_be_there(store: Store) -> None:
    del store
    assert "has no baseline main" in str(complaint("old", "baseline:main"))


# what cannot be compared


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("old",), "compare needs two runs, or one run and --pair AXIS=BASE,CANDIDATE"),
        (("old", "old"), "old and old are the same run (old): there is nothing to compare"),
        (("old", "--pair", "layer=soft,dens"), "--pair layer: no case has layer = dens"),
        (("old", "new", "--fail-on", "slwer"), "--fail-on: unknown word 'slwer'; did you mean slower?"),
    ],
)
def test_mistakes(store: Store, words: tuple[str, ...], message: str) -> None:
    del store
    assert message in str(complaint(*words))


def test_a_duel_compares_already(store: Store) -> None:
    kept = replace(run("duel-1", id="d" * 12), settings={"duel": {}})
    store.keep_run(kept, [Planned(soft())], measured(soft(), STEADY))
    assert str(complaint("old", "duel-1")) == (
        "run duel-1 is a duel, and compares two sides already: `softmoe-bench show duel-1`"
    )


def test_other_machines_exit_with_4_and_are_normalised_where_both_have_ceilings(store: Store) -> None:
    other = keep(store, "other", [0.5 * value for value in STEADY], cpu="Fast CPU", torch_threads=2)
    here = keep(store, "here", STEADY, torch_threads=2)
    error = complaint("here", "other")
    assert isinstance(error, NotComparableError)
    assert error.exit_code == Exit.NOT_COMPARABLE
    assert "cpu is Test CPU against Fast CPU" in str(error)
    assert "--normalise (weaker)" in str(error)
    store.keep_ceilings(here.environment, CEILINGS)
    error = complaint("here", "other", "--normalise")
    assert error.exit_code == Exit.NOT_COMPARABLE
    assert "no ceilings are known of the machine of other; run `softmoe-bench calibrate` there" in str(error)
    fast = [Ceiling(c.device, c.what, c.unit, tuple(2 * s for s in c.samples)) for c in CEILINGS if c.what != "cache"]
    store.keep_ceilings(other.environment, fast)
    done = invoke("here", "other", "--normalise")
    assert "weaker evidence than two runs of one machine" in " ".join(done.stdout.split())
    verdicts = {
        c["name"]: c["verdict"] for c in json.loads(invoke("here", "other", "--normalise", "--json").stdout)["cases"]
    }
    assert verdicts == {"soft/fused": "same", "dense": "slower"}


# what else is said


def test_a_self_check_of_the_machine_speaks_in_every_format(store: Store) -> None:
    keep(store, "selfcheck-1", NOISY)
    for form in ("table", "json", "markdown"):
        said = " ".join(invoke("old", "new", "--format", form).stdout.split())
        assert "a threshold of 5 % is below the smallest change that can be told from none here" in said


def test_the_answer_is_the_same_whatever_way_it_is_written(store: Store, tmp_path: Path) -> None:
    del store
    done = invoke("old", "new", "--json", "--also", f"json={tmp_path / 'also.json'}")
    assert json.loads(done.stdout) == json.loads((tmp_path / "also.json").read_text())
    assert sum(line.startswith('    {"case": ') for line in done.stdout.splitlines()) == 2
