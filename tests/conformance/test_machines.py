"""Every quote of every captured machine is appraised with a policy of its own list: it passes, and what was tampered with fails.

AVOW_MACHINES names a folder of more machines, with the files of tests/vectors/machines.
"""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machines
import pytest
import tampering
import tampering_boots  # noqa: F401  operators
import tampering_lists  # noqa: F401
import tampering_quotes  # noqa: F401
import tampering_states  # noqa: F401

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


# --- tampering

COUNTS: Counter = Counter()


def first_of_each(quotes: list[machines.Quote], key) -> list[machines.Quote]:
    out: dict = {}
    for q in sorted(quotes, key=lambda q: (not q.is_whole, -len(q.values))):
        out.setdefault(key(q), q)
    return list(out.values())


def is_first_of_its_boot(capture: machines.Capture) -> bool:
    return capture.name == min(c.name for c in CAPTURES if c.run == capture.run)


def chosen(capture: machines.Capture, kind: str) -> list[machines.Quote]:
    """What operators of a kind see differs by key, by bank or by what a firmware log can be compared with. Of the later
    captures of a boot, which have the same keys and log, one quote is enough for that."""
    quotes = [q for q in capture.quotes if q.selected]
    whole = [q for q in quotes if q.is_whole]
    if kind == "quote":
        found = first_of_each(quotes, lambda q: q.ak)
    elif kind == "values":
        found = first_of_each(quotes, lambda q: tuple(q.selected))
    elif kind == "list":
        found = first_of_each(quotes, lambda q: (q.is_whole, capture.is_padded(q), "sha256" in q.selected))
    elif kind == "boot":
        found = first_of_each(whole, lambda q: tuple(q.selected))
    else:
        return [max((q for q in whole if list(q.selected) == ["sha256"]), key=lambda q: q.attest.clock)]
    return found if is_first_of_its_boot(capture) else found[:1]


class Workshop:
    """Runs cases side by side: a process each, a folder each."""

    def __init__(self, avow, folder: Path):
        self.avow, self.folder, self.written = avow, folder, 0

    def policy(self, document: dict) -> Path:
        self.written += 1
        path = self.folder / f"policy-{self.written}.json"
        path.write_text(json.dumps(document))
        return path

    def state(self, case: machines.Case) -> Path:
        self.written += 1
        path = self.folder / f"state-{self.written}"
        done = self.avow.run(*case.arguments(self.folder), "--state-out", path)
        assert done.returncode == 0, done.stderr
        return path

    def run(self, cases: list[machines.Case]) -> list[tuple]:
        def one(numbered):
            folder = self.folder / f"case-{numbered[0]}"
            folder.mkdir()
            return appraise(self.avow, folder, numbered[1])

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, enumerate(cases)))


def good_case(capture: machines.Capture, quote: machines.Quote, policies: dict) -> machines.Case:
    case = machines.case_of(capture, quote, policy=policies[capture.name])
    return case.change(options=case.options + allowances(capture, quote))


def state_for(kind: str, capture: machines.Capture, policies: dict, workshop: Workshop) -> Path | None:
    """What the appraisal before left; by the policy of now."""
    before = capture
    if kind == "news":
        before = max((c for c in CAPTURES if c.run == capture.run and c.name < capture.name), key=lambda c: c.name, default=None)
    if kind not in ("replay", "news") or not before:
        return None
    now = good_case(capture, chosen(capture, kind)[0], policies)
    then = good_case(before, chosen(before, kind)[0], policies)
    return workshop.state(then.change(policy=now.policy, options=now.options))


def subjects(capture: machines.Capture, policies: dict, workshop: Workshop):
    for kind in ("quote", "values", "list", "boot", "replay", "news"):
        state = state_for(kind, capture, policies, workshop)
        for quote in chosen(capture, kind):
            case = good_case(capture, quote, policies)
            yield kind, tampering.Subject(capture, quote, case, state, CAPTURES, workshop.policy)


def make(kind: str, subject: tampering.Subject, name: str, change):
    """None if there is nothing to change."""
    try:
        case = change(subject)
    except tampering.DoesNotApply:
        COUNTS[f"does not apply: {name}"] += 1
        return None
    assert case != subject.case, f"{name} changes nothing of {subject.quote.name}"
    return f"{subject.quote.name}: {name}", case


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c.name)
def test_what_was_tampered_with_fails_by_its_finding(avow, policies, tmp_path, capture):
    workshop = Workshop(avow, tmp_path)
    made = []
    for kind, subject in subjects(capture, policies, workshop):
        for name, o in tampering.OPERATORS.items():
            if o.kind == kind and (case := make(kind, subject, name, o.change)):
                made.append((name, o, *case))
    wrong = []
    for (name, o, label, _), (verdict, ids, _) in zip(made, workshop.run([case for *_, case in made])):
        COUNTS["runs"] += 1
        COUNTS[name] += 1
        told = set(ids) <= o.found and bool(ids) if o.only else not o.found.isdisjoint(ids)
        if verdict != FAIL or not told:
            wrong.append(f"{label}: {verdict[1]}, {sorted(set(ids))} instead of {sorted(o.found)}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(made)}", *wrong])


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c.name)
def test_what_changes_nothing_passes(avow, policies, tmp_path, capture):
    workshop = Workshop(avow, tmp_path)
    made = []
    for kind, subject in subjects(capture, policies, workshop):
        for name, (its, change) in tampering.HARMLESS.items():
            if its == kind and (case := make(kind, subject, name, change)):
                made.append((name, *case))
    for (name, label, _), (verdict, ids, _) in zip(made, workshop.run([case for *_, case in made])):
        COUNTS["harmless runs"] += 1
        COUNTS[name] += 1
        assert (verdict, ids) == (PASS, []), label


def test_every_operator_was_applied(capsys):
    """The last test: every operator found something to change on one machine at least."""
    if COUNTS["runs"] == 0:
        pytest.skip("only together with the others")
    idle = [name for name in [*tampering.OPERATORS, *tampering.HARMLESS] if not COUNTS[name]]
    quotes = sum(len(c.quotes) for c in CAPTURES)
    with capsys.disabled():
        print(
            f"\n{len(CAPTURES)} captures, {quotes} quotes, {len(tampering.OPERATORS)} operators, {COUNTS['runs']} tampered runs, "
            f"{len(tampering.HARMLESS)} harmless changes in {COUNTS['harmless runs']} runs"
        )
    assert not idle
    assert len(tampering.OPERATORS) >= 25
