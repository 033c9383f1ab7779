import re
from pathlib import Path

from compared import HOSTILE, case, compared, mixed

from bench.formats import TABLE, Context, github, markdown
from bench.verdicts import Verdict

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def commands(text: str) -> list[tuple[str, str, str]]:
    """Every line as the runner reads it; a line that is no command fails."""
    found = []
    for line in text.removesuffix("\n").split("\n"):
        match = COMMAND.fullmatch(line)
        assert match, line
        found.append(tuple(decode(part) for part in match.groups()))
    return found


def decode(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_errors_fail_the_gate_warnings_do_not_and_notices_are_good_news() -> None:
    lines = commands(TABLE["github"](mixed(), Context(report="https://ci.example/r")))
    assert [kind for kind, *_ in lines] == ["error"] * 5 + ["warning"] * 2 + ["notice"] * 3
    assert lines[0] == ("error", "soft/fused experts=32", "slower +21 % (+16 to +26)")
    assert lines[2][2].endswith("peak memory 2.00 MiB -> 3.00 MiB (+50 %)")
    assert lines[-1][1] == "softmoe-bench"
    assert lines[-1][2].startswith("2 of 14 cases are slower, 1 has more memory")
    assert lines[-1][2].endswith("report: https://ci.example/r")
    lenient = commands(TABLE["github"](mixed(), Context(fail_on=frozenset({"missing"}))))
    assert [name for kind, name, _ in lenient if kind == "error"] == ["token_choice/grouped experts=32"]


def test_at_most_ten_and_a_word_on_the_rest() -> None:
    rows = [case(f"soft experts={n}", Verdict.SLOWER, 1.1 + n / 100) for n in range(30)]
    lines = commands(TABLE["github"](compared(rows), Context()))
    assert [name for _, name, _ in lines] == [f"soft experts={n}" for n in range(29, 19, -1)] + ["softmoe-bench"]
    assert "20 more cases are in the summary" in lines[-1][2]


def test_a_hostile_name_is_no_command() -> None:
    row = case(HOSTILE, Verdict.SLOWER, 1.5, reason=f"%0A::add-mask::x\n::stop-commands::{HOSTILE}")
    (first, last) = commands(TABLE["github"](compared([row], base=HOSTILE), Context()))
    assert first[1].startswith("x:`|<b>@all</b>``")
    assert "%0A::add-mask::x ::stop-commands::" in first[2]
    assert last[1] == "softmoe-bench"


def test_silent_where_nothing_changed_if_asked(tmp_path: Path) -> None:
    found, summary = compared([case("fine", Verdict.SAME, 1.0)]), tmp_path / "summary.md"
    assert TABLE["github"](found, Context(quiet=True)) == ""
    github.summarise(found, Context(quiet=True), summary)
    assert not summary.exists()
    assert [kind for kind, *_ in commands(TABLE["github"](found, Context()))] == ["notice"]


def test_the_summary_of_the_job_is_added_to(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    github.summarise(mixed(), Context(), summary)
    assert summary.read_text(encoding="utf-8").startswith(f"before\n{markdown.MARKER}\n")
