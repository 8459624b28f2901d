"""Policies of Keylime's vectors: what its code said about them, `avow policy` says too, but for the differences listed."""

import base64
import json
from collections import Counter

import pytest

# Every deliberate difference. Any other one fails.
# - boot_aggregate: Keylime asks every policy for it; here the quoted PCRs tell its value, unless a policy lists one.
# - a template hash that is not that of its entry: Keylime does not look at the file then. `avow policy test` proves no
#   list, and judges every file.

LOGS = {
    "MEASUREMENTS": "ima_measurements.txt",
    "SIGNATURES": "ima_signatures.txt",
    "COMBINED": "ima_combined.txt",
    "KEYRINGS": "ima_keyrings.txt",
    "BAD_SIGNATURES": "ima_bad_signatures.txt",
    "RUST826": "rust826_ascii_runtime_measurements",
}
POLICIES = {"empty": "empty_policy.json", "runtime-policy-test.json": "runtime-policy-test.json"}
REFUSALS = ("ima.validation.ima-ng.not_in_allowlist", "ima.validation.ima-ng.runtime_policy_hash")


def digest_rows(keylime_data) -> list[dict]:
    """The rows that only digests decide: a policy, and no keyring at all. Keylime's name for a hash that is none of the
    listed ones and for a path that is not listed are two events; both are refusals."""
    cases = json.loads((keylime_data / "vectors" / "ima_matrix.json").read_text())["cases"]
    return [c for c in cases if c["keyrings"] == "none" and c["policy"] != "none"]


def test_lists_are_judged_by_policies_as_in_keylime(avow, keylime_data):
    vectors, bad = keylime_data / "vectors", []
    rows = digest_rows(keylime_data)
    for row in rows:
        policy = vectors / POLICIES.get(row["policy"], row["policy"] + ".json")
        code, got = avow.json("policy", "test", policy, "--ima-log", vectors / LOGS[row["log"]])
        ours = got["refused_total"]
        theirs = sum(Counter(row["events"])[event] for event in REFUSALS)
        listed = json.loads(policy.read_text())
        first = (vectors / LOGS[row["log"]]).read_text().split("\n", 1)[0]
        excluded = "boot_aggregate" in listed["excludes"]
        if " boot_aggregate" in first and "boot_aggregate" not in listed["digests"] and not excluded:
            theirs -= 1
        counts_agree = ours >= theirs if "ima.validation.ima_hash" in row["events"] else ours == theirs
        if not counts_agree or (code, got["ok"]) != ((4, False) if ours else (0, True)):
            bad.append(f"{row['log']} by {row['policy']}: {ours} refused ({code}), Keylime {theirs} {set(row['events'])}")
    print(f"{len(rows)} vectors of Keylime's IMA matrix")
    assert not bad, "\n".join(bad)
    assert len(rows) > 10


@pytest.mark.parametrize(
    "name, code",
    [("runtime-policy-test-signed.json", 0), ("runtime-policy-test-signed-bad.json", 1), ("runtime-policy-test.json", 4)],
)
def test_envelopes_are_judged_as_in_keylime(avow, keylime_data, tmp_path, name, code):
    """Good: the document of the payload comes out. Bad signature, and none at all: refused, nothing comes out."""
    vectors, out = keylime_data / "vectors", tmp_path / "policy.json"
    done = avow.run("policy", "verify", vectors / name, "--key", vectors / "runtime-policy-pubkey.pub", "--out", out)
    assert done.returncode == code, done.stderr
    assert out.exists() == (code == 0)
    if code == 0:
        assert out.read_bytes() == base64.b64decode(json.loads((vectors / name).read_text())["payload"])
        assert json.loads(out.read_text()) == json.loads((vectors / "runtime-policy-test.json").read_text())


def test_envelope_of_other_content_or_signer_is_refused(avow, keylime_data, tmp_path):
    """One byte of the payload changed, and another key: the signature says nothing about either."""
    vectors = keylime_data / "vectors"
    key = vectors / "runtime-policy-pubkey.pub"
    envelope = json.loads((vectors / "runtime-policy-test-signed.json").read_text())
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[payload.index(b"856ce73f")] = ord("9")
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}))
    assert avow.run("policy", "verify", changed, "--key", key).returncode == 4
    other = vectors / "ima_keys" / "rsa2048pub.pem"
    genuine = vectors / "runtime-policy-test-signed.json"
    assert avow.run("policy", "verify", genuine, "--key", other).returncode == 4
    assert avow.run("policy", "verify", genuine, "--key", key).returncode == 0  # the control
