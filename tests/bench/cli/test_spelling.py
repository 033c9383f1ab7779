"""What stands for characters that a stream cannot write."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import measured, run, soft

from bench.cli.spelling import adapt, spell
from bench.records import Planned
from bench.store import open_store


@pytest.mark.parametrize(
    ("text", "spelt"),
    [("1.00 µs ±3%", "1.00 us +-3%"), ("95\u00a0%", "95 %"), ("Müller", "Muller"), ("层", "?"), ("a – b", "a - b")],
)
def test_what_ascii_lacks_is_spelt(text: str, spelt: str) -> None:
    assert spell(text, "ascii") == spelt
    assert spell(text, "utf-8") == text


def test_only_streams_that_lack_characters_are_adapted() -> None:
    narrow, wide = io.TextIOWrapper(io.BytesIO(), encoding="latin-1"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    adapt(narrow)
    adapt(wide)
    assert (narrow.errors, wide.errors) == ("softmoe-bench", "strict")
    adapt(io.StringIO())


@pytest.mark.parametrize(
    "words",
    [["show"], ["compare", "quick-1", "quick-2"], ["history", "all"], ["list", "layers"], ["show", "quick-9"], ["-h"]],
    ids=" ".join,
)
def test_no_command_breaks_where_the_locale_is_ascii(words: list[str], tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "softmoe-bench.db"), create=True)
    for number in (1, 2):
        made = run(f"quick-{number}", id=str(number) * 12)
        store.start_run(made, [Planned(soft())])
        for outcome in measured(soft(), [1e-6, 1.01e-6, 1.02e-6]):
            store.add_outcome(made.id, outcome)
        store.set_state(made.id, "complete")
    store.close()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "bench", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("ascii")
    assert "Traceback" not in said
    assert done.returncode == (2 if "quick-9" in words else 0), said
