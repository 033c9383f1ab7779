"""Numbers as people read them."""

import math
import subprocess
import sys

import pytest

from bench.units import UNKNOWN, axis_scale, format_count, format_duration, format_value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.001234, "s", "1.23 ms"),
        (1.5e-6, "s", "1.50 µs"),
        (2e-9, "s", "2.00 ns"),
        (3e-10, "s", "0.300 ns"),
        (12.34, "s", "12.3 s"),
        (59.0, "s", "59.0 s"),
        (90, "s", "1.50 min"),
        (5400, "s", "1.50 h"),
        (34 * 2**20, "B", "34.0 MiB"),
        (512, "B", "512 B"),
        (1023, "B", "0.999 KiB"),
        (1024, "B", "1.00 KiB"),
        (3.35e12, "B/s", "3.35 TB/s"),
        (12.4e9, "FLOP", "12.4 GFLOP"),
        (8, "FLOP", "8 FLOP"),
        (989e12, "FLOP/s", "989 TFLOP/s"),
        (1.2e6, "token/s", "1.20 Mtoken/s"),
        (196, "token", "196 token"),
        (0.25, "J", "250 mJ"),
        (700, "W", "700 W"),
        (1.98e9, "Hz", "1.98 GHz"),
        (295.2, "FLOP/B", "295 FLOP/B"),
        (0.003, "ratio", "0.3 %"),
        (0.1234, "ratio", "12.3 %"),
        (1.0, "ratio", "100 %"),
        (0.0, "ratio", "0 %"),
        (1.7, "factor", "1.70×"),
        (5, "count", "5"),
        (0.0, "s", "0 s"),
        (-0.001234, "s", "-1.23 ms"),
        (2.5, "furlong", "2.50 furlong"),
        (1e-12, "furlong", "1.00e-12 furlong"),
        (math.inf, "s", "inf s"),
    ],
)
def test_a_value_has_three_digits_and_the_prefix_that_suits_it(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999.4e-6, "s", "999 µs"),
        (999.6e-6, "s", "1.00 ms"),
        (59.99, "s", "1.00 min"),
        (999.6e9, "FLOP", "1.00 TFLOP"),
        (999.6 * 2**20, "B", "0.976 GiB"),
        (9.996, "J", "10.0 J"),
    ],
)
def test_rounding_up_moves_to_the_next_prefix(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@pytest.mark.parametrize("unit", ["s", "B", "ratio", "count", "furlong"])
@pytest.mark.parametrize("value", [None, math.nan])
def test_unknown_is_a_dash_and_never_a_number(value: float | None, unit: str) -> None:
    assert format_value(value, unit) == UNKNOWN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, UNKNOWN),
        (math.nan, UNKNOWN),
        (0, "0"),
        (196, "196"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (33_059_737, "33.1 M"),
        (933_709_471, "934 M"),
        (54_177_406_889, "54.2 G"),
        (0.125, "0.125"),
        (-1234, "-1,234"),
        (math.inf, "inf"),
    ],
)
def test_a_count_is_exact_while_it_is_small(value: float | None, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("values", "unit", "scale"),
    [
        ([0.0012, 0.034], "s", (1e-3, "ms")),
        ([1e-6, 0.5], "s", (1e-3, "ms")),
        ([5 * 2**20, None, 300 * 2**20], "B", (2.0**20, "MiB")),
        ([12.4e9], "FLOP", (1e9, "GFLOP")),
        ([-4e9, 1.0], "FLOP/s", (1e9, "GFLOP/s")),
        ([2.5e6, math.nan], "token/s", (1e6, "Mtoken/s")),
        ([0.1, 0.9], "ratio", (0.01, "%")),
        ([], "ratio", (0.01, "%")),
        ([1.2, 3.4], "factor", (1.0, "×")),
        ([10, 20], "count", (1.0, "")),
        ([], "s", (1.0, "s")),
        ([None, math.nan], "B", (1.0, "B")),
        ([0.0], "FLOP", (1.0, "FLOP")),
        ([2e9], "furlong", (1.0, "furlong")),
    ],
)
def test_a_column_has_one_scale_set_by_its_largest_value(
    values: list[float | None], unit: str, scale: tuple[float, str]
) -> None:
    assert axis_scale(iter(values), unit) == scale


def test_dividing_by_the_scale_gives_the_number_that_is_shown() -> None:
    factor, label = axis_scale([0.0421], "s")
    assert format_value(0.0421, "s") == f"{0.0421 / factor:.1f} {label}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, UNKNOWN),
        (math.inf, UNKNOWN),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (80, "1 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86_399, "1 d 0 h"),
        (27 * 3600, "1 d 3 h"),
        (-80, "-1 min 20 s"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("module", ["units", "environment", "costs", "inputs"])
def test_the_ground_loads_nothing_heavy(module: str) -> None:
    heavy = "{'numpy', 'pandas', 'torch', 'psutil', 'pynvml', 'PIL', 'sklearn'}"
    code = f"import sys, bench.{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
