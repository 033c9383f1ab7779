"""The files under .github: well formed, safe against what a pull request may hold, and in step with our commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from bench import gates
from bench.cli import group
from bench.formats import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / ".github" / "workflows" / "benchmark.yml"
GITLAB = ROOT / ".github" / "gitlab" / "softmoe-bench.gitlab-ci.yml"
FILES = sorted((ROOT / ".github").rglob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def scripts(node: object) -> Iterator[str]:
    """Every text in a file that a shell or node runs."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "script", "before_script", "after_script"):
                yield from [value] if isinstance(value, str) else (text for text in value if isinstance(text, str))
            yield from scripts(value)
    elif isinstance(node, list):
        for item in node:
            yield from scripts(item)


def commands(path: Path) -> list[list[str]]:
    """Every command line of ours, as words."""
    lines = [line.strip() for script in scripts(load(path)) for line in script.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("softmoe-bench ")]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in load(path)["jobs"].values():
        yield from job.get("steps", [])


def test_there_are_commands_to_check() -> None:
    assert [line[0] for path in FILES for line in commands(path)] == ["duel", "duel"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_line_has_options_that_exist(path: Path) -> None:
    for name, *words in commands(path):
        if name == "duel" and name not in group.commands:
            pytest.skip("there is no duel yet")
        command = group.commands[name]
        with click.Context(command) as context:
            known = {option for parameter in command.get_params(context) for option in parameter.opts}
        given = {word.split("=")[0] for word in words if word.startswith("-")}
        assert given <= known, f"{name} has no {given - known}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_pull_request_holds_reaches_scripts_only_as_environment(path: Path) -> None:
    assert not [script for script in scripts(load(path)) if "${{" in script]
    assert "pull_request_target" not in load(path).get(True, {})  # YAML reads the key `on` as true


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_githubs_own_in_a_pinned_major_version(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert not [name for name in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", name)]


def test_no_job_both_runs_the_change_and_may_write() -> None:
    jobs = load(BENCHMARK)["jobs"]
    assert load(BENCHMARK)["permissions"] == {}
    assert jobs["measure"]["permissions"] == {"contents": "read"}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    assert not [step for step in jobs["comment"]["steps"] if "run" in step or "checkout" in step.get("uses", "")]
    checkout = next(step for step in jobs["measure"]["steps"] if "checkout" in step.get("uses", ""))
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_a_workflow_finds_the_comment_by_its_marker() -> None:
    comment = load(BENCHMARK)["jobs"]["comment"]["steps"][-1]
    assert comment["env"]["MARKER"] == markdown.MARKER
    assert f'marker = "{markdown.MARKER}"' in GITLAB.read_text(encoding="utf-8")


def test_gitlab_gets_a_test_report_whatever_the_verdict() -> None:
    artifacts = load(GITLAB)["softmoe-bench"]["artifacts"]
    assert (artifacts["when"], artifacts["reports"]) == ("always", {"junit": "softmoe-bench.xml"})


def test_what_fails_a_pipeline_unless_told_otherwise_is_what_fails_a_command() -> None:
    github = load(BENCHMARK)[True]["workflow_call"]["inputs"]["fail-on"]["default"]
    gitlab = load(GITLAB)["softmoe-bench"]["variables"]["SOFTMOE_BENCH_FAIL_ON"]
    assert gates.parse_fail_on(github) == gates.parse_fail_on(gitlab) == gates.DEFAULT


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder with a softmoe-bench that writes its words down and ends with 3."""
    program = tmp_path / "bin" / "softmoe-bench"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > words\nexit 3\n')
    program.chmod(0o755)
    return program.parent


def test_the_step_hands_on_every_input_as_one_word_and_its_exit_code(stub: Path, tmp_path: Path) -> None:
    step = next(step for step in steps(BENCHMARK) if "Measure" in step.get("name", ""))
    given = {"BASE": "a b; touch $(echo x)", "GRID": "quick", "FAIL_ON": "slower", "THRESHOLD": "0.05"}
    given |= {"ARGS": "--set 'x * batch_size=2", "QUIET": "true", "REPORT": "https://x", "OUT": "out"}
    assert given.keys() == step["env"].keys()
    environment = {"PATH": f"{stub}{os.pathsep}{os.environ['PATH']}", **given}
    script = ["bash", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(script, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 3
    words = (tmp_path / "words").read_text().split("\0")[:-1]
    assert words[:3] == ["duel", "--base", "a b; touch $(echo x)"]
    assert words[-5:] == ["--set", "'x", "*", "batch_size=2", "--quiet-if-unchanged"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "out", "words"]


HARNESS = """
const calls = [];
const core = {info: (text) => calls.push(['info', text]), warning: (text) => calls.push(['warning', text])};
const context = {repo: {owner: 'o', repo: 'r'}, issue: {number: 7}};
const issues = {};
for (const name of ['updateComment', 'deleteComment', 'createComment']) {
  issues[name] = async (asked) => {
    if (process.env.FORK) throw new Error('Resource not accessible');
    calls.push([name, asked]);
  };
}
const github = {rest: {issues}, paginate: async () => JSON.parse(process.env.COMMENTS)};
(async () => { %s })().then(() => console.log(JSON.stringify(calls)));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize(
    ("text", "comments", "fork", "expected"),
    [
        ("new", [], "", [["createComment", {"owner": "o", "repo": "r", "issue_number": 7, "body": "new"}]]),
        ("new", ["ours"], "", [["updateComment", {"owner": "o", "repo": "r", "comment_id": 2, "body": "new"}]]),
        ("", ["ours"], "", [["deleteComment", {"owner": "o", "repo": "r", "comment_id": 2}]]),
        ("", [], "", []),
        (None, ["ours"], "", [["info", "nothing was measured, so there is nothing to say"]]),
        ("new", [], "1", [["warning", "no comment (a fork may not write one): Resource not accessible"]]),
    ],
)
def test_one_comment_is_kept_up_to_date(
    text: str | None, comments: list[str], fork: str, expected: list[object], tmp_path: Path
) -> None:
    step = load(BENCHMARK)["jobs"]["comment"]["steps"][-1]
    place = tmp_path / "comment.md"
    if text is not None:
        place.write_text(f"{text}\n")
    theirs = [{"id": 1, "user": {"type": "User"}, "body": f"{markdown.MARKER} forged"}]
    ours = [{"id": 2, "user": {"type": "Bot"}, "body": f"{markdown.MARKER}\nold"} for _ in comments]
    environment = {"COMMENT": str(place), "MARKER": markdown.MARKER, "COMMENTS": json.dumps(theirs + ours)}
    script = ["node", "-e", HARNESS % step["with"]["script"].replace("const fs = require('fs');", "")]
    done = subprocess.run(
        script, env={**os.environ, **environment, "FORK": fork}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected


def test_the_note_of_gitlab_is_python_that_compiles() -> None:
    (script,) = load(GITLAB)["softmoe-bench"]["after_script"]
    program = re.search(r"<<'PYTHON'\n(.*)\nPYTHON", script, flags=re.DOTALL)
    assert program
    compile(program[1], "note", "exec")
