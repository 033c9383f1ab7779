"""Cases of a layer as tests: a `softmoe` marker and fixture, built on pytest-benchmark.

    @pytest.mark.softmoe("soft", num_experts=[8, 32], slots_per_expert=24)   # lists are axes, as in a grid
    def test_my_layer(softmoe):
        softmoe.measure()

Every pytest session in which this package is installed loads this file: it imports nothing of ours before it is used.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bench.pytest_plugin.fixture import Softmoe

MARKER = (
    "softmoe(layer, *, grid=None, factory=None, **axes): measure cases of a layer with the `softmoe` fixture; lists are"
    " axes, grid is a bundled grid or a TOML file, factory a layer of your own that is measured over the axes of layer"
)
RECORDER = "softmoe-recorder"
"""The plugin that is there only in a session with `--softmoe-store`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds our options; without them the fixture measures in the test's own process."""
    group = parser.getgroup("softmoe", "Mixture-of-Experts layers (softmoe-bench)")
    group.addoption(
        "--softmoe-store",
        metavar="FILE|URL",
        help="Record the softmoe tests of this session as a run: each case is measured by fresh processes, in rounds.",
    )
    group.addoption(
        "--softmoe-repeats", type=_count, metavar="N", help="Fresh processes that time each case (default 5)."
    )
    group.addoption(
        "--softmoe-max-seconds", type=_seconds, metavar="S", help="Sampling time of each process (default 1)."
    )
    group.addoption(
        "--softmoe-compare", metavar="RUN|baseline:NAME", help="Compare the run with an earlier one of the store."
    )
    group.addoption(
        "--softmoe-fail-on",
        metavar="WORDS",
        help="Exit with 1 where the comparison finds one of these, as in slower,memory,missing"
        " (see `softmoe-bench compare --help`).",
    )
    group.addoption("--softmoe-save", metavar="NAME", help="Save the run as a baseline, unless the comparison fails.")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker; records where that is asked for."""
    config.addinivalue_line("markers", MARKER)
    options = ("store", "repeats", "max_seconds", "compare", "fail_on", "save")
    if any(config.getoption(f"softmoe_{name}") is not None for name in options):
        from bench.pytest_plugin.options import understand  # noqa: PLC0415
        from bench.pytest_plugin.recorder import Recorder  # noqa: PLC0415

        config.pluginmanager.register(Recorder(config, understand(config)), RECORDER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test of each case that the markers of a test function ask for."""
    marks = list(metafunc.definition.iter_markers("softmoe"))
    if marks:
        from bench.pytest_plugin.marker import parametrize  # noqa: PLC0415

        parametrize(metafunc, marks)


@pytest.fixture
def softmoe(request: pytest.FixtureRequest, benchmark: Any) -> Softmoe:  # noqa: ANN401  (it exports no type)
    """Measures a case: `softmoe.measure()` the one of the marker, `softmoe("soft", num_experts=8)` any other."""
    from bench.pytest_plugin.fixture import Softmoe  # noqa: PLC0415

    recorder = request.config.pluginmanager.get_plugin(RECORDER)
    return Softmoe(request.node, benchmark, getattr(request, "param", None), recorder)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:  # noqa: ANN401
    """Adds the facts that must agree for a comparison; pytest-benchmark alone knows neither torch nor the GPU."""
    del config
    from bench import environment  # noqa: PLC0415
    from bench.gpus import gpus  # noqa: PLC0415

    versions = environment.package_versions()
    machine_info["softmoe_bench"] = {
        **environment.comparable_facts(),
        "torch": versions.get("torch"),
        "gpus": [gpu.comparable_facts() for gpu in gpus()],
    }


def _count(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': takes a whole number >= 1")
    return int(text)


def _seconds(text: str) -> float:
    """Returns a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}': takes a number of seconds > 0")
    return value
