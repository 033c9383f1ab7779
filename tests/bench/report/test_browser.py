"""The page in a real browser: it complains of nothing and asks nobody for anything."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"),
    *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"),  # nothing leaves, not even for the browser
]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on the PATH")]


def visit(text: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """The page as the browser has it, its complaints, and the addresses that it asked for."""
    path, log = folder / "report.html", folder / "net.json"
    path.write_text(text, encoding="utf-8")
    where = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom", f"file://{path}"]
    done = subprocess.run(
        [str(CHROMIUM), *QUIET, *where], capture_output=True, text=True, timeout=120, check=True, encoding="utf-8"
    )
    written = log.read_text(encoding="utf-8").rstrip()
    try:
        events = json.loads(written)["events"]
    except json.JSONDecodeError:  # the browser may end before it closes the list
        events = json.loads(written.rstrip(",") + "]}")["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    by_page = [asking["url"] for asking in asked if asking["initiator"] != "not an origin"]  # else by the browser
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], by_page


def test_browser_shows_the_page_without_a_word_or_a_request(quick_page: str, tmp_path: Path) -> None:
    shown, complaints, asked = visit(quick_page, tmp_path)
    assert complaints == []
    assert [address for address in asked if not address.startswith("file:")] == []
    assert shown.count("<svg") == quick_page.count("<svg")
    assert shown.rstrip().endswith("</html>")


def test_a_page_that_complains_and_asks_would_be_caught(tmp_path: Path) -> None:
    bad = '<!DOCTYPE html><img src="http://127.0.0.1:9/x.png"><script>console.error("boo")</script>'
    _, complaints, asked = visit(bad, tmp_path)
    assert len(complaints) == 1
    assert asked == ["http://127.0.0.1:9/x.png"]
