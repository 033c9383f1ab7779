"""The fixture as a user of pytest-benchmark has it: a session of its own, and its JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

SESSION = """
def test_soft(softmoe):
    output = softmoe("soft", num_experts=2, slots_per_expert=2, seq_len=8, d_model=8, d_ff=8)
    assert output.shape == (1, 8, 8)
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
    done = session(tmp_path, "import sys\ndef test_it():\n    assert not {'torch', 'pandas'} & set(sys.modules)\n")
    assert done.returncode == 0, done.stdout
