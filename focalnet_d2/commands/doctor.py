"""`focalnet-d2 doctor`: what is installed, what runs where, what falls back and why, and the fix for each."""

import argparse
import json
import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict

from focalnet_d2.diagnostics import datasets, installation, machine
from focalnet_d2.diagnostics.check import FAILS, FALLBACK, OK, Check, guarded
from focalnet_d2.diagnostics.installation import DISTRIBUTION
from focalnet_d2.version import __version__

GROUPS = (
    installation.check_python,
    installation.check_packages,
    installation.check_panopticapi,
    installation.check_detectron2,
    installation.check_compiled_detectron2,
    installation.check_registration,
    installation.check_recipes,
    installation.check_extras,
    machine.check_cpu,
    machine.check_threads,
    machine.check_cuda,
    machine.check_mps,
    machine.check_cpu_matmul,
    machine.check_implementations,
    machine.check_triton,
    datasets.check_datasets,
)


def run_checks() -> list[Check]:
    """All checks, in the order of the report."""
    return [check for group in GROUPS for check in guarded(group)]


def format_report(checks: Sequence[Check]) -> str:
    """Aligned text: status, name, detail; each fix below its check; a closing line with the counts."""
    width = max(len(check.name) for check in checks)
    lines = [f"{DISTRIBUTION} {__version__} on {platform.platform()}", ""]
    for check in checks:
        lines.append(f"{check.status:<{len(FALLBACK)}}  {check.name:<{width}}  {check.detail}")
        if check.fix:
            indent = " " * (len(FALLBACK) + width + 4)
            lines.append(f"{indent}fix: " + check.fix.replace("\n", f"\n{indent}"))
    counts = {status: sum(check.status == status for check in checks) for status in (OK, FALLBACK, FAILS)}
    verdict = "not usable until the failing checks are mended" if counts[FAILS] else "everything needed works"
    lines += ["", f"{counts[OK]} ok, {counts[FALLBACK]} fall back, {counts[FAILS]} fail: {verdict}"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 when everything needed works, else 1."""
    parser = argparse.ArgumentParser(prog=f"{DISTRIBUTION} doctor", description="Checks this installation.")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # what the packages under examination warn of would stand amid the report
    checks = run_checks()
    usable = all(check.status != FAILS for check in checks)
    if options.json:
        report = {"version": __version__, "usable": usable, "checks": [asdict(check) for check in checks]}
        print(json.dumps(report, indent=2))
    else:
        print(format_report(checks))
    return 0 if usable else 1


if __name__ == "__main__":
    sys.exit(main())
