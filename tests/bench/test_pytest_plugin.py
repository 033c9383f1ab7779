"""The marker and the fixture as a layer's author has them: sessions of their own, measured in the test's process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import preloaded  # noqa: F401  (sessions within this process)
import pytest

pytest_plugins = ["pytester"]

SESSION = """
def test_soft(softmoe):
    output = softmoe("soft", num_experts=2, slots_per_expert=2, seq_len=8, d_model=8, d_ff=8)
    assert output.shape == (1, 8, 8)
"""

MARKED = """
import pytest

@pytest.mark.softmoe("soft", num_experts=[2, 4], slots_per_expert=(1, 2), seq_len=8, d_model=8, d_ff=8)
def test_soft(softmoe):
    assert softmoe.case["num_experts"] in (2, 4)
    softmoe.measure()
"""


def session(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_layer_is_measured_and_its_axes_are_kept(tmp_path: Path) -> None:
    done = session(tmp_path, SESSION, "--benchmark-json=out.json", "--benchmark-max-time=0.1")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads((tmp_path / "out.json").read_text())
    (benchmark,) = answer["benchmarks"]
    assert benchmark["extra_info"]["axes"]["num_experts"] == 2
    assert len(benchmark["extra_info"]["case"]) == 16
    assert benchmark["extra_info"]["flops"] == 3 * 2 * 8 * 8 * 4 + 4 * 4 * 8 * 8
    assert benchmark["stats"]["median"] > 0
    assert answer["machine_info"]["softmoe_bench"]["torch"]
    assert answer["machine_info"]["softmoe_bench"]["cores_usable"] >= 1


def test_a_wrong_axis_is_told_in_the_test(tmp_path: Path) -> None:
    done = session(tmp_path, 'def test_it(softmoe):\n    softmoe("dense", num_experts=2)\n')
    assert done.returncode == 1
    assert "layer dense does not take the axis num_experts" in done.stdout


def test_sessions_that_do_not_use_it_stay_light(tmp_path: Path) -> None:
    text = """
import sys

def test_it():
    ours = {name for name in sys.modules if name.split(".")[0] == "bench"}
    assert ours == {"bench", "bench.pytest_plugin"}
    assert not {"torch", "numpy", "pandas", "sqlalchemy", "click", "rich"} & set(sys.modules)
"""
    done = session(tmp_path, text, "-W", "error")
    assert done.returncode == 0, done.stdout
    assert "softmoe" not in done.stdout + done.stderr


def test_each_case_of_a_marker_is_a_test_by_the_name_of_the_case(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MARKED)
    found = pytester.runpytest_inprocess("--collect-only", "-q")
    names = [line.partition("[")[2] for line in found.outlines if "[" in line]
    assert names == [f"soft/fused experts={e} slots={s}]" for e in (2, 4) for s in (1, 2)]


def test_a_marked_case_is_timed_by_pytest_benchmark(pytester: pytest.Pytester) -> None:
    case = f"{pytester.makepyfile(MARKED)}::test_soft[soft/fused experts=2 slots=1]"
    done = pytester.runpytest_inprocess(case, "--benchmark-json=out.json", "-W", "error")
    done.assert_outcomes(passed=1)
    (benchmark,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    extra = benchmark["extra_info"]
    assert (extra["axes"]["slots_per_expert"], extra["measured_in"]) == (1, "the process of the test")
    assert benchmark["stats"]["rounds"] >= 5


def test_benchmarks_may_be_disabled_or_asked_for_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MARKED + "\ndef test_other():\n    pass\n")
    pytester.runpytest_inprocess("--benchmark-disable", "-W", "error").assert_outcomes(passed=5)
    pytester.runpytest_inprocess("--benchmark-only", "--benchmark-max-time=0.01").assert_outcomes(passed=4, skipped=1)
    pytester.runpytest_inprocess("--benchmark-skip").assert_outcomes(passed=1, skipped=4)


def test_a_marker_takes_a_bundled_grid_or_one_beside_the_test(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("inner")
    (folder / "mine.toml").write_text('[[sweep]]\nlayer = ["dense"]\nseq_len = [8, 16]\n')
    (folder / "test_it.py").write_text(
        "import pytest\n"
        '@pytest.mark.softmoe(grid="mine.toml")\n'
        "def test_mine(softmoe): ...\n"
        '@pytest.mark.softmoe("soft", grid="quick", batch_size=2)\n'
        "def test_quick(softmoe): ...\n"
    )
    names = [line for line in pytester.runpytest_inprocess("--collect-only", "-q").outlines if "::" in line]
    mine = [name.partition("[")[2] for name in names if "test_mine" in name]
    assert [name.partition(" ")[2] for name in mine] == ["seq_len=8]", "seq_len=16]"]
    quick = [name for name in names if "test_quick" in name]
    assert quick
    assert all("[soft/" in name and "batch" not in name for name in quick)  # one layer, one batch size


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ('"sofd"', "unknown layer 'sofd'; did you mean soft?"),
        ('"dense", num_experts=2', "layer dense does not take the axis num_experts"),
        ('"soft", num_experts=0, slots_per_expert=1', "num_experts = 0: takes a whole number >= 1"),
        ("", "softmoe marker of test_it: say what to measure"),
        ('grid="nowhere.toml"', "grid file nowhere.toml does not exist"),
        ('"soft", "dense"', "name one layer"),
        ("factory=lambda: 1, num_experts=2, slots_per_expert=1", "factory <lambda> has no name that a fresh process"),
        ('factory="mymoe:F", backend="fused", num_experts=2', "a layer from outside has no backend"),
        ('["soft", "dense"], factory="mymoe:F"', "over the axes of one layer"),
    ],
)
def test_what_a_marker_says_wrong_is_one_line(pytester: pytest.Pytester, words: str, line: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.softmoe({words})\ndef test_it(softmoe):\n    softmoe.measure()\n")
    done = pytester.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines([f"*{line.replace('[', '[[]')}*"])
    assert "Traceback" not in done.stdout.str()
    assert ".py:" not in done.stdout.str()


def test_a_marker_without_the_fixture_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.softmoe("dense")\ndef test_it():\n    pass\n')
    done = pytester.runpytest_inprocess()
    done.stdout.fnmatch_lines(["test_it is marked softmoe but does not take the fixture: def test_it(softmoe)"])


def test_the_marker_of_a_class_is_for_those_that_take_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.softmoe("dense", seq_len=8, d_model=8, d_ff=8)
        class TestDense:
            def test_other(self):
                pass

            @pytest.mark.softmoe("dense", seq_len=16, d_model=8, d_ff=8)
            def test_both(self, softmoe):
                assert softmoe.case["seq_len"] in (8, 16)
                softmoe.measure()
        """
    )
    pytester.runpytest_inprocess("--benchmark-disable", "-W", "error").assert_outcomes(passed=3)


