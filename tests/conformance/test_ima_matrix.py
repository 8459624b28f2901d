"""Keylime's IMA matrix (6 lists, 8 policies, 3 sets of keys) through `avow ima`: verdicts, event ids, PCR 10, learned keyrings.

The vectors have two thirds of its rows, with what Keylime said; what it says about the others its own code is asked.
"""

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest

LISTS = {
    "MEASUREMENTS": "ima_measurements.txt",
    "SIGNATURES": "ima_signatures.txt",
    "COMBINED": "ima_combined.txt",
    "KEYRINGS": "ima_keyrings.txt",
    "BAD_SIGNATURES": "ima_bad_signatures.txt",
    "RUST826": "rust826_ascii_runtime_measurements",
}
POLICIES = {
    "none": None,
    "empty": "empty_policy.json",
    "runtime_policy_test": "runtime_policy_test.json",
    "runtime_policy_with_excludes": "runtime_policy_with_excludes.json",
    "runtime_policy_with_verification_keys": "runtime_policy_with_verification_keys.json",
    "runtime_policy_wrong": "runtime_policy_wrong.json",
    "runtime_policy_wrong_with_excludes": "runtime_policy_wrong_with_excludes.json",
    "runtime-policy-test.json": "runtime-policy-test.json",
}
KEYRINGS = ("none", "empty", "rsa2048pub+secp256k1")

UNKNOWN = "ima.validation.ima-ng.not_in_allowlist"
CHANGED = "ima.validation.ima-ng.runtime_policy_hash"
SIGNATURE = "ima.validator.ima-sig.invalid_signature"
HASH = "ima.validation.ima_hash"

# Every deliberate difference; docs/KEYLIME.md has them, with the reasons. Any other one fails, and so does one that no row shows.
DIFFERENCES = {
    "first entry": "a list that does not begin with boot_aggregate tells of no boot",
    "boot_aggregate": "it is no file: never signed, left to the quote, and pinned by a policy that lists it, even where it excludes it",
    "unsigned": "with keys and no policy every file must be signed, those of templates without signatures, too",
    "template hash": "an entry with a false template hash is judged all the same, and extended as it stands",
    "policy's keys": "verification-keys of the policy count, whoever calls",
    "secp256k1": "its signatures count for nothing: kernels do not make them",
    "learned": "keys that a policy lists are learned whether others are given or not, and no others",
}


@dataclass
class Row:
    log: str
    policy: str
    keyrings: str
    events: Counter
    pcr10: str
    learned: list[str]
    shown: set[str] = field(default_factory=set)  # differences

    @property
    def name(self) -> str:
        return f"{self.log} by {self.policy} with keyrings {self.keyrings}"


def keyring_file(vectors) -> str:
    """The two keys of the matrix, in Keylime's form: one policy has the same."""
    return json.loads((vectors / POLICIES["runtime_policy_with_verification_keys"]).read_text())["verification-keys"]


def recorded(vectors) -> list[Row]:
    cases = json.loads((vectors / "ima_matrix.json").read_text())["cases"]
    return [
        Row(c["log"], c["policy"], c["keyrings"], Counter(c["events"]), c["pcr10_sha256"], c["learned_keyrings"] or [])
        for c in cases
    ]


RUNS: dict[str, tuple[int, dict]] = {}  # by name of the row; two tests look at them


def run(avow, vectors, folder, row: Row) -> tuple[int, dict]:
    """A keyring without keys is how a policy of digests is judged anyway; without a policy it demands signatures."""
    if row.name in RUNS:
        return RUNS[row.name]
    options = []
    if row.policy != "none":
        options += ["--runtime-policy", vectors / POLICIES[row.policy]]
    elif row.keyrings == "empty":
        options += ["--check-signatures"]
    if row.keyrings == KEYRINGS[2]:
        keys = folder / "keyring"
        keys.write_text(keyring_file(vectors))
        options += ["--keyring", keys]
    RUNS[row.name] = avow.json("ima", vectors / LISTS[row.log], *options)
    return RUNS[row.name]


