"""What changes around a measurement, on machines that are not here: every test brings its own /proc and /sys."""

import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import GOVERNOR, QUIET, MakeMachine, machine_in

from bench import caveats, conditions
from bench.conditions import Conditions, facts, flags, others_cores, parse_quota_stops, parse_stat, stolen_share
from bench.records import Flag

ZONE = "sys/class/thermal/thermal_zone0/"
TICKS = os.sysconf("SC_CLK_TCK")

BEFORE = Conditions(
    monotonic_s=100.0,
    wall_s=1e9,
    own_s=5.0,
    minor_faults=70,
    major_faults=1,
    involuntary_switches=20,
    busy_s=1000.0,
    stolen_s=3.0,
    swapped_pages=50,
    quota_stops=4,
    quota_stopped_s=0.5,
    cpu_throttles=6,
    load_average=0.1,
    cpu_hz=3e9,
    temperature_c=50.0,
    governor="performance",
    turbo="off",
)
AFTER = replace(BEFORE, monotonic_s=102.0, wall_s=1e9 + 2.0, own_s=7.0, busy_s=1002.0)
"""Two seconds later, in which this process worked on one core and nobody else did anything."""

UNKNOWN = Conditions(monotonic_s=0.0, wall_s=0.0, own_s=0.0, minor_faults=0, major_faults=0, involuntary_switches=0)


@pytest.fixture
def machine(tmp_path: Path) -> MakeMachine:
    return machine_in(tmp_path)


def raised(**changes: object) -> list[Flag]:
    return list(flags(BEFORE, replace(AFTER, **changes)))


# rules


def test_a_quiet_measurement_has_no_caveat() -> None:
    assert raised() == []


def test_what_is_unknown_raises_nothing() -> None:
    assert flags(UNKNOWN, replace(UNKNOWN, monotonic_s=2.0, wall_s=2.0, own_s=2.0)) == ()
    assert flags(UNKNOWN, UNKNOWN) == ()


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"busy_s": 1002.52}, Flag("loaded", "0.3 cores in use by others")),
        ({"busy_s": 1005.0}, Flag("loaded", "1.5 cores in use by others")),
        ({"stolen_s": 3.05}, Flag("stolen", "2% of the processor time, 0.05 s")),
        ({"stolen_s": 5.0}, Flag("stolen", "50% of the processor time, 2.00 s")),
        ({"quota_stops": 5, "quota_stopped_s": 0.75}, Flag("quota", "stopped once, 0.25 s in all")),
        ({"quota_stops": 8, "quota_stopped_s": None}, Flag("quota", "stopped 4 times")),
        ({"swapped_pages": 307}, Flag("swapped", "257 pages")),
        ({"cpu_throttles": 7}, Flag("cpu_throttled", "once")),
        ({"cpu_throttles": 9}, Flag("cpu_throttled", "3 times")),
        ({"batteries": ("full", "discharging")}, Flag("battery")),
        ({"governor": "schedutil"}, Flag("governor", "governor schedutil")),
        ({"wall_s": 1e9 + 2.13}, Flag("clock_stepped", "by +0.1 s")),
        ({"wall_s": 1e9 - 3600}, Flag("clock_stepped", "by -3602.0 s")),
    ],
)
def test_each_disturbance_is_one_caveat_with_its_facts(changes: dict[str, Any], flag: Flag) -> None:
    assert raised(**changes) == [flag]
    assert flag.code in caveats.TABLE


@pytest.mark.parametrize(
    "changes",
    [
        {"busy_s": 1002.5},  # a quarter of a core
        {"stolen_s": 3.04},  # 0.04 of 2.04 s
        {"swapped_pages": 306},
        {"batteries": ("charging",)},
        {"governor": None},
        {"wall_s": 1e9 + 2.11},
        {"wall_s": 1e9 + 1.89},
        {"minor_faults": 10**6, "major_faults": 10**6, "involuntary_switches": 10**6},
    ],
)
def test_below_its_limit_nothing_is_said(changes: dict[str, Any]) -> None:
    assert raised(**changes) == []


def test_a_single_tick_is_not_stolen_time_however_short_the_measurement() -> None:
    short = replace(AFTER, busy_s=1000.1, own_s=5.1, monotonic_s=100.1, wall_s=1e9 + 0.1)
    assert flags(BEFORE, replace(short, stolen_s=3.01)) == ()
    assert [flag.code for flag in flags(BEFORE, replace(short, stolen_s=3.03))] == ["stolen"]


