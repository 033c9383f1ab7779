"""Where the sides of a duel come from, in git repositories made for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import sources
from bench.errors import InputError


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "src" / "pkg" / "__init__.py").write_text("VALUE = 1\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "src" / "pkg" / "__init__.py").write_text("VALUE = 2\n")
    return folder


def test_a_revision_is_laid_out_as_it_was_and_gone_afterwards(repository: Path, tmp_path: Path) -> None:
    source = sources.parse("main", "--base", repository)
    assert source.commit == git(repository, "rev-parse", "HEAD")
    assert source.name == f"main ({source.commit[:7]})"
    with sources.laid_out(source, tmp_path / "tree", repository) as place:
        assert (tmp_path / "tree" / "src" / "pkg" / "__init__.py").read_text() == "VALUE = 1\n"
        assert place.first == (str(tmp_path / "tree" / "src"), str(tmp_path / "tree"))
        assert place.python == sys.executable
    assert not (tmp_path / "tree").exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_worktrees_of_killed_programs_are_forgotten(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--detach", "-q", str(tmp_path / "dead"), "main")
    for path in sorted((tmp_path / "dead").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "dead").rmdir()
    with sources.laid_out(sources.parse("main", "--base", repository), tmp_path / "tree", repository):
        assert "dead" not in git(repository, "worktree", "list")


def test_a_folder_is_taken_as_it_stands(repository: Path, tmp_path: Path) -> None:
    source = sources.parse(".", "--cand", repository)
    with sources.laid_out(source, tmp_path / "tree", repository) as place:
        assert place.top == repository
        assert not (tmp_path / "tree").exists()


def test_an_environment_brings_its_own_python(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    source = sources.parse(f"venv:{tmp_path / 'env'}", "--base", tmp_path)
    with sources.laid_out(source, tmp_path / "tree", tmp_path) as place:
        assert place.python == str(tmp_path / "env" / "bin" / "python")
        assert place.first == ()


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("mian", "--base mian: there is no such revision or folder"),
        ("-x", "--base -x: there is no such revision or folder"),
        ("", "--base : there is no such revision or folder"),
        ("venv:nowhere", "--base venv:nowhere: there is no Python at nowhere/bin/python"),
        ("env", "--base env: is an environment: write --base venv:env"),
    ],
)
def test_what_names_nothing_is_said_in_one_line(repository: Path, word: str, words: str) -> None:
    (repository / "env").mkdir()
    (repository / "env" / "pyvenv.cfg").write_text("")
    with pytest.raises(InputError) as error:
        sources.parse(word, "--base", repository)
    assert str(error.value).startswith(words)


def test_outside_of_a_repository_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is in no git repository"):
        sources.parse("main", "--base", tmp_path)
