"""`softmoe-bench doctor`: what machine this is, what can be measured on it, what cannot and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.options import json_option, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bench.measurable import Finding


@click.command()
@store_option
@json_option
def doctor(store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """Say what machine this is, what can be measured on it, and what cannot and why."""
    from dataclasses import asdict  # noqa: PLC0415

    from bench import environment, executors, layers, units  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.errors import WorkerError  # noqa: PLC0415
    from bench.measurable import Finding, measurable  # noqa: PLC0415
    from bench.run import comparable_facts  # noqa: PLC0415

    facts = dict(environment.comparable_facts())
    with executors.make("isolated") as executor:
        try:
            probe = executor.probe([])
            facts = comparable_facts(probe)
            worker = Finding("worker process", ok=True, detail=f"starts; devices: {', '.join(probe.devices)}")
        except WorkerError as error:
            worker = Finding("worker process", ok=False, detail=str(error), hint="reinstall torch")
    packages = [layer.package for layer in layers.TABLE.values() if layer.package]
    missing = [package.name for package in packages if not package.installed]
    others = Finding(
        "layers of other packages",
        ok=not missing,
        detail=f"not installed: {', '.join(missing)}" if missing else "all packages are installed",
        hint="pip install 'softmoe-bench[peers]'",
    )
    findings = [worker, *measurable(), _ceilings(store, facts), others]
    versions = environment.package_versions([*environment.PACKAGES, *(package.name for package in packages)])
    if as_json:
        answer.write({"machine": facts, "packages": versions, "findings": [asdict(f) for f in findings]})
        return
    click.echo("This machine")
    for name, value in facts.items():
        shown = "unknown" if value is None else str(value)
        if name.endswith("_bytes") and isinstance(value, int):
            shown = units.format_value(value, "B")
        click.echo(f"  {name:<24} {shown}")
    click.echo("Packages")
    click.echo("  " + ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    click.echo("What can be measured")
    for finding in findings:
        click.echo(f"  {'yes ' if finding.ok else 'NO  '} {finding.name}: {finding.detail}")
        if finding.hint and not finding.ok:
            click.echo(f"       what to do: {finding.hint}")


def _ceilings(where: str | None, facts: Mapping[str, Any]) -> Finding:
    """Returns whether the store in use knows what this machine reaches at best."""
    from bench.errors import StoreError  # noqa: PLC0415
    from bench.measurable import Finding  # noqa: PLC0415
    from bench.records import Environment  # noqa: PLC0415
    from bench.store import ceilings_in  # noqa: PLC0415

    try:
        found = ceilings_in(where, Environment(facts).fingerprint)
    except StoreError as error:
        return Finding("ceilings", ok=False, detail=str(error), hint="softmoe-bench calibrate")
    devices = ", ".join(dict.fromkeys(ceiling.device for ceiling in found))
    detail = f"measured for {devices}" if found else "this machine was not calibrated, so no figure is held against it"
    return Finding("ceilings", ok=bool(found), detail=detail, hint="softmoe-bench calibrate")