def take(row: Row, found: list[dict], name: str, wanted) -> list[dict]:
    """`found` without what the difference explains."""
    rest = [f for f in found if not wanted(f)]
    if len(rest) < len(found):
        row.shown.add(name)
    return rest


def explain(row: Row, policy: dict | None, first: str, found: list[dict]) -> tuple[Counter, list[dict]]:
    """What Keylime would have said with our rules, and what is left of ours."""
    theirs = Counter(row.events)
    counts = policy is not None and policy["verification-keys"] and row.keyrings != KEYRINGS[2]
    if " boot_aggregate" not in first:
        found = take(row, found, "first entry", lambda f: f["id"] == "ima.boot_aggregate_missing")
    elif policy and "boot_aggregate" not in policy["digests"] and "boot_aggregate" not in policy["excludes"]:
        theirs[UNKNOWN] -= 1  # ours says so, too: nothing was quoted that tells the value
        found = take(row, found, "boot_aggregate", lambda f: f["id"] == "ima.boot_aggregate")
    elif policy and "boot_aggregate" in policy["excludes"]:
        found = take(row, found, "boot_aggregate", lambda f: f["id"] == "ima.boot_aggregate")
    elif policy is None and row.keyrings != "none":
        row.shown.add("boot_aggregate")
        theirs[SIGNATURE] -= theirs[SIGNATURE] > 0
    if row.log == "RUST826" and policy is None and row.keyrings != "none":
        found = take(row, found, "unsigned", lambda f: f["id"] == "ima.signature_missing")
    if HASH in theirs:
        found = take(row, found, "template hash", lambda f: f["keylime_event_id"] != HASH)
    if counts and row.log in ("SIGNATURES", "COMBINED"):
        row.shown.add("policy's keys")
        theirs[UNKNOWN] -= 1  # /usr/bin/dd is signed by its RSA key
    if row.keyrings == KEYRINGS[2] and row.log in ("SIGNATURES", "COMBINED"):
        found = take(row, found, "secp256k1", lambda f: f["context"]["path"] == "/usr/bin/zmore")
    return +theirs, found


def differs(avow, vectors, folder, row: Row) -> str | None:
    """Says what differs although it should not."""
    code, got = run(avow, vectors, folder, row)
    name = POLICIES[row.policy]
    policy = json.loads((vectors / name).read_text()) if name else None
    first = (vectors / LISTS[row.log]).read_text().split("\n", 1)[0]
    theirs, found = explain(row, policy, first, got["findings"])
    removed = got["findings_total"] - len(found) if not found else len(got["findings"]) - len(found)
    ours, total = Counter(f["keylime_event_id"] for f in found), got["findings_total"] - removed
    learned = sorted(got["ima"]["keyrings_learned"])
    if learned != row.learned and (not learned if policy is None else row.keyrings == "none"):
        row.shown.add("learned")
        learned = row.learned
    if (code, got["verdict"]) != ((4, "fail") if got["findings_total"] else (0, "pass")):
        return f"{row.name}: exit code {code} and verdict {got['verdict']} of {got['findings_total']} findings"
    if set(ours) != set(theirs) or total != theirs.total():
        return f"{row.name}: {total} {dict(ours)}, Keylime {dict(theirs)} of {dict(row.events)}"
    if got["pcr10"]["sha256"] != row.pcr10 and HASH not in theirs:
        return f"{row.name}: PCR 10 {got['pcr10']['sha256']}, Keylime {row.pcr10}"
    return f"{row.name}: learned {learned}, Keylime {row.learned}" if learned != row.learned else None


def check(avow, vectors, folder, rows: list[Row], what: str) -> set[str]:
    bad = [text for row in rows if (text := differs(avow, vectors, folder, row))]
    verdicts = Counter("fail" if row.events else "pass" for row in rows)
    shown = Counter(name for row in rows for name in row.shown)
    print(f"{len(rows)} {what}: Keylime passes {verdicts['pass']}, fails {verdicts['fail']}; deliberate differences: {dict(shown)}")
    assert not bad, "\n".join(bad)
    return set(shown)


