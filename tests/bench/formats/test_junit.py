import re
from xml.etree import ElementTree as ET

from compared import HOSTILE, case, compared, grown, mixed

from bench.formats import TABLE, Context
from bench.verdicts import Verdict

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "skipped": {"type", "message"},
    "property": {"name", "value"},
}
"""What the schema of Jenkins' xunit plugin (junit-10.xsd) allows, as far as we write it."""


def suite(found: object, **asked: object) -> ET.Element:
    return parse(TABLE["junit"](found, Context(**asked)))[0]


def parse(text: str) -> ET.Element:
    return ET.fromstring(text.encode())  # noqa: S314  (our own text)


def outcome(test: ET.Element) -> str:
    return next((kind for kind in ("failure", "skipped") if test.find(kind) is not None), "passed")


def test_one_test_per_case_and_only_the_gate_fails() -> None:
    found = suite(mixed())
    assert {test.get("name"): outcome(test) for test in found.iter("testcase")} == {
        "soft/fused experts=32": "failure",
        "soft/fused experts=8": "failure",
        "peer/bag": "failure",
        "token_choice/grouped experts=8": "failure",
        "token_choice/grouped experts=32": "failure",
        "remoe/loop": "skipped",
        "dense": "skipped",
        "soft/einsum experts=8": "passed",
        **{f"expert_choice/indexed batch={n}": "passed" for n in (1, 2, 4, 8)},
        "peer/indexed": "passed",
        "smear": "skipped",
    }
    assert (found.get("tests"), found.get("failures"), found.get("skipped")) == ("14", "5", "3")


def test_what_the_gate_lets_pass_is_passed_or_skipped() -> None:
    found = suite(mixed(), fail_on=frozenset())
    kinds = {test.get("name"): outcome(test) for test in found.iter("testcase")}
    assert {name for name, kind in kinds.items() if kind == "skipped"} >= {"token_choice/grouped experts=8", "dense"}
    assert kinds["soft/fused experts=32"] == "passed"
    assert found.get("failures") == "0"


def test_the_text_has_ratio_interval_and_reason() -> None:
    tests = {test.get("name"): test for test in suite(mixed()).iter("testcase")}
    slow, grew, foggy = (tests[name] for name in ("soft/fused experts=32", "peer/bag", "dense"))
    assert slow.find("failure").attrib == {"type": "slower", "message": "slower +21 % (+16 to +26)"}
    assert "ratio 1.21x (1.16 to 1.26), 5 pairs" in slow.find("failure").text
    assert "smallest change that this would show: 6.0 %" in slow.findtext("system-out")
    assert grew.find("failure").get("message") == "peak memory 2.00 MiB -> 3.00 MiB (+50 %)"
    assert foggy.findtext("skipped").endswith("about 15 pairs would settle it (5 so far, 12 s each)")
    assert (slow.get("classname"), slow.get("time")) == ("softmoe-bench.soft", "0.001210000")


def test_two_cases_of_one_name_stay_two() -> None:
    rows = [case("soft", Verdict.SAME, 1.0, id="aa"), case("soft", Verdict.SAME, 1.0, id="bb")]
    names = [test.get("name") for test in suite(compared(rows)).iter("testcase")]
    assert sorted(names) == ["soft aa", "soft bb"]


def test_it_has_only_what_every_reader_takes() -> None:
    row = case(HOSTILE, Verdict.SLOWER, 1.5e6, layer=HOSTILE, reason=f"{HOSTILE}\x0b\ufffe", changes=(grown(HOSTILE),))
    facts = {"base": HOSTILE, "candidate": HOSTILE, "remarks": (HOSTILE,), "method": HOSTILE}
    for found in (mixed(), compared([row], **facts), compared([])):
        text = TABLE["junit"](found, Context())
        assert not re.search(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
        for element in parse(text).iter():
            assert set(element.attrib) <= ATTRIBUTES.get(element.tag, set())
            assert re.fullmatch(r"[0-9]*(\.[0-9]*)?", element.get("time", ""))


def test_a_name_cannot_attach_a_file() -> None:
    row = case("soft", Verdict.SLOWER, 1.5, reason="[[ATTACHMENT|/etc/passwd]]")
    assert "[[ATTACHMENT|" not in suite(compared([row])).findtext("testcase/system-out")
