"""The first screen: the question, the answer in sentences, the chart that shows it, and what to be careful about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from bench import caveats, duels, layers
from bench.claims import TABLE, Verdict, asking
from bench.formats import words
from bench.records import FAILED, Status
from bench.report import blocks, findings, naming, panels, view
from bench.report.charts import Scale
from bench.report.facts import date, device
from bench.report.forest import forest, labelled
from bench.report.section import Section
from bench.report.sections import claims, comparison

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.claims import Judged
    from bench.report.view import View
    from bench.results import RunResults
    from bench.verdicts import LayerSummary

GRAVEST = (
    "suspect",
    "inaccurate",
    "loaded",
    "other_gpu_processes",
    "stolen",
    "swapped",
    "quota",
    "throttled",
    "thermal",
    "cpu_throttled",
    "clock_low",
    "clock_changed",
    "power_capped",
    "launch_bound",
    "processes_differ",
    "few_repeats",
    "counters_disagree",
    "drifting",
    "noisy",
    "marked_samples",
    "correlated",
    "coarse_clock",
    "graph_breaks",
    "routing_differs",
    "no_oracle",
    "memory_unknown",
    "battery",
    "governor",
    "clock_stepped",
    "energy_shared",
    "time_limit",
    "unknown_peak",
    "counter_incomplete",
)
"""Every caveat, by how much it may change the answer; those of newer versions come before all others."""

MOST_CAVEATS = 3
MOST_LAYERS = 4
LONGEST = 300
"""Characters of a question."""

INTERVALS = (
    "Bars are estimates over fresh processes, whiskers their 95 % intervals. Compare rows by the sentences above, not "
    "by whether whiskers overlap: those compare within rounds."
)


def build(runs: Sequence[RunResults]) -> Section:
    """Returns the summary; every report has one."""
    if len(runs) == 1 and duels.is_duel(runs[0]):
        return _duel(runs[0])
    if len(runs) == 1 and asking.is_for_claims(runs[0]):
        return _claims(runs[0])
    seen = view.of(runs)
    parts = [_facts(found) for found in runs]
    parts.append(
        Markup('<div class="answer"><div>{}</div>{}</div>').format(_answers(seen, runs), _care(runs))
        if any(found.cases for found in runs)
        else blocks.paragraph("The run has no case.")
    )
    timed = seen.timed()
    if timed:
        looks = panels.looks(seen)
        picture = panels.Picture(
            "latency",
            "Latency",
            Scale("latency, shorter is better", "s"),
            lambda entry: panels.bar(entry, "latency", looks[entry.series]),
        )
        drawn = panels.draw(seen, timed, picture)
        parts += [blocks.gallery(drawn.charts), blocks.paragraph(INTERVALS, "soft")]
        if drawn.left_out:
            parts.append(blocks.paragraph(drawn.left_out, "soft"))
    return Section("summary", _question(runs), blocks.merge(parts))


def _duel(found: RunResults) -> Section:
    """Returns the first screen of a duel: what was compared, what came of it, and the ratios."""
    fought = duels.of_results(found)
    names = labelled(fought, comparison.labels([found]))
    headline, worst = words.headline(fought, lambda row: names[row.case_id])
    sentences = [f"{headline}{worst}.", f"{words.compared(fought, others=False)}: {words.tally(fought)}."]
    sentences += [_layer(layer, names) for layer in fought.layers[:MOST_LAYERS] if len(fought.rows) > 1]
    said = blocks.items(map(naming.plain, [*sentences, *fought.remarks]), "claims")
    rest = "Every verdict with its reason stands under Comparison; the sections after it show the candidate alone."
    return Section(
        "summary",
        naming.plain(f"{fought.candidate} against {fought.base}"),
        blocks.merge(
            [
                _facts(found),
                Markup('<div class="answer"><div>{}</div>{}</div>').format(said, _care([found])),
                forest("summary-forest", fought, names),
                blocks.paragraph(rest, "soft"),
            ]
        ),
    )


def _claims(found: RunResults) -> Section:
    """Returns the first screen of a run for claims: each claim with its verdict."""
    judged = asking.of_results(TABLE, found)
    held = sum(each.finding.verdict is Verdict.REPRODUCED for each in judged)
    said = f"{held} of {naming.count(len(judged), 'claim')} reproduced on this machine"
    fallen = [each.claim.name for each in judged if each.fallen]
    rest = f"; no longer: {naming.join(fallen)}" if fallen else ""
    return Section(
        "summary",
        "Do the papers' claims hold here?",
        blocks.merge(
            [
                _facts(found),
                Markup('<div class="answer"><div>{}</div>{}</div>').format(
                    blocks.items([f"{said}{rest}.", *(_claim(each) for each in judged)], "claims"), _care([found])
                ),
                blocks.paragraph("Figures, charts and sources of each claim stand under Claims.", "soft"),
            ]
        ),
    )


def _claim(each: Judged) -> Markup:
    """Returns a claim with its verdict in a line."""
    verdict = blocks.badge(str(each.finding.verdict), claims.TONES[each.finding.verdict])
    return Markup("{} {}").format(blocks.link(f"claim-{each.claim.name}", each.claim.text), verdict)


def _layer(found: LayerSummary, names: Mapping[str, str]) -> str:
    """Returns a layer's geometric mean beside its worst case."""
    title = layers.TABLE[found.layer].title if found.layer in layers.TABLE else words.one_line(found.layer)
    return f"{title}: {words.layer(found, lambda row: names[row.case_id])}."