def test_the_recorded_rows(avow, keylime_data, tmp_path):
    rows = recorded(keylime_data / "vectors")
    shown = check(avow, keylime_data / "vectors", tmp_path, rows, "recorded rows of Keylime's IMA matrix")
    assert len(rows) >= 96
    assert shown == set(DIFFERENCES), "a difference that no row shows is none"


def test_all_144_rows_by_its_own_code(avow, keylime, keylime_data, tmp_path):
    vectors, rows = keylime_data / "vectors", []
    keys = {"none": None, "empty": "", KEYRINGS[2]: keyring_file(vectors)}
    told = {r.name: (r.events, r.pcr10, r.learned) for r in recorded(vectors)}
    for log, policy, keyrings in itertools.product(LISTS, POLICIES, KEYRINGS):
        document = json.loads((vectors / POLICIES[policy]).read_text()) if POLICIES[policy] else None
        lines = (vectors / LISTS[log]).read_text().split("\n")
        got = keylime.judge(lines, document, keys[keyrings])
        row = Row(log, policy, keyrings, Counter(got["events"]), got["pcr10"], got["learned"])
        assert told.get(row.name, (row.events, row.pcr10, row.learned)) == (row.events, row.pcr10, row.learned), row.name
        rows.append(row)
    check(avow, vectors, tmp_path, rows, "rows of the whole matrix, by Keylime itself")
    assert len(rows) == 144


@pytest.mark.parametrize("log", ["SIGNATURES", "COMBINED"])
def test_check_signatures_excuses_no_bad_signature(avow, keylime_data, log):
    """Keylime excuses it by a listed digest, and so do we, unless --check-signatures demands more."""
    vectors = keylime_data / "vectors"
    policy = vectors / POLICIES["runtime_policy_test"]
    _, got = avow.json("ima", vectors / LISTS[log], "--runtime-policy", policy, "--check-signatures")
    paths = {f["context"]["path"] for f in got["findings"] if f["keylime_event_id"] == SIGNATURE}
    assert paths == {"/usr/bin/dd", "/usr/bin/zmore"}
    assert not {f["keylime_event_id"] for f in got["findings"]} & {UNKNOWN, CHANGED}
    _, got = avow.json("ima", vectors / LISTS[log], "--runtime-policy", policy)
    assert not any(f["keylime_event_id"] for f in got["findings"])


def test_single_entries(avow, keylime, keylime_data, tmp_path):
    """Those that Keylime reads are read, with the template hash that they name; those that it refuses are no entries."""
    entries = json.loads((keylime_data / "vectors" / "ima_entries.json").read_text())
    line = tmp_path / "line"
    for name, text in entries["valid"].items():
        line.write_text(text + "\n")
        _, got = avow.json("ima", line)
        assert got["ima"]["entries_in_log"] == 1, name
        assert [f["id"] for f in got["findings"]] == ["ima.boot_aggregate_missing"], name
        assert got["pcr10"]["sha256"] == keylime.judge([text], None)["pcr10"], name
    for name, text in entries["invalid"].items():
        line.write_text(text + "\n")
        code, got = avow.json("ima", line)
        assert (code, keylime.judge([text], None)["events"]) == (4, ["ima.parser.entry"]), name
        events = {f["keylime_event_id"] for f in got["findings"]}
        wanted = {"ima.validation.no_validator"} if name == "invalid-mode" else {"ima.parser.entry"}
        assert events - {None} == wanted or events - {None} == {"ima.parser.entry"}, f"{name}: {got['findings']}"
    print(f"{len(entries['valid'])} entries that Keylime reads, {len(entries['invalid'])} that it does not")
    assert len(entries["valid"]) >= 6 and len(entries["invalid"]) >= 4


@pytest.mark.parametrize("name", ["rsa2048.pem", "secp256k1.pem"])
def test_private_keys_are_refused(avow, keylime_data, name):
    """Keylime reads them as verification keys; they do not belong there."""
    vectors = keylime_data / "vectors"
    done = avow.run("ima", vectors / LISTS["SIGNATURES"], "--verification-key", vectors / "ima_keys" / name)
    assert (done.returncode, done.stdout) == (1, "") and name in done.stderr
