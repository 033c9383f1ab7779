"""The command line: a group and one file per command; nothing heavy is imported before a command's body runs."""

from __future__ import annotations

import sys

import click

from bench import __version__
from bench.cli.baseline import baseline
from bench.cli.calibrate import calibrate
from bench.cli.claims import claims
from bench.cli.compare import compare
from bench.cli.doctor import doctor
from bench.cli.duel import duel
from bench.cli.export import export
from bench.cli.history import history
from bench.cli.import_ import import_files
from bench.cli.listing import list_things
from bench.cli.plan import plan
from bench.cli.report import report
from bench.cli.run import run
from bench.cli.selfcheck import selfcheck
from bench.cli.show import show
from bench.cli.spelling import adapt
from bench.cli.store import store
from bench.errors import BenchError, Exit
from bench.interrupts import first_only

EPILOG = (
    "Exit codes: 0 fine; 1 the answer is 'worse'; 2 bad input; 3 cases failed or are missing; 4 the runs are not"
    " comparable; 5 undecided (only where asked for); 130 interrupted."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, prog_name="softmoe-bench")
def group() -> None:
    """Measures Mixture-of-Experts layers on this device: soft and sparse, over experts, slots and batch sizes."""


for command in (
    run,
    plan,
    show,
    compare,
    duel,
    selfcheck,
    claims,
    baseline,
    report,
    history,
    export,
    import_files,
    store,
    list_things,
    doctor,
    calibrate,
):
    group.add_command(command)


def main() -> None:
    """Runs the command line and turns what can go wrong for a user into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        adapt(stream)
    try:
        with first_only():
            code = group(standalone_mode=False)
    except BenchError as error:
        _complain(str(error))
        code = error.exit_code
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = Exit.BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        code = Exit.INTERRUPTED
    except SystemExit:  # so click ends when the reader of our output has gone, as in `... | head`
        code = Exit.OK
    sys.exit(int(code or 0))


def _complain(text: str) -> None:
    """Writes one line for the user."""
    click.echo(f"softmoe-bench: {' '.join(text.split())}", err=True)


__all__ = ["group", "main"]