def _question(runs: Sequence[RunResults]) -> str:
    """Returns the question that the first grid asks, or the names of the runs."""
    asked = list(dict.fromkeys(naming.line(found.run.description, LONGEST) for found in runs))
    if len(asked) == 1 and asked[0]:
        return asked[0]
    return f"Runs {naming.join(view.run_names(runs))}" if len(runs) > 1 else f"Run {naming.line(runs[0].run.name)}"


def _facts(found: RunResults) -> Markup:
    """Returns run, device, date and how the cases ended."""
    failed = sum(found.count(status) for status in FAILED)
    skipped = found.count(Status.SKIPPED) + found.count(Status.UNSUPPORTED)
    missing = found.count(None)
    good = found.count(Status.OK)
    badges = [blocks.badge(f"{good} of {naming.count(len(found.cases), 'case')} ok", "good" if good else "soft")]
    if failed:
        badges.append(blocks.link_badge("failures", f"{failed} failed", "bad"))
    if skipped:
        badges.append(blocks.link_badge("failures", f"{skipped} skipped", "soft"))
    if missing:
        badges.append(blocks.link_badge("failures", f"{missing} not measured", "bad"))
    if found.run.state != "complete":
        badges.append(blocks.badge(f"run {naming.line(found.run.state)}", "bad"))
    lines = [
        Markup("<strong>{}</strong>").format(naming.line(found.run.name)),
        device(found),
        date(found.run.started),
        Markup(" ").join(badges),
    ]
    return blocks.items(lines, "meta")


def _answers(seen: View, runs: Sequence[RunResults]) -> Markup:
    """Returns the sentences of each run."""
    parts: list[Markup] = []
    for number, (found, name) in enumerate(zip(runs, view.run_names(runs), strict=True)):
        said = findings.of_run(seen, number)
        if len(runs) > 1:
            parts.append(blocks.heading(name))
        if not said.claims:
            parts.append(blocks.paragraph(_nothing(found)))
        for workload, sentences in said.claims:
            if workload:
                title = Markup("<h4>{}</h4>") if len(runs) > 1 else Markup("<h3>{}</h3>")
                parts.append(title.format(_capital(workload)))
            parts.append(blocks.items(sentences, "claims"))
        parts += [blocks.paragraph(note, "soft") for note in said.notes]
    return blocks.merge(parts)


def _nothing(found: RunResults) -> str:
    """Returns why there is no answer."""
    if found.count(None) == len(found.cases):
        return "Nothing was measured yet, so there is no answer."
    if found.count(Status.OK) == 0:
        return "No case ended well, so there is no answer; the reasons are under Failures."
    if any(result.figures.get("latency") for result in found.cases):
        return "No case that can be ranked was timed."
    return "Cases were inspected but none was timed, so nothing can be said of speed."


def _care(runs: Sequence[RunResults]) -> Markup:
    """Returns the gravest caveats, each with how many cases it concerns."""
    counts: dict[str, int] = {}
    total = sum(len(found.cases) for found in runs)
    for found in runs:
        for result in found.cases:
            for flag in result.flags:
                counts[flag.code] = counts.get(flag.code, 0) + 1
    if not counts:
        return Markup("")
    ordered = sorted(counts, key=lambda code: GRAVEST.index(code) if code in GRAVEST else -1)
    lines = []
    for code in ordered[:MOST_CAVEATS]:
        known = caveats.TABLE.get(code)
        lead = blocks.link(f"caveat-{code}", _capital(known.title if known else code))
        text = known.text if known else ""
        every = counts[code] == total and total > 1
        which = f"all {total} cases" if every else f"{counts[code]} of {naming.count(total, 'case')}"
        lines.append(Markup("{} ({}). {}").format(lead, which, text))
    if len(ordered) > MOST_CAVEATS:
        lines.append(blocks.link("caveats", f"{len(ordered) - MOST_CAVEATS} more under Caveats"))
    return Markup('<aside class="care"><h3>Read with care</h3>{}</aside>').format(blocks.items(lines))


def _capital(text: str) -> str:
    """Returns a text with a capital first letter."""
    return text[:1].upper() + text[1:]
