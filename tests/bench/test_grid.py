"""Grid files: what they may say, the points that follow, and one clear line for everything else."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import grid
from bench.errors import InputError
from bench.expression import Derived
from bench.grid import Sweep, bundled, expand, load, parse, parse_settings

SOFT = {"layer": "soft", "num_experts": 8, "slots_per_expert": 4}


def points(table: dict[str, Any]) -> list[dict[str, Any]]:
    return read({"sweep": [table]})


def read(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [point for sweep in parse(content, source="g.toml").sweeps for point in expand(sweep)]


def complaint(content: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        read(content)
    text = str(error.value)
    assert "\n" not in text
    return text


def in_sweep(**changes: object) -> str:
    return complaint({"sweep": [SOFT, SOFT | changes]}).removeprefix("g.toml: sweep 2: ")


# what a file says


def test_everything_that_a_file_may_say() -> None:
    found = parse(
        {
            "grid": {"name": "mine", "description": "Is it fast?"},
            "run": {"repeats": 3, "max_seconds": 0.5},
            "defaults": {"seq_len": "196", "slots_per_expert": "seq_len // 8"},
            "sweep": [
                {
                    "layer": ["soft", "dense"],
                    "batch_size": [1, "2", 4.0],
                    "capacity_factor": "none",
                    "top_k": [1, 2, 4],
                    "zip": [["batch_size", "top_k"]],
                    "exclude": [{"batch_size": "4"}],
                }
            ],
        },
        source="dir/g.toml",
    )
    assert (found.name, found.description, found.source) == ("mine", "Is it fast?", "dir/g.toml")
    assert found.run == {"repeats": 3, "max_seconds": 0.5}
    assert found.defaults == {"seq_len": 196, "slots_per_expert": Derived("seq_len // 8")}
    assert found.sweeps == (
        Sweep(
            "dir/g.toml: sweep 1",
            {"layer": ("soft", "dense"), "batch_size": (1, 2, 4), "capacity_factor": (None,), "top_k": (1, 2, 4)},
            (("batch_size", "top_k"),),
            ({"batch_size": 4},),
        ),
    )


def test_a_grid_without_a_head_is_named_after_its_file() -> None:
    found = parse({"sweep": [{"layer": "dense"}]}, source="some/where/mine.toml")
    assert (found.name, found.description, found.run, found.defaults) == ("mine", "", {}, {})


TABLES = "[grid], [run], [thresholds], [defaults], [sweep]"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"sweeps": [SOFT]}, f"g.toml: unknown table 'sweeps'; did you mean [sweep]? (allowed: {TABLES})"),
        ({"grid": "quick"}, "g.toml: grid must be a table, write [grid]"),
        ({"run": 3}, "g.toml: run must be a table, write [run]"),
        ({"defaults": [{}]}, "g.toml: defaults must be a table, write [defaults]"),
        (
            {"grid": {"title": "x"}},
            "g.toml: [grid] unknown key 'title' (allowed: name, description)",
        ),
        ({}, "g.toml: a grid needs at least one [[sweep]] table"),
        ({"sweep": []}, "g.toml: a grid needs at least one [[sweep]] table"),
        ({"sweep": SOFT}, "g.toml: a grid needs at least one [[sweep]] table"),
        ({"sweep": ["soft"]}, "g.toml: a grid needs at least one [[sweep]] table"),
        (
            {"run": {"repeat": 3}, "sweep": [SOFT]},
            "g.toml: [run] unknown key 'repeat'; did you mean repeats? (allowed: repeats, max_seconds)",
        ),
        ({"run": {"repeats": 0}, "sweep": [SOFT]}, "g.toml: [run] repeats = 0: takes a whole number > 0"),
        ({"run": {"repeats": 2.0}, "sweep": [SOFT]}, "g.toml: [run] repeats = 2.0: takes a whole number > 0"),
        ({"run": {"repeats": True}, "sweep": [SOFT]}, "g.toml: [run] repeats = True: takes a whole number > 0"),
        ({"run": {"max_seconds": "1"}, "sweep": [SOFT]}, "g.toml: [run] max_seconds = '1': takes a number > 0"),
        (
            {"run": {"max_seconds": float("nan")}, "sweep": [SOFT]},
            "g.toml: [run] max_seconds = nan: takes a number > 0",
        ),
        (
            {"run": {"max_seconds": float("inf")}, "sweep": [SOFT]},
            "g.toml: [run] max_seconds = inf: takes a number > 0",
        ),
        (
            {"defaults": {"d_model": [1, 2]}, "sweep": [SOFT]},
            "g.toml: [defaults]: d_model = [1, 2]: takes a whole number >= 1",
        ),
        (
            {"defaults": {"layer": "soft"}, "sweep": [SOFT]},
            "g.toml: [defaults] layer cannot be a default: every [[sweep]] names its own",
        ),
    ],
)
def test_a_file_that_cannot_be_used(content: dict[str, Any], text: str) -> None:
    assert complaint(content) == text


def test_an_unknown_default_is_named_with_its_nearest() -> None:
    text = complaint({"defaults": {"d_modle": 8}, "sweep": [SOFT]})
    assert text.startswith(
        "g.toml: [defaults]: unknown axis 'd_modle'; did you mean d_model? (allowed: layer, variant, moe, backend, "
    )


def test_a_sweep_without_a_layer() -> None:
    assert complaint({"sweep": [{"num_experts": 8}]}) == "g.toml: sweep 1: needs layer = ..."


ZIP = 'zip takes lists of axis names, as in zip = [["num_experts", "top_k"]]'
AXES_HERE = "layer, num_experts, slots_per_expert"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_experts": 0}, "num_experts = 0: takes a whole number >= 1"),
        ({"num_experts": []}, "num_experts = []: an axis needs at least one value"),
        ({"num_experts": [8, 1.5]}, "num_experts = 1.5: takes a whole number >= 1"),
        ({"num_experts": [[8]]}, "num_experts = [8]: takes a whole number >= 1"),
        ({"num_experts": {"a": 1}}, "num_experts = {'a': 1}: takes a whole number >= 1"),
        ({"num_experts": "8 experts"}, "num_experts = '8 experts': takes a whole number >= 1, or arithmetic on axes"),
        ({"dtype": "seq_len"}, "dtype: unknown value 'seq_len' (allowed: float32, bfloat16, float16)"),
        ({"zip": "num_experts"}, ZIP),
        ({"zip": ["num_experts", "slots_per_expert"]}, ZIP),
        ({"zip": [["num_experts", 3]]}, ZIP),
        ({"zip": [[["num_experts"]]]}, ZIP),
        (
            {"zip": [["num_experts", "slots_per_exprt"]]},
            f"zip: unknown axis 'slots_per_exprt'; did you mean slots_per_expert? (allowed: {AXES_HERE})",
        ),
        ({"zip": [["num_experts", "top_k"]]}, f"zip: unknown axis 'top_k' (allowed: {AXES_HERE})"),
        ({"zip": [["num_experts", "num_experts"]]}, "zip names num_experts twice"),
        ({"zip": [["num_experts"], ["num_experts", "slots_per_expert"]]}, "zip names num_experts twice"),
        ({"zip": [["layer", "num_experts"]]}, "zip cannot walk layer: write one [[sweep]] for each layer"),
        (
            {"num_experts": [1, 2], "slots_per_expert": [1, 2, 3], "zip": [["num_experts", "slots_per_expert"]]},
            "zip needs lists of one length, but num_experts has 2, slots_per_expert has 3",
        ),
        ({"exclude": {"num_experts": 8}}, "exclude takes tables, as in exclude = [{num_experts = 8}]"),
        ({"exclude": [{}]}, "exclude takes tables, as in exclude = [{num_experts = 8}]"),
        ({"exclude": ["num_experts"]}, "exclude takes tables, as in exclude = [{num_experts = 8}]"),
        ({"exclude": [{"num_experts": [8, 16]}]}, "exclude: num_experts = [8, 16]: takes a whole number >= 1"),
        ({"exclude": [{"num_experts": "seq_len"}]}, "exclude takes plain values, not expressions"),
        ({"exclude": [{"seq_len": 8}]}, f"exclude: unknown axis 'seq_len' (allowed: {AXES_HERE})"),
    ],
)
def test_a_sweep_that_cannot_be_used(changes: dict[str, Any], text: str) -> None:
    assert in_sweep(**changes) == text


def test_an_unknown_axis_is_named_with_its_nearest() -> None:
    text = in_sweep(num_expert=8)
    assert text.startswith(
        "unknown axis 'num_expert'; did you mean num_experts? (allowed: layer, variant, moe, backend, num_experts, "
    )
    assert in_sweep(exclude=[{"num_expert": 8}]).startswith("exclude: unknown axis 'num_expert'; did you mean num_e")


# points


def test_the_product_is_taken_in_the_order_of_the_file_the_last_axis_fastest() -> None:
    found = points({"layer": "soft", "num_experts": [8, 2], "dtype": "float32", "slots_per_expert": [1, 3, 2]})
    assert [(p["num_experts"], p["slots_per_expert"]) for p in found] == [
        (8, 1),
        (8, 3),
        (8, 2),
        (2, 1),
        (2, 3),
        (2, 2),
    ]
    assert all(list(p) == ["layer", "num_experts", "dtype", "slots_per_expert"] for p in found)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_product_is_that_of_itertools(experts: list[int], slots: list[int]) -> None:
    found = points({"layer": "soft", "num_experts": experts, "slots_per_expert": slots})
    assert [(p["num_experts"], p["slots_per_expert"]) for p in found] == list(itertools.product(experts, slots))


def test_zipped_lists_walk_together_at_the_place_of_the_first() -> None:
    found = points(
        {
            "layer": "soft",
            "num_experts": [8, 16],
            "seq_len": [1, 2],
            "slots_per_expert": [4, 2],
            "zip": [["slots_per_expert", "num_experts"]],
        }
    )
    assert [(p["num_experts"], p["seq_len"], p["slots_per_expert"]) for p in found] == [
        (8, 1, 4),
        (8, 2, 4),
        (16, 1, 2),
        (16, 2, 2),
    ]


def test_zipped_lists_may_repeat_a_value() -> None:
    table = {"layer": "soft", "num_experts": [8, 8, 16], "slots_per_expert": [1, 2, 2]}
    found = points(table | {"zip": [["num_experts", "slots_per_expert"]]})
    assert [(p["num_experts"], p["slots_per_expert"]) for p in found] == [(8, 1), (8, 2), (16, 2)]


def test_a_single_value_in_a_zip_stays_where_it_is() -> None:
    table = {
        "layer": "soft",
        "num_experts": [8, 16],
        "slots_per_expert": 4,
        "zip": [["num_experts", "slots_per_expert"]],
    }
    assert [(p["num_experts"], p["slots_per_expert"]) for p in points(table)] == [(8, 4), (16, 4)]


def test_two_zips_multiply() -> None:
    found = points(
        {
            "layer": "soft",
            "num_experts": [1, 2],
            "slots_per_expert": [3, 4],
            "d_model": [5, 6],
            "d_ff": [7, 8],
            "zip": [["num_experts", "slots_per_expert"], ["d_model", "d_ff"]],
        }
    )
    assert [tuple(p.values())[1:] for p in found] == [(1, 3, 5, 7), (1, 3, 6, 8), (2, 4, 5, 7), (2, 4, 6, 8)]


def test_an_excluded_point_matches_a_rule_in_all_its_axes() -> None:
    table = {"layer": "soft", "num_experts": [1, 2], "slots_per_expert": [1, 2]}
    rules = [{"num_experts": "2", "slots_per_expert": 1.0}, {"num_experts": 1, "slots_per_expert": 3}]
    found = [(p["num_experts"], p["slots_per_expert"]) for p in points(table | {"exclude": rules})]
    assert found == [(1, 1), (1, 2), (2, 2)]


def test_rules_see_derived_and_absent_values() -> None:
    table = {
        "layer": "token_choice",
        "num_experts": [2, 4],
        "seq_len": 8,
        "group_size": ["none", "seq_len // num_experts"],
    }
    found = points(table | {"exclude": [{"group_size": 4}, {"group_size": "none", "num_experts": 4}]})
    assert [(p["num_experts"], p["group_size"]) for p in found] == [(2, None), (4, 2)]


# derived values


def test_a_derived_value_follows_the_axes_of_its_point() -> None:
    found = points(
        {"layer": "soft", "seq_len": 16, "num_experts": [2, 8], "slots_per_expert": "seq_len // num_experts"}
    )
    assert [p["slots_per_expert"] for p in found] == [8, 2]


def test_derived_values_may_depend_on_each_other_in_any_order() -> None:
    (point,) = points(
        {
            "layer": "soft",
            "d_ff": "2 * d_model",
            "d_model": "seq_len * 3",
            "seq_len": "num_experts + 1",
            "num_experts": 4,
        }
    )
    assert point == {"layer": "soft", "d_ff": 30, "d_model": 15, "seq_len": 5, "num_experts": 4}


def test_a_whole_quotient_is_a_whole_number_and_another_one_is_refused() -> None:
    assert points(SOFT | {"seq_len": "num_experts / 2"})[0]["seq_len"] == 4
    assert in_sweep(seq_len="num_experts / 3") == (
        "seq_len = 'num_experts / 3' at num_experts=8: seq_len = 2.6666666666666665: takes a whole number >= 1"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"d_model": "d_ff", "d_ff": "d_model * 1"}, "derived values go in a circle: d_model, d_ff"),
        ({"d_model": "d_model + 1"}, "derived values go in a circle: d_model"),
        (
            {"seq_len": "d_model"},
            f"seq_len = 'd_model': 'd_model' has no number here (axes of this point: {AXES_HERE})",
        ),
        (
            {"seq_len": "8//(d_ff-1)", "d_ff": 1},
            "seq_len = '8//(d_ff-1)' at d_ff=1: '8//(d_ff-1)' cannot be computed: integer division or modulo by zero",
        ),
        (
            {"seq_len": "num_experts - 8"},
            "seq_len = 'num_experts - 8' at num_experts=8: seq_len = 0: takes a whole number >= 1",
        ),
        (
            {"seq_len": "'os'.upper()"},
            "seq_len = ''os'.upper()': only numbers, axes, + - * / // %, min(...) and max(...) may be used",
        ),
    ],
)
def test_a_derived_value_that_cannot_be_computed(changes: dict[str, Any], text: str) -> None:
    assert in_sweep(**changes) == text


def test_a_derived_value_of_an_unknown_axis_is_named_with_its_nearest() -> None:
    text = in_sweep(seq_len="num_expert // 2")
    assert text.startswith(
        "seq_len = 'num_expert // 2': unknown axis 'num_expert'; did you mean num_experts? (allowed: "
    )


def test_code_in_a_grid_is_refused_and_not_executed(tmp_path: Path) -> None:
    proof = tmp_path / "x"
    text = in_sweep(seq_len=f"__import__('os').mkdir('{proof}')")
    assert text.startswith(
        f"seq_len = '__import__('os').mkdir('{proof}')': unknown axis '__import__' (allowed: layer, "
    )
    assert not proof.exists()


# --set


def test_overrides_are_typed() -> None:
    words = ["num_experts=8,16", "capacity_factor=1,none", "renormalize=true", "dtype=bfloat16", "input=skewed:1.5"]
    assert parse_settings(words) == {
        "num_experts": (8, 16),
        "capacity_factor": (1.0, None),
        "renormalize": (True,),
        "dtype": ("bfloat16",),
        "input": ("skewed:1.5",),
    }
    assert parse_settings([]) == {}


def test_overrides_may_be_derived_and_commas_in_parentheses_are_not_separators() -> None:
    assert parse_settings(["slots_per_expert=max(1, min(4, seq_len)),seq_len // 2,3"]) == {
        "slots_per_expert": (Derived("max(1, min(4, seq_len))"), Derived("seq_len // 2"), 3)
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["num_experts"], "--set num_experts: write axis=value or axis=value,value"),
        (["num_experts="], "--set num_experts=: write axis=value or axis=value,value"),
        (["num_experts=0"], "--set num_experts=0: num_experts = '0': takes a whole number >= 1"),
        (
            ["num_experts=8,"],
            "--set num_experts=8,: num_experts = '': takes a whole number >= 1, or arithmetic on axes",
        ),
        (
            ["num_experts=8", "num_experts=16"],
            "--set num_experts=16: num_experts is set twice; write num_experts=value,value for several values",
        ),
        (
            ["cache=host"],
            "--set cache=host: cache: unknown value 'host'; did you mean hot? (allowed: hot, cold)",
        ),
    ],
)
def test_an_override_that_cannot_be_used(words: list[str], text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_settings(words)
    assert str(error.value) == text


def test_an_override_of_an_unknown_axis_is_named_with_its_nearest() -> None:
    with pytest.raises(
        InputError, match=r"^--set expert=8: unknown axis 'expert'; did you mean num_experts\? \(allowed: "
    ):
        parse_settings(["expert=8"])


# files


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[sweep]]\nlayer = "dense"\nbatch_size = [1, 2]\n', encoding="utf-8")
    found = load(str(path))
    assert (found.name, found.source) == ("mine", str(path))
    assert found.sweeps[0].axes == {"layer": ("dense",), "batch_size": (1, 2)}


def test_complaints_name_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('[[sweep]]\nlayer = "dense"\nseed = -1\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^mine\.toml: sweep 1: seed = -1: takes a whole number >= 0$"):
        load("mine.toml")


@pytest.mark.parametrize(
    ("word", "file"), [("no/such.toml", True), ("such.toml", True), ("./such", True), ("quik", False)]
)
def test_a_grid_that_does_not_exist(word: str, file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    allowed = f"(allowed: {', '.join(bundled())}); a grid of your own is a path to a .toml file"
    text = f"grid file {word} does not exist" if file else f"unknown grid 'quik'; did you mean quick? {allowed}"
    with pytest.raises(InputError) as error:
        load(word)
    assert str(error.value) == text


def test_a_folder_is_no_grid(tmp_path: Path) -> None:
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(InputError, match=r"d\.toml does not exist$"):
        load(str(tmp_path / "d.toml"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[grid\n", "Expected ']' at the end of a table declaration (at line 1, column 6)"),
        (b'[grid]\nname = "\xff"\n', "'utf-8' codec can't decode byte 0xff in position 15: invalid start byte"),
    ],
)
def test_a_file_that_is_no_toml(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load(str(path))
    assert str(error.value) == f"{path}: not valid TOML ({text})"


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.toml"
    path.touch()

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")  # root may read everything, so chmod would prove nothing

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError) as error:
        load(str(path))
    assert str(error.value) == f"{path}: cannot be read (Permission denied)"


def test_bundled_grids_are_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("quick").source == "quick"
    assert list(bundled()) == sorted(bundled())
    assert grid.bundled()["quick"].name == "quick.toml"
