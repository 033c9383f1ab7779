"""The shape of the house: imports point downwards, the parent knows no torch, files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LEVELS = [
    {
        "errors",
        "units",
        "stats",
        "environment",
        "files",
        "gpus",
        "energy",
        "measurable",
        "peaks",
        "interrupts",
        "steps",
        "resampling",
        "families",
        "pooling",
    },
    {
        "axes",
        "expression",
        "records",
        "costs",
        "counts",
        "grid",
        "inputs",
        "images",
        "conditions",
        "readings",
        "watch",
        "pairing",
    },
    {"layers", "medians", "schema", "rows", "store", "caveats", "retention"},
    {"estimates", "plan", "metrics", "monotonic"},
    {"results", "table", "worker"},
    {"verdicts"},
    {"looks", "exact"},
    {"judging", "sides", "losses", "gates", "history", "duels", "sources"},
    {"compare", "executors", "selfcheck", "formats", "trends", "exchange", "claims"},
    {"run", "report", "floors", "rounds", "duel"},
    {"cli", "pytest_plugin", "__main__"},
]
"""From the ground up; a module may import from its own level (without a circle) and from those below."""


def modules() -> list[Path]:
    return sorted(p for p in (ROOT / "bench").rglob("*.py") if p != ROOT / "bench" / "__init__.py")


def noun(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")


def level(name: str) -> int:
    return next(i for i, names in enumerate(LEVELS) if name in names)


def imported(path: Path) -> set[str]:
    """The nouns of bench that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "bench":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bench."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("bench.")}
    return found


def test_every_module_has_its_level() -> None:
    assert {noun(path) for path in modules()} == set().union(*LEVELS)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    up = {name for name in imported(path) if level(name) > level(noun(path))}
    assert not up, f"{path.name} imports {up} from above"


def test_no_circle_between_nouns() -> None:
    graph: dict[str, set[str]] = {}
    for path in modules():
        graph.setdefault(noun(path), set()).update(imported(path) - {noun(path)})

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph.get(start, ()))
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        return seen

    assert not [name for name in graph if name in reach(name)]


def packages(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_only_the_worker_imports_torch() -> None:
    assert not [path.name for path in modules() if "torch" in packages(path) and noun(path) != "worker"]


def test_the_reference_layers_know_nothing_of_the_harness() -> None:
    assert not [path.name for path in (ROOT / "softmoe_ref").rglob("*.py") if "bench" in packages(path)]


def test_the_harness_reaches_the_layers_only_by_strings() -> None:
    assert not [path.name for path in modules() if "softmoe_ref" in packages(path)]


@pytest.mark.parametrize(
    "words",
    [["--help"], ["plan", "--grid", "quick"], ["list", "layers"], ["list", "metrics"], ["run", "--help"]],
    ids=" ".join,
)
def test_the_parent_never_imports_torch(words: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['softmoe-bench', *{words!r}]\n"
        "from bench.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'pandas', 'seaborn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_loads_next_to_nothing() -> None:
    """0.3 s is what `--help` may take; what decides it is what it imports, and that can be told exactly."""
    program = (
        "import sys\n"
        "import bench.cli\n"
        "heavy = {'torch', 'numpy', 'pandas', 'sqlalchemy', 'rich', 'scipy', 'multiprocessing'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_readable() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for folder in ("bench", "softmoe_ref")
        for p in (ROOT / folder).rglob("*.py")
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long
