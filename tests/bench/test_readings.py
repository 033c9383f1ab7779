"""Every rule about a GPU that is watched, on readings made by hand."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from bench import caveats
from bench.readings import Reading, Watched, decode, facts, flags, marks, others
from bench.records import Flag

OURS = 41
WORK = Reading(
    at=0.0,
    sm_clock_hz=1980e6,
    memory_clock_hz=2619e6,
    temperature_c=55.0,
    power_w=500.0,
    reasons=frozenset(),
    processes=frozenset({OURS}),
)
SPANS = [(0.05 + 0.1 * i, 0.15 + 0.1 * i) for i in range(4)]
"""Four samples of 0.1 s, in the middle of which lies a reading each; one reading before and one after them."""


def watched(*changed: Reading | None, own: int = OURS, before: Iterable[int] | None = None) -> Watched:
    """Readings at 0.0, 0.1, 0.2, ...: at work, but where another is given."""
    readings = [replace(reading or WORK, at=round(0.1 * i, 9)) for i, reading in enumerate(changed)]
    return Watched(tuple(readings), 1980e6, None if before is None else frozenset(before), own)


def slow(*reasons: str) -> Reading:
    return replace(WORK, reasons=frozenset(reasons))


def at(megahertz: float, *reasons: str) -> Reading:
    return replace(WORK, sm_clock_hz=megahertz * 1e6, reasons=frozenset(reasons))


def with_others(*pids: int) -> Reading:
    return replace(WORK, processes=frozenset(pids))


QUIET = (None,) * 6


# words


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, set()),
        (0x1, {"idle"}),
        (0x4, {"power_cap"}),
        (0x48, {"hardware_slowdown", "hardware_thermal"}),
        (0x1A2, {"applications_clocks", "software_thermal", "power_brake", "display_clocks"}),
        (0x10, {"sync_boost"}),
        (0x8000_0001, {"idle", "0x80000000"}),
    ],
)
def test_bits_become_words_and_new_ones_keep_their_number(bits: int, words: set[str]) -> None:
    assert decode(bits) == words


# caveats


def test_a_gpu_at_full_clock_has_no_caveat() -> None:
    assert flags(watched(*QUIET), SPANS) == ()
    assert marks(watched(*QUIET), SPANS) == {}


def test_an_empty_watch_says_nothing() -> None:
    assert flags(Watched(), SPANS) == ()
    assert marks(Watched(), SPANS) == {}
    assert facts(Watched(), SPANS) == {}


def test_a_measurement_without_samples_says_nothing() -> None:
    assert flags(watched(slow("power_cap"), at(300)), []) == ()
    assert marks(watched(slow("power_cap")), []) == {}
    assert facts(watched(*QUIET), []) == {}


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (slow("hardware_slowdown"), [Flag("throttled", "in 1 of 6 readings: hardware_slowdown")]),
        (slow("power_brake"), [Flag("throttled", "in 1 of 6 readings: power_brake")]),
        (
            slow("hardware_thermal", "hardware_slowdown"),
            [
                Flag("throttled", "in 1 of 6 readings: hardware_slowdown, hardware_thermal"),
                Flag("thermal", "in 1 of 6 readings, up to 55 °C"),
            ],
        ),
        (
            replace(slow("software_thermal"), temperature_c=87.0),
            [
                Flag("throttled", "in 1 of 6 readings: software_thermal"),
                Flag("thermal", "in 1 of 6 readings, up to 87 °C"),
            ],
        ),
        (slow("power_cap"), [Flag("power_capped", "in 1 of 6 readings")]),
        (
            at(1484),
            [
                Flag("clock_low", "in 1 of 6 readings, down to 1484 MHz"),
                Flag("clock_changed", "between 1484 and 1980 MHz"),
            ],
        ),
        (at(1880), [Flag("clock_changed", "between 1880 and 1980 MHz")]),
        (at(1890), []),
        (with_others(OURS, 7), [Flag("other_gpu_processes", "1 beside this one, in 1 of 6 readings")]),
        (with_others(OURS, 7, 8), [Flag("other_gpu_processes", "2 beside this one, in 1 of 6 readings")]),
    ],
)
def test_one_bad_reading_is_a_caveat_that_says_how_often(reading: Reading, expected: list[Flag]) -> None:
    assert list(flags(watched(None, None, reading, None, None, None), SPANS)) == expected
    assert {flag.code for flag in expected} <= set(caveats.TABLE)


@pytest.mark.parametrize(
    "reason", ["idle", "applications_clocks", "sync_boost", "display_clocks", "board_limit", "0x800"]
)
def test_reasons_that_are_not_throttling_raise_nothing(reason: str) -> None:
    assert flags(watched(*[slow(reason)] * 6), SPANS) == ()


def test_a_device_that_idles_before_and_after_is_not_slow() -> None:
    idle = at(345, "idle")
    assert flags(watched(idle, None, None, None, None, idle), SPANS) == ()


def test_without_reasons_a_clock_outside_the_samples_says_nothing() -> None:
    outside = replace(at(345), reasons=None)
    within = replace(WORK, reasons=None)
    assert flags(watched(outside, *[within] * 4, outside), SPANS) == ()
    codes = [flag.code for flag in flags(watched(within, outside, *[within] * 4), SPANS)]
    assert codes == ["clock_low", "clock_changed"]


def test_a_low_clock_is_three_quarters_of_the_highest() -> None:
    assert flags(watched(*[at(1485)] * 6), SPANS) == ()
    assert [flag.code for flag in flags(watched(*[at(1484)] * 6), SPANS)] == ["clock_low"]
    unknown = replace(watched(*[at(300)] * 6), max_clock_hz=None)
    assert flags(unknown, SPANS) == ()


def test_readings_that_lie_before_the_one_before_do_not_count() -> None:
    warm_up = watched(slow("power_cap"), at(345), None, None, None, None, None, None)
    later = [(start + 0.2, end + 0.2) for start, end in SPANS]
    assert flags(warm_up, later) == ()


def test_a_device_that_tells_nothing_raises_nothing() -> None:
    silent = watched(*[Reading(at=0.0)] * 6)
    assert flags(silent, SPANS) == ()
    assert facts(silent, SPANS) == {
        "gpu_readings": 6,
        "gpu_sm_clock_hz": None,
        "gpu_memory_clock_hz": None,
        "gpu_temperature_c": None,
        "gpu_power_w": None,
        "gpu_max_sm_clock_hz": 1980e6,
        "gpu_clock_reasons": None,
    }


def test_caveats_come_in_the_order_of_the_table() -> None:
    bad = replace(at(300, "hardware_thermal", "power_cap"), processes=frozenset({OURS, 7}))
    codes = [flag.code for flag in flags(watched(None, bad, None, None, None, None), SPANS)]
    assert codes == [code for code in caveats.TABLE if code in codes]
    assert len(codes) == 6


# whose process


def test_a_process_whose_number_the_driver_knows_is_not_another() -> None:
    assert others(watched(with_others(OURS), with_others(OURS, 7))) == (frozenset(), frozenset({7}))


def test_in_a_container_the_one_new_process_is_ours() -> None:
    assert others(watched(with_others(9001), with_others(9001), own=5, before=[])) == (frozenset(), frozenset())


def test_in_a_container_those_that_were_there_before_are_others() -> None:
    found = others(watched(with_others(8000, 9001), with_others(9001), own=5, before=[8000]))
    assert found == (frozenset({8000}), frozenset())


def test_in_a_container_one_that_was_there_before_and_stays_is_not_taken_for_us() -> None:
    found = others(watched(with_others(8000, 9001), with_others(8000, 9001), own=5, before=[8000]))
    assert found == (frozenset({8000}), frozenset({8000}))


def test_in_a_container_a_second_new_process_is_another_s() -> None:
    found = others(watched(with_others(9001), with_others(7, 9001), with_others(9001), own=5, before=[]))
    assert found == (frozenset(), frozenset({7}), frozenset())


def test_where_nobody_looked_before_one_process_is_taken_for_ours() -> None:
    assert others(watched(with_others(9001), own=5)) == (frozenset(),)
    assert [len(pids) for pids in others(watched(with_others(8000, 9001), own=5))] == [1]


def test_unknown_processes_are_nobody() -> None:
    assert others(watched(replace(WORK, processes=None))) == (frozenset(),)


# marks


def test_a_sample_is_marked_by_a_reading_in_it_and_by_its_neighbours() -> None:
    spans = [(0.01, 0.02), (0.05, 0.15), (0.21, 0.29), (0.31, 0.32)]
    found = watched(None, None, None, slow("power_cap"), None)
    assert marks(found, spans) == {"power_capped": (2, 3)}
    assert marks(watched(None, slow("power_cap"), None, None, None), spans) == {"power_capped": (0, 1)}


def test_a_reading_at_the_very_start_or_end_of_a_sample_is_its_neighbour() -> None:
    found = watched(slow("power_cap"), None, None, slow("power_cap"))
    assert marks(found, [(0.1, 0.2)]) == {}


def test_a_long_sample_holds_many_readings() -> None:
    assert marks(watched(None, None, slow("power_brake"), None, None, None), [(0.05, 0.45)]) == {"throttled": (0,)}


def test_every_kind_of_mark_is_kept_apart_and_no_sample_is_lost() -> None:
    found = watched(slow("hardware_thermal"), None, None, None, with_others(OURS, 7), at(345))
    assert marks(found, SPANS) == {
        "throttled": (0,),
        "thermal": (0,),
        "other_gpu_processes": (2, 3),
        "clock_low": (3,),
    }
    assert marks(watched(*[slow("power_cap")] * 6), SPANS) == {"power_capped": (0, 1, 2, 3)}


def test_samples_beyond_the_readings_are_judged_by_the_nearest() -> None:
    found = watched(slow("power_cap"), None, slow("power_cap"))
    assert marks(found, [(-1.0, -0.9), (0.08, 0.1), (5.0, 5.1)]) == {"power_capped": (0, 1, 2)}


# facts


def test_facts_are_plain_data() -> None:
    found = facts(watched(at(1200, "power_cap"), at(1500, "power_cap"), None, None, None, at(345, "idle")), SPANS)
    assert found == {
        "gpu_readings": 6,
        "gpu_sm_clock_hz": [345e6, 1740e6, 1980e6],
        "gpu_memory_clock_hz": [2619e6, 2619e6, 2619e6],
        "gpu_temperature_c": [55.0, 55.0, 55.0],
        "gpu_power_w": [500.0, 500.0, 500.0],
        "gpu_max_sm_clock_hz": 1980e6,
        "gpu_clock_reasons": {"idle": 1, "power_cap": 2},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