def test_a_state_counts_at_either_end() -> None:
    on_battery = replace(BEFORE, batteries=("discharging",), governor="powersave")
    assert [flag.code for flag in flags(on_battery, AFTER)] == ["battery", "governor"]


def test_a_longer_measurement_lets_the_clocks_drift_further() -> None:
    end = replace(AFTER, monotonic_s=400.0, own_s=5.0, busy_s=1000.0)
    assert flags(BEFORE, replace(end, wall_s=1e9 + 303.0)) == ()
    assert [flag.code for flag in flags(BEFORE, replace(end, wall_s=1e9 + 303.2))] == ["clock_stepped"]


def test_a_counter_that_was_set_back_is_unknown() -> None:
    assert raised(quota_stops=0, swapped_pages=0, cpu_throttles=0, stolen_s=0.0, busy_s=0.0) == []
    assert facts(BEFORE, replace(AFTER, swapped_pages=0))["swapped_pages"] is None


def test_everything_at_once_comes_in_the_order_of_the_table() -> None:
    codes = [
        flag.code
        for flag in raised(
            busy_s=1009.0,
            stolen_s=9.0,
            quota_stops=9,
            swapped_pages=10**6,
            cpu_throttles=9,
            batteries=("discharging",),
            governor="powersave",
            wall_s=0.0,
        )
    ]
    assert codes == [code for code in caveats.TABLE if code in codes]
    assert len(codes) == 8


def test_others_are_what_this_process_did_not_use() -> None:
    assert others_cores(BEFORE, replace(AFTER, busy_s=1005.0)) == 1.5
    assert others_cores(BEFORE, replace(AFTER, busy_s=1001.9)) == 0.0  # ticks are coarser than our own clock
    assert others_cores(BEFORE, replace(AFTER, busy_s=None)) is None
    assert others_cores(BEFORE, BEFORE) is None


def test_a_count_that_does_not_even_see_this_process_is_unknown() -> None:
    assert others_cores(BEFORE, replace(AFTER, busy_s=1000.0)) is None
    assert others_cores(BEFORE, replace(AFTER, own_s=5.05, busy_s=1000.0)) == 0.0  # less than can be told


def test_stolen_time_is_a_share_of_what_was_wanted() -> None:
    assert stolen_share(BEFORE, replace(AFTER, stolen_s=5.0)) == 0.5
    assert stolen_share(BEFORE, replace(AFTER, stolen_s=None)) is None
    assert stolen_share(BEFORE, BEFORE) is None


