"""Every quote of every captured machine is appraised with a policy of its own list: it passes, and what was tampered with fails.

AVOW_MACHINES names a folder of more machines, with the files of tests/vectors/machines.
"""

import os
from pathlib import Path

import machines
import pytest

FOLDERS = [machines.HOME] + [Path(p) for p in [os.environ.get("AVOW_MACHINES")] if p]
CAPTURES = [c for folder in FOLDERS for c in machines.captures(folder)]
PASS, FAIL = (0, "pass"), (4, "fail")


@pytest.fixture(scope="session")
def policies(avow, tmp_path_factory) -> dict:
    """By the name of the capture: what its own list has, and nothing else."""
    folder = tmp_path_factory.mktemp("policies")
    out = {}
    for c in CAPTURES:
        log, out[c.name] = folder / f"{c.name}.list", folder / f"{c.name}.json"
        log.write_bytes(c.ima)
        made = avow.run("policy", "create", "runtime", "--ima-log", log, "--keyrings", "--ima-buf", "--out", out[c.name])
        assert made.returncode == 0, made.stderr
    return out


def appraise(avow, folder: Path, case: machines.Case) -> tuple[tuple[int, str], list[str], dict]:
    code, got = avow.json(*case.arguments(folder))
    return (code, got["verdict"]), [f["id"] for f in got["findings"]], got


def allowances(capture: machines.Capture, quote: machines.Quote) -> tuple[str, ...]:
    """What this machine needs that is not accepted by itself."""
    out: tuple[str, ...] = ()
    if quote.selected and capture.is_padded(quote):
        out += ("--allow-padded",)
    if any(e.violation for e in capture.entries):
        out += ("--allow-violations",)
    return out


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c.name)
def test_every_quote_passes_with_a_policy_of_its_own_list(avow, policies, tmp_path, capture):
    for quote in capture.quotes:
        allowed = allowances(capture, quote)
        case = machines.case_of(capture, quote, policy=policies[capture.name])
        verdict, ids, got = appraise(avow, tmp_path, case.change(options=case.options + allowed))
        if not quote.selected:
            assert (verdict, ids) == (FAIL, ["quote.selection"]), f"{quote.name}: a quote of nothing"
            continue
        assert (verdict, ids) == (PASS, []), quote.name
        assert got["ima"]["entries_covered"] == capture.covered(quote), quote.name
        verdict, ids, _ = appraise(avow, tmp_path, case)
        want = {"--allow-padded": "ima.bank_padded", "--allow-violations": "ima.violation"}
        assert (verdict, set(ids)) == (FAIL if allowed else PASS, {want[a] for a in allowed}), quote.name


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c.name)
def test_quotes_pass_without_the_file_of_values(avow, policies, tmp_path, capture):
    """What was quoted follows from the logs, or the verdict is not good."""
    for quote in capture.quotes:
        if not quote.selected:
            continue
        case = machines.case_of(capture, quote, policy=policies[capture.name], pcrs=None)
        case = case.change(options=case.options + allowances(capture, quote))
        assert appraise(avow, tmp_path, case)[:2] == (PASS, []), quote.name