def test_measuring_without_a_case_fails_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(softmoe):\n    softmoe.measure()\n")
    done = pytester.runpytest_inprocess("-W", "error", "--benchmark-json=out.json")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["this test has no case: mark it, as in @pytest.mark.softmoe*"])
    assert json.loads((pytester.path / "out.json").read_text())["benchmarks"] == []


def test_a_case_that_cannot_be_measured_is_skipped_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n"
        '@pytest.mark.softmoe("token_choice", num_experts=4, top_k=8, seq_len=8, d_model=8, d_ff=8)\n'
        "def test_it(softmoe):\n    softmoe.measure()\n"
    )
    done = pytester.runpytest_inprocess("-rs", "-W", "error")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*test_a_case*.py:4: top_k=8 is more than num_experts=4"])


def test_a_layer_of_ones_own_takes_the_place_of_the_markers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(mymoe=OWN)
    pytester.makepyfile(
        test_own="""
        import pytest
        from mymoe import MyMoE

        AXES = {"num_experts": 2, "slots_per_expert": 2, "seq_len": 8, "d_model": 8, "d_ff": 8}

        @pytest.mark.softmoe("soft", factory=MyMoE, **AXES)
        def test_in_the_marker(softmoe):
            softmoe.measure()

        @pytest.mark.softmoe("soft", **AXES)
        def test_as_a_factory(softmoe):
            softmoe.measure(factory=MyMoE)

        @pytest.mark.softmoe("soft", **AXES)
        def test_by_name(softmoe):
            softmoe.measure(layer="mymoe:MyMoE")

        @pytest.mark.softmoe("soft", **AXES)
        def test_local(softmoe):
            def make(**axes):
                return MyMoE(**axes)
            softmoe.measure(factory=make)

        @pytest.mark.softmoe("soft", **AXES)
        def test_ours(softmoe):
            softmoe.measure(layer="dense")
        """
    )
    done = pytester.runpytest_inprocess("--benchmark-json=out.json", "--benchmark-max-time=0.01")
    done.assert_outcomes(passed=3, failed=2)
    done.stdout.fnmatch_lines(["factory test_local.<locals>.make has no name that a fresh process could import it by*"])
    done.stdout.fnmatch_lines(["layer dense is one of ours: name it in the marker*"])
    found = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    assert {b["extra_info"]["axes"]["layer"] for b in found} == {"mymoe:MyMoE"}
    assert len({b["extra_info"]["case"] for b in found}) == 1


OWN = """
import torch

class MyMoE(torch.nn.Module):
    def __init__(self, d_model, d_ff, num_experts, slots_per_expert):
        super().__init__()
        self.up, self.down = torch.nn.Linear(d_model, d_ff), torch.nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.down(self.up(x).relu())
"""