def test_facts_are_plain_data_with_rises_and_both_states() -> None:
    after = replace(AFTER, cpu_hz=2e9, temperature_c=None, batteries=("full",), minor_faults=75, quota_stops=5)
    found = facts(BEFORE, after)
    assert found == {
        "others_cores": 0.0,
        "stolen_share": 0.0,
        "minor_faults": 5,
        "major_faults": 0,
        "involuntary_switches": 0,
        "swapped_pages": 0,
        "quota_stops": 1,
        "quota_stopped_s": 0.0,
        "cpu_throttles": 0,
        "conditions": {
            "cpu_hz": [3e9, 2e9],
            "temperature_c": [50.0, None],
            "load_average": [0.1, 0.1],
            "governor": ["performance", "performance"],
            "turbo": ["off", "off"],
            "batteries": [[], ["full"]],
        },
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# readings


def test_a_machine_is_read_in_base_units(machine: MakeMachine) -> None:
    found = conditions.read(
        machine(
            {
                "sys/class/power_supply/BAT0/type": "Battery",
                "sys/class/power_supply/BAT0/status": "Discharging",
                "sys/fs/cgroup/user.slice/cpu.stat": "nr_throttled 3\nthrottled_usec 1500\n",
                "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2",
                "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "5",
                "sys/devices/system/cpu/cpu11/thermal_throttle/core_throttle_count": "1",
                "sys/class/hwmon/hwmon0/name": "coretemp",
                "sys/class/hwmon/hwmon0/temp1_input": "61000",
                "sys/class/hwmon/hwmon0/temp2_input": "64500",
            }
        )
    )
    assert found.busy_s == (900 + 100 + 400 + 20 + 10) / TICKS
    assert found.stolen_s == 0
    assert found.swapped_pages == 7
    assert (found.quota_stops, found.quota_stopped_s) == (3, 0.0015)
    assert found.cpu_throttles == 8
    assert found.load_average == 0.08
    assert found.cpu_hz == 3.1e9
    assert found.temperature_c == 64.5
    assert (found.governor, found.turbo) == ("performance", "off")
    assert found.batteries == ("discharging",)


def test_an_empty_machine_is_unknown_and_no_error(tmp_path: Path) -> None:
    found = conditions.read(tmp_path)
    unknown = replace(
        UNKNOWN,
        **{
            name: getattr(found, name)
            for name in ("monotonic_s", "wall_s", "own_s", "minor_faults", "major_faults", "involuntary_switches")
        },
    )
    assert found == unknown


@pytest.mark.parametrize("path", [path for path in QUIET if path != "proc/self/clear_refs"])
def test_nonsense_in_a_file_is_unknown_and_no_error(machine: MakeMachine, path: str) -> None:
    before, after = (conditions.read(machine({path: "# what is this? -\n"})) for _ in range(2))
    assert {flag.code for flag in flags(before, after)} <= {"governor"}


def test_this_process_is_counted_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = resource.struct_rusage((1.25, 0.75, 0, 0, 0, 0, 70, 2, 0, 0, 0, 0, 0, 0, 5, 33))
    monkeypatch.setattr(resource, "getrusage", {resource.RUSAGE_SELF: usage}.__getitem__)
    found = conditions.read()
    assert (found.own_s, found.minor_faults, found.major_faults, found.involuntary_switches) == (2.0, 70, 2, 33)


def test_this_machine_answers() -> None:
    before, after = conditions.read(), conditions.read()
    assert after.monotonic_s >= before.monotonic_s
    assert after.minor_faults >= before.minor_faults
    assert before.busy_s is not None
    json.dumps(facts(before, after), allow_nan=False)


def test_guests_are_counted_once_and_waiting_is_no_work() -> None:
    assert parse_stat("cpu  10 1 5 1000 300 2 3 7 9 1\ncpu0 1 1 1 1\n") == (21 / TICKS, 7 / TICKS)
    assert parse_stat("cpu  10 1 5 1000\n") == (16 / TICKS, 0.0)  # Linux before 2.6 had four columns
    assert parse_stat("intr 5") == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usage_usec 9\nnr_periods 5\nnr_throttled 2\nthrottled_usec 3000000\n", (2, 3.0)),
        ("nr_periods 5\nnr_throttled 2\nthrottled_time 3000000000\n", (2, 3.0)),
        ("nr_throttled 2\n", (2, None)),
        ("usage_usec 9\n", (None, None)),
        ("", (None, None)),
    ],
)
def test_both_versions_of_control_groups_tell_how_long_they_stopped(
    text: str, expected: tuple[int | None, float | None]
) -> None:
    assert parse_quota_stops(text) == expected


def test_every_group_above_may_stop_a_process(machine: MakeMachine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "0::/team/job\n",
            "sys/fs/cgroup/team/job/cpu.stat": "nr_throttled 1\nthrottled_usec 1000000\n",
            "sys/fs/cgroup/team/cpu.stat": "nr_throttled 2\nthrottled_usec 2000000\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 99\n",
        }
    )
    found = conditions.read(root)
    assert (found.quota_stops, found.quota_stopped_s) == (3, 3.0)


def test_a_folder_under_two_names_is_counted_once(machine: MakeMachine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_throttled 2\nthrottled_time 1000000000\n",
        }
    )
    for name in ("cpu", "cpuacct"):
        (root / "sys/fs/cgroup" / name).symlink_to("cpu,cpuacct")
    found = conditions.read(root)
    assert (found.quota_stops, found.quota_stopped_s) == (2, 1.0)


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        (
            {"sys/class/thermal/thermal_zone0/type": "x86_pkg_temp", "sys/class/thermal/thermal_zone0/temp": "48000"},
            48.0,
        ),
        ({"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "-500"}, -0.5),
        ({"sys/class/thermal/thermal_zone0/type": "iwlwifi_1", "sys/class/thermal/thermal_zone0/temp": "48000"}, None),
        ({"sys/class/hwmon/hwmon3/name": "nvme", "sys/class/hwmon/hwmon3/temp1_input": "70000"}, None),
        ({"sys/class/hwmon/hwmon3/name": "k10temp", "sys/class/hwmon/hwmon3/temp1_input": "70000"}, 70.0),
        ({"sys/class/hwmon/hwmon3/name": "k10temp", "sys/class/hwmon/hwmon3/temp1_input": ""}, None),
    ],
)
def test_only_the_processor_s_sensors_are_asked(
    machine: MakeMachine, files: dict[str, str | None], celsius: float | None
) -> None:
    assert conditions.read(machine(files)).temperature_c == celsius


def test_a_governor_that_is_not_shown_is_unknown(machine: MakeMachine) -> None:
    assert conditions.read(machine({GOVERNOR: None})).governor is None
