"""`avow appraise`, `avow ima` and `avow quote` as people and scripts use them: every option, file form, member and exit code."""

import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import imalog
import machines
import pytest
import tpmbytes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from avowtest import records  # noqa: E402

CAPTURES = {c.name: c for c in machines.captures(machines.HOME)}
FIRST, SECOND = CAPTURES["m1-direct-r1-c1"], CAPTURES["m1-direct-r1-c2"]  # of one boot
ALL, SOME = "q_ak_rsa_sha256_all", "q_ak_rsa_sha256_0-15"
FLEET, MARKER = bytes(range(16)), bytes(range(32))


def quote(capture: machines.Capture, name: str) -> machines.Quote:
    return next(q for q in capture.quotes if q.name == name)


def case(name: str = ALL, capture: machines.Capture = FIRST, **more) -> machines.Case:
    made = machines.case_of(capture, quote(capture, name))
    return made.change(options=()).change(**more)


@pytest.fixture
def appraise(avow, tmp_path):
    def run(c: machines.Case, *options) -> tuple[int, list[str], dict]:
        code, got = avow.json(*c.arguments(tmp_path), *options)
        assert (code, got["verdict"]) == ((4, "fail") if got["findings_total"] else (0, "pass"))
        return code, [f["id"] for f in got["findings"]], got

    return run


@pytest.fixture
def ima(avow, tmp_path):
    def run(data: bytes, *options) -> tuple[list[str], dict]:
        (tmp_path / "list").write_bytes(data)
        code, got = avow.json("ima", tmp_path / "list", *options)
        assert (code, got["verdict"]) == ((4, "fail") if got["findings_total"] else (0, "pass"))
        return [f["id"] for f in got["findings"]], got

    return run


def usage(avow, *args) -> str:
    done = avow.run(*args)
    assert (done.returncode, done.stdout) == (2, ""), f"{args}: {done.stderr}"
    return done.stderr


# --- JSON


def test_members_of_an_appraisal(appraise):
    _, _, got = appraise(case())
    assert list(got) == ["verdict", "findings", "findings_total", "quote", "pcrs", "ima", "boot"]
    assert list(got["quote"]) == [
        "signer", "hash", "selections", "clock", "reset_count", "restart_count", "safe", "firmware_version",
    ]  # fmt: skip
    attest = quote(FIRST, ALL).attest
    assert got["quote"]["selections"] == [{"bank": "sha256", "pcrs": list(range(24))}]
    assert (got["quote"]["signer"], got["quote"]["hash"], got["quote"]["clock"]) == ("rsassa", "sha256", attest.clock)
    assert got["pcrs"] == {"sha256": {str(i): v.hex() for i, v in enumerate(quote(FIRST, ALL).values)}}
    wanted = {"entries_in_log": 143, "entries_covered": 143, "violations": 0, "keyrings_learned": {}}
    assert wanted.items() <= got["ima"].items()
    assert got["ima"]["boot_aggregate"] == FIRST.entries[0].digest.hex()
    boot = got["boot"]
    assert boot["events"] == len(FIRST.events.events) + 1, "with the header"
    assert set(boot["boot_aggregate"]["sha256"]) >= {FIRST.entries[0].digest.hex()}
    assert boot["replayed"]["sha256"]["0"] == quote(FIRST, ALL).value("sha256", 0).hex()


def test_members_of_a_finding(appraise, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(imalog.policy_of(FIRST.entries[:100])))
    _, ids, got = appraise(case(policy=policy))
    assert set(ids) == {"ima.digest_unknown"} and len(ids) == got["findings_total"] == 43
    for i, f in enumerate(got["findings"]):
        assert list(f) == ["id", "severity", "keylime_event_id", "message", "context"]
        assert f["severity"] == "critical" and f["keylime_event_id"] == "ima.validation.ima-ng.not_in_allowlist"
        assert f["context"] == {"entry": 100 + i, "path": FIRST.entries[100 + i].path}


def test_keylime_tells_a_changed_digest_from_an_unknown_path(avow, tmp_path):
    """Of files, keys of a keyring, buffers, and of boot_aggregate."""
    data = b"some data of the kernel"
    entries = [
        FIRST.entries[0],
        imalog.new_entry("ima-ng", b"/bin/a", bytes(range(32))),
        imalog.new_entry("ima-buf", b"kernel_version", tpmbytes.digest("sha256", data), last=[data]),
    ]
    policy, listed = tmp_path / "policy.json", tmp_path / "list"
    listed.write_bytes(imalog.encode(entries))
    made = imalog.policy_of([])
    for where, event in ((["/bin/a", "kernel_version", "boot_aggregate"], "runtime_policy_hash"), (["/other"], "not_in_allowlist")):
        other = {name: ["ab" * 32] for name in where}
        policy.write_text(json.dumps(made | {"digests": other, "ima-buf": other}))
        _, got = avow.json("ima", listed, "--runtime-policy", policy)
        assert [f["id"] for f in got["findings"]] == ["ima.boot_aggregate", "ima.digest_unknown", "ima.buffer_unknown"]
        assert {f["keylime_event_id"] for f in got["findings"]} == {f"ima.validation.ima-ng.{event}"}


def test_at_most_100_findings_are_listed_and_all_counted(appraise, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(imalog.policy_of([])))
    _, ids, got = appraise(case(policy=policy))
    assert (len(ids), got["findings_total"]) == (100, 142)
    assert [f["context"]["entry"] for f in got["findings"]] == list(range(1, 101)), "in order of discovery"


def test_members_of_a_list_and_of_a_quote(avow, ima, tmp_path):
    _, got = ima(FIRST.ima)
    assert list(got) == ["verdict", "findings", "findings_total", "ima", "pcr10"]
    assert got["pcr10"] == {b: imalog.replay(FIRST.entries, b).hex() for b in ("sha1", "sha256", "sha384", "sha512")}
    q = quote(FIRST, ALL)
    code, got = avow.json("quote", f"{q.files}.msg")
    assert (code, got["verdict"], got["verified"]) == (0, None, False), "nothing was asked, nothing was proven"
    assert got["quote"]["signer"] is None and got["quote"]["extra_data"] == q.nonce


# --- Files


@pytest.mark.parametrize("option", ["--attest", "--signature", "--ak", "--pcrs", "--ima-log", "--uefi-log", "--runtime-policy"])
def test_a_dash_is_standard_input(avow, tmp_path, option):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(imalog.policy_of(FIRST.entries)))
    args = case(policy=policy).arguments(tmp_path)
    at = args.index(option) + 1
    content = Path(args[at]).read_bytes()
    want = avow.run(*args, "--json")
    args[at] = "-"
    done = subprocess.run([avow.program, *args, "--json"], input=content, capture_output=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)) == (want.returncode, json.loads(want.stdout))
    assert done.returncode == 0


def test_standard_input_can_be_read_once(avow, tmp_path):
    args = case().arguments(tmp_path)
    args[args.index("--ima-log") + 1] = args[args.index("--uefi-log") + 1] = "-"
    assert "once" in usage(avow, *args)


def test_a_dash_of_the_other_commands(avow):
    q = quote(FIRST, ALL)
    for command, content in (("ima", FIRST.ima), ("quote", q.read("msg"))):
        done = subprocess.run([avow.program, command, "-", "--json"], input=content, capture_output=True, timeout=60)
        assert done.returncode == 0 and json.loads(done.stdout)["findings"] == []


def test_lists_are_told_apart_by_content(appraise, ima):
    text = "".join(imalog.ascii_line(e) + "\n" for e in FIRST.entries).encode()
    assert not any(" " in e.path for e in FIRST.entries)
    _, ids, got = appraise(case(ima=text))
    assert ids == [] and got["ima"]["form"] == "ascii" and got["ima"]["entries_covered"] == 143
    assert ima(text)[1]["pcr10"] == ima(FIRST.ima)[1]["pcr10"]


def test_values_are_told_apart_by_content(appraise):
    """A file of tpm2-tools, digests in the order of the selection, and a bank of which some were quoted."""
    some, whole = quote(FIRST, SOME), quote(FIRST, ALL)
    assert some.values[:10] == whole.values[:10], "between the two quotes nothing happened to them"
    for values in (some.read("pcrs"), b"".join(some.values), b"".join([*some.values, *whole.values[16:]])):
        _, ids, got = appraise(case(SOME, pcrs=values))
        assert ids == [] and got["pcrs"] == {"sha256": {str(i): v.hex() for i, v in enumerate(some.values)}}
    two = quote(FIRST, "q_ak_rsa_sha1+sha256_0-15")
    _, ids, got = appraise(case(two.name, pcrs=b"".join(two.values)))
    assert ids == [] and set(got["pcrs"]) == {"sha1", "sha256"}
    for bad in (b"".join(some.values[:-1]), b"".join(some.values) + bytes(32), b"".join(some.values)[:-1], b""):
        assert appraise(case(SOME, pcrs=bad))[1] == ["quote.pcr_digest"]


def pem_of(public: bytes) -> bytes:
    """Of TPM2B_PUBLIC with an RSA key of 2048 bits."""
    n = int.from_bytes(public[-256:], "big")
    return rsa.RSAPublicNumbers(65537, n).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip


def test_keys_are_told_apart_by_content(appraise, avow, tmp_path):
    public = FIRST.ak("ak_rsa")
    for ak in (public, public[2:], pem_of(public)):
        assert appraise(case(ak=ak))[1] == []
    assert appraise(case(ak=FIRST.ak("ak_ecc")))[1][0] in ("quote.algorithm", "quote.signature")
    assert appraise(case(ak=pem_of(tpmbytes.Signer("rsa").public())))[1] == ["quote.signature"]
    assert appraise(case(ak=b"nothing"))[1][0] == "quote.ak"


FILES = ["--attest", "--signature", "--ak", "--pcrs", "--ima-log", "--uefi-log"]
OURS = ["--runtime-policy", "--boot-policy", "--refstate", "--verification-key", "--severity", "--state-in"]


@pytest.mark.parametrize("option", FILES + OURS)
@pytest.mark.parametrize("path", ["missing", "."])
def test_what_cannot_be_read_is_no_finding(avow, tmp_path, option, path):
    args = case().arguments(tmp_path)
    where = tmp_path / path
    if option in args:
        args[args.index(option) + 1] = str(where)
    else:
        args += [option, str(where)]
    done = avow.run(*args, "--json")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert str(where) in done.stderr


@pytest.mark.parametrize("option", OURS)
def test_our_own_files_must_be_sound(avow, tmp_path, option):
    bad = tmp_path / "bad"
    bad.write_bytes(b"\0nonsense")
    done = avow.run(*case().arguments(tmp_path), option, bad, "--json")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert str(bad) in done.stderr


HOSTILE = {
    "attest": {"quote.malformed"},
    "signature": {"quote.malformed"},
    "ak": {"quote.ak"},
    "pcrs": {"quote.pcr_digest"},
    "ima": {"ima.log_malformed", "ima.pcr_mismatch", "ima.boot_aggregate_missing"},
    "boot": {"boot.log_malformed", "boot.log_too_large"},
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 4096, b"not what it should be\n", bytes(70000)], ids=len)
def test_a_hostile_file_is_a_finding(appraise, name, content):
    code, ids, _ = appraise(case().change(**{name: content}))
    assert code == 4 and set(ids) & HOSTILE[name], ids


def test_a_firmware_log_of_too_many_bytes_is_a_finding(appraise):
    code, ids, _ = appraise(case(boot=bytes(64 * 1024 * 1024)))
    assert code == 4 and set(ids) & HOSTILE["boot"]


# --- What is demanded


def test_nonce(appraise, avow, tmp_path):
    q = quote(FIRST, ALL)
    assert appraise(case(nonce="0x" + q.nonce.upper()))[1] == []
    for other in ("00", q.nonce[:-2], q.nonce + "00"):
        assert appraise(case(nonce=other))[1] == ["quote.nonce_mismatch"]
    for bad in ("", "0x", "0", "xy", "00" * 67):
        usage(avow, *case(nonce=bad).arguments(tmp_path))
    args = case().arguments(tmp_path)
    at = args.index("--nonce")
    assert "--nonce" in usage(avow, *args[:at], *args[at + 2 :])


def test_selection(appraise, avow, tmp_path):
    assert appraise(case(), "--selection", "avow")[1] == []
    assert appraise(case(SOME))[1] == appraise(case(SOME), "--selection", "any")[1] == []
    assert appraise(case(SOME), "--selection", "avow")[1] == ["quote.selection"]
    two = case("q_ak_rsa_sha1+sha256_0-15")
    assert "quote.selection" in appraise(two, "--selection", "avow")[1]
    usage(avow, *case().arguments(tmp_path), "--selection", "all")


def test_only_what_the_demands_need_must_be_quoted(appraise, tmp_path):
    """PCR 10 for a list, those of a TPM policy, and nothing else."""
    ten = case("q_ak_rsa_sha256_10", boot=None)
    assert appraise(ten)[1] == []
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"0": quote(FIRST, ALL).value("sha256", 0).hex()}))
    assert appraise(case(), "--tpm-policy", policy)[1] == []
    assert "quote.selection" in appraise(ten, "--tpm-policy", policy)[1]


def test_required_pcrs(appraise, avow, tmp_path):
    for fits in ("0-7,14", "15", "0,1,2"):
        assert appraise(case(SOME), "--require-pcrs", fits)[1] == []
    for missing in ("16", "0-16", "23"):
        assert appraise(case(SOME), "--require-pcrs", missing)[1] == ["quote.selection"]
    for bad in ("24", "x", "7-0", "", "0-", "-7", "1,,2", "0-99999999999"):
        usage(avow, *case(SOME).arguments(tmp_path), "--require-pcrs", bad)


def test_tpm_policy(appraise, avow, tmp_path):
    value, other = quote(FIRST, ALL).value("sha256", 7).hex(), "ab" * 32
    assert appraise(case(), "--tpm-policy", json.dumps({"7": value}))[1] == []
    assert appraise(case(), "--tpm-policy", json.dumps({"7": [other, value], "mask": "0x80"}))[1] == []
    _, ids, got = appraise(case(), "--tpm-policy", json.dumps({"7": other}))
    assert ids == ["pcr.mismatch"] and got["findings"][0]["context"]["pcr"] == 7
    assert got["findings"][0]["keylime_event_id"] == "pcr_validation.invalid_pcr_7"
    ten = quote(FIRST, ALL).value("sha256", 10).hex()
    assert appraise(case(), "--tpm-policy", json.dumps({"10": ten}))[1] == []
    assert appraise(case(), "--tpm-policy", json.dumps({"10": other}))[1] == ["pcr.mismatch"]
    for bad in ("{", '{"7": "00"}', '{"24": "%s"}' % value, '{"7": []}'):
        done = avow.run(*case().arguments(tmp_path), "--tpm-policy", bad)
        assert (done.returncode in (1, 2), done.stdout) == (True, ""), bad


def test_accepted_algorithms(appraise, avow, tmp_path):
    assert appraise(case(), "--accept-signing", "ecdsa,rsassa")[1] == []
    assert "quote.algorithm" in appraise(case(), "--accept-signing", "ecdsa,rsapss")[1]
    assert "quote.algorithm" in appraise(case("q_ak_pss_sha256_0-15"), "--accept-signing", "ecdsa,rsassa")[1]
    assert appraise(case("q_ak_pss_sha256_0-15"), "--accept-signing", "rsapss")[1] == []
    assert appraise(case("q_ak_ecc_sha256_10", boot=None), "--accept-signing", "ecdsa")[1] == []
    assert "quote.bank" in appraise(case(), "--accept-hash", "sha384,sha512")[1]
    sha1 = case("q_ak_ecc_sha1_10", boot=None)
    assert "quote.bank" in appraise(sha1)[1]
    assert appraise(sha1, "--accept-hash", "sha1,sha256")[1] == []
    for option in ("--accept-signing", "--accept-hash"):
        for bad in ("", "md5", "sha256,", "sha256,sha256", "ecdsa,ecdsa", "sha256;sha1"):
            usage(avow, *case().arguments(tmp_path), option, bad)


def of_a_fleet(name: str = ALL, **changes) -> tuple[machines.Case, bytes]:
    """The quote as an agent of a fleet would have signed it, and the body."""
    q, signer = quote(FIRST, name), tpmbytes.Signer("p256")
    static = [{"index": i, "value": v} for i, v in enumerate(q.values) if i != 10]
    fields = {
        "version": 1, "epoch": 7, "marker_tag": hashlib.sha256(MARKER).digest()[:8], "agent_version": "test",
        "boot_id": bytes(16), "bank": "sha256", "ima_state": "present", "ima_start": 0, "ima_count": 143,
        "log_trimmed": False, "pcrs": static, "pcr_static": hashlib.sha256(b"".join(s["value"] for s in static)).digest(),
        "boot_log": hashlib.sha256(FIRST.boot).digest(), "payload_request": None, "more": False, "parts": 0, "link": None,
    }  # fmt: skip
    body = records.encode("body", fields | changes)
    attest = q.attest.change(extra=records.qualifying_data(FLEET, "host-1", MARKER, body)).encode()
    return case(attest=attest, signature=signer.sign(attest), ak=signer.public()), body


def fleet_arguments(made: machines.Case, body: bytes, folder: Path, **changes) -> list[str]:
    (folder / "body").write_bytes(body)
    args = made.arguments(folder)
    at = args.index("--nonce")
    said = {"agent-id": "host-1", "fleet": FLEET.hex(), "body": folder / "body", "marker-nonce": MARKER.hex()} | changes
    return args[:at] + args[at + 2 :] + [str(a) for k, v in said.items() for a in (f"--{k}", v)]


def test_what_an_agent_of_a_fleet_signs(avow, tmp_path):
    made, body = of_a_fleet()
    code, got = avow.json(*fleet_arguments(made, body, tmp_path))
    assert (code, got["findings"]) == (0, [])
    code, got = avow.json(*fleet_arguments(made.change(pcrs=None, boot=None), body, tmp_path), "--selection", "avow")
    assert (code, got["findings"]) == (0, []), "the values are in the body"
    for name, other in (("agent-id", "host-2"), ("fleet", bytes(16).hex()), ("marker-nonce", bytes(32).hex())):
        code, got = avow.json(*fleet_arguments(made, body, tmp_path, **{name: other}))
        assert (code, [f["id"] for f in got["findings"]]) == (4, ["quote.nonce_mismatch"]), name
    code, got = avow.json(*fleet_arguments(made, body[:-1] + bytes([body[-1] ^ 1]), tmp_path))
    assert code == 4 and "quote.nonce_mismatch" in [f["id"] for f in got["findings"]]


def test_a_body_that_says_something_else(avow, tmp_path):
    for body_changes, other in (({"boot_log": bytes(32)}, None), ({}, b"nothing")):
        made, body = of_a_fleet(**body_changes)
        code, got = avow.json(*fleet_arguments(made, other or body, tmp_path))
        assert code == 4 and "evidence.malformed" in [f["id"] for f in got["findings"]]


def test_options_of_a_fleet_belong_together(avow, tmp_path):
    made, body = of_a_fleet()
    whole = fleet_arguments(made, body, tmp_path)
    for option in ("--agent-id", "--fleet", "--body", "--marker-nonce"):
        at = whole.index(option)
        usage(avow, *whole[:at], *whole[at + 2 :])
    usage(avow, *whole, "--nonce", "00")
    for name, bad in (("fleet", "00"), ("marker-nonce", "00"), ("agent-id", "/x"), ("agent-id", "")):
        usage(avow, *fleet_arguments(made, body, tmp_path, **{name: bad}))


def test_padded_banks_and_violations(appraise, ima):
    c = CAPTURES["m2-grub-sb-r0-fallback-c1"]
    padded = next(q for q in c.quotes if q.selected and c.is_padded(q))
    made = machines.case_of(c, padded)
    assert "ima.bank_padded" in appraise(made)[1]
    assert appraise(made, "--allow-padded")[1] == []
    value = imalog.replay(c.entries, "sha384", padded=True).hex()
    assert ima(c.ima, "--pcr10", value)[0] == ["ima.bank_padded"]
    assert ima(c.ima, "--pcr10", value, "--allow-padded")[0] == []
    violated = next(c for c in CAPTURES.values() if any(e.violation for e in c.entries))
    policy = ["--check-signatures"]
    assert "ima.violation" in ima(violated.ima, *policy)[0]
    assert "ima.violation" not in ima(violated.ima, *policy, "--allow-violations")[0]


def test_severity(appraise, avow, tmp_path):
    rules = tmp_path / "severity.json"
    rules.write_text(json.dumps([{"event_id": "quote\\.nonce.*", "severity_label": "notice"}]))
    _, _, got = appraise(case(nonce="00"), "--severity", rules)
    assert got["findings"][0]["severity"] == "notice"


# --- From one call to the next


def tail(capture: machines.Capture, first: int) -> bytes:
    return imalog.encode(capture.entries[first:])


def test_a_state_continues_the_list(appraise, tmp_path):
    one, two, three = (tmp_path / f"state-{i}" for i in range(3))
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(imalog.policy_of(SECOND.entries)))
    _, ids, got = appraise(case(policy=policy), "--state-out", one)
    assert ids == [] and got["ima"]["entries_covered"] == 143
    later = case(capture=SECOND, policy=policy)
    _, ids, got = appraise(later.change(ima=tail(SECOND, 143)), "--state-in", one, "--state-out", two)
    assert ids == [] and (got["ima"]["first"], got["ima"]["entries_in_log"]) == (143, 13)
    assert appraise(later.change(ima=tail(SECOND, 143)))[0] == 4, "a tail alone proves nothing"
    _, ids, got = appraise(later, "--state-in", one, "--state-out", three)
    assert ids == [] and (got["ima"]["first"], got["ima"]["entries_in_log"]) == (0, 156), "the whole list is taken, too"
    assert appraise(later.change(ima=tail(SECOND, 144)), "--state-in", one)[0] == 4, "one entry is missing"
    for state in (two, three):
        assert appraise(case(policy=policy), "--state-in", state)[1] == ["tpm.counters_regressed"]


def test_a_state_remembers_the_clock(appraise, tmp_path):
    """An older quote of the same boot after a newer one."""
    state = tmp_path / "state"
    assert appraise(case(capture=SECOND), "--state-out", state)[1] == []
    assert appraise(case(), "--state-in", state)[1] == ["tpm.counters_regressed"]


def test_a_state_is_of_its_demands_and_its_agent(avow, appraise, tmp_path):
    state, policy = tmp_path / "state", tmp_path / "policy.json"
    assert appraise(case(), "--state-out", state)[1] == []
    policy.write_text(json.dumps(imalog.policy_of(SECOND.entries)))
    made = case(capture=SECOND, ima=tail(SECOND, 143), policy=policy)
    done = avow.run(*made.arguments(tmp_path), "--state-in", state)
    assert (done.returncode, done.stdout) == (1, "") and "whole list" in done.stderr
    assert appraise(made.change(ima=SECOND.ima), "--state-in", state)[1] == []
    of_fleet, body = of_a_fleet()
    done = avow.run(*fleet_arguments(of_fleet, body, tmp_path), "--state-in", state)
    assert (done.returncode, done.stdout) == (1, "") and "another agent" in done.stderr
    done = avow.run(*case().arguments(tmp_path), "--state-out", tmp_path / "no" / "folder")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_state_keeps_learned_keys(appraise, tmp_path):
    before, later = CAPTURES["m6-buf-r1-c2"], CAPTURES["m6-buf-r1-c3"]
    state, policy = tmp_path / "state", tmp_path / "policy.json"
    policy.write_text(json.dumps(imalog.policy_of(later.entries)))
    name = next(q.name for q in later.quotes if q.is_whole and list(q.selected) == ["sha256"])
    made = case(name, capture=before, policy=policy)
    _, ids, got = appraise(made, "--allow-violations", "--state-out", state)
    learned = got["ima"]["keyrings_learned"]
    assert ids == [] and learned and all(len(k) == 8 for keys in learned.values() for k in keys)
    made = case(name, capture=later, policy=policy, ima=tail(later, len(before.entries)))
    _, ids, got = appraise(made, "--allow-violations", "--state-in", state)
    assert ids == [] and got["ima"]["keyrings_learned"] == learned


# --- Lists alone


def test_a_list_leads_to_the_value(avow, ima, tmp_path):
    for bank in ("sha1", "sha256", "sha384", "sha512"):
        value = imalog.replay(FIRST.entries[:50], bank).hex()
        for options in (["--pcr10", value], ["--pcr10", value, "--bank", bank]):
            ids, got = ima(FIRST.ima, *options)
            assert ids == [] and got["ima"]["entries_covered"] == 50
            assert got["pcr10"] == {b: imalog.replay(FIRST.entries[:50], b).hex() for b in got["pcr10"]}
    ids, got = ima(FIRST.ima, "--pcr10", "ab" * 32)
    assert ids == ["ima.pcr_mismatch"] and got["findings"][0]["keylime_event_id"] == "ima.pcr_mismatch"
    assert got["pcr10"]["sha256"] == imalog.replay(FIRST.entries, "sha256").hex(), "over all of them"
    for bad in (["--pcr10", "ab"], ["--pcr10", "ab" * 32, "--bank", "sha1"], ["--bank", "md5"], ["--pcr10", ""]):
        usage(avow, "ima", tmp_path / "list", *bad)


def test_boot_aggregates_that_are_given(avow, ima, tmp_path):
    good = FIRST.entries[0].digest.hex()
    assert ima(FIRST.ima, "--boot-aggregate", good)[0] == []
    assert ima(FIRST.ima, "--boot-aggregate", "ab" * 32, "--boot-aggregate", good)[0] == []
    assert ima(FIRST.ima, "--boot-aggregate", "ab" * 32)[0] == ["ima.boot_aggregate"]
    usage(avow, "ima", tmp_path / "list", "--boot-aggregate", "xy")
    usage(avow, "ima", tmp_path / "list", "--boot-aggregate", "")


def test_lists_that_are_none(avow, ima):
    assert ima(b"")[1]["ima"]["entries_in_log"] == 0
    assert ima(b"not a list\n")[0] == ["ima.log_malformed"]
    assert "ima.log_malformed" in ima(FIRST.ima[:-1])[0]
    assert ima(struct.pack("<I", 10) + bytes(20) + struct.pack("<I", 0x7FFFFFFF))[0]
    usage(avow, "ima")
    usage(avow, "ima", "a", "b")


# --- Quotes alone


def test_quotes_alone(avow, tmp_path):
    q = quote(FIRST, ALL)
    key = tmp_path / "ak"
    key.write_bytes(FIRST.ak(q.ak))
    proof = ["--signature", f"{q.files}.sig", "--ak", key]
    code, got = avow.json("quote", f"{q.files}.msg", *proof, "--nonce", q.nonce)
    assert (code, got["verdict"], got["verified"], got["findings"]) == (0, "pass", True, [])
    code, got = avow.json("quote", f"{q.files}.msg", *proof, "--nonce", "00")
    assert (code, got["verdict"], [f["id"] for f in got["findings"]]) == (4, "fail", ["quote.nonce_mismatch"])
    other = tmp_path / "other"
    other.write_bytes(tpmbytes.Signer("rsa").public())
    code, got = avow.json("quote", f"{q.files}.msg", "--signature", f"{q.files}.sig", "--ak", other)
    assert (code, got["verified"], [f["id"] for f in got["findings"]]) == (4, False, ["quote.signature"])
    usage(avow, "quote", f"{q.files}.msg", "--ak", key)
    usage(avow, "quote", f"{q.files}.msg", "--signature", f"{q.files}.sig")
    usage(avow, "quote")
    for name, data in (("type", b"\x80\x17"), ("magic", None)):
        forged = bytearray(q.read("msg"))
        forged[4:6] = data or forged[4:6]
        forged[0] ^= 0 if data else 1
        (tmp_path / name).write_bytes(forged)
        code, got = avow.json("quote", tmp_path / name)
        assert code == 4 and got["findings"], name
    assert avow.run("quote", tmp_path / "missing").returncode == 1


# --- For people


def test_text_for_people(avow, tmp_path):
    """Without --json: a verdict first, findings as a table, no control characters of the host."""
    good = avow.run(*case().arguments(tmp_path))
    assert good.returncode == 0 and good.stdout.startswith("verdict           pass\n") and not good.stderr
    bad = avow.run(*case(nonce="00").arguments(tmp_path))
    assert bad.returncode == 4 and bad.stdout.startswith("verdict           fail\n") and not bad.stderr
    assert "\nFINDING " in bad.stdout and "\nquote.nonce_mismatch " in bad.stdout
    policy, listed = tmp_path / "policy.json", tmp_path / "list"
    policy.write_text(json.dumps(imalog.policy_of([])))
    evil = imalog.new_entry("ima-ng", b"/a\x1b[31m\n\xe2\x80\xae", bytes(range(32)))
    listed.write_bytes(imalog.encode([FIRST.entries[0], evil]))
    done = subprocess.run([avow.program, "ima", listed, "--runtime-policy", policy], capture_output=True, timeout=60)
    assert done.returncode == 4 and b"ima.digest_unknown" in done.stdout
    assert b"\x1b" not in done.stdout and "\u202e".encode() not in done.stdout
    for command in ("appraise", "ima", "quote"):
        done = avow.run(command, "--help")
        assert done.returncode == 0 and f"usage: avow {command}" in done.stdout
        usage(avow, command, "--no-such-option")


def test_a_file_whose_reading_fails(avow):
    """Root reads what it has no permission for, but nobody reads address 0."""
    assert avow.run("quote", "/proc/self/mem").returncode == 1


@pytest.mark.parametrize("command", ["appraise", "ima", "quote"])
def test_manual_pages_have_every_option_and_no_other(avow, command):
    page = (Path(__file__).resolve().parents[2] / "docs" / "man" / f"avow-{command}.1").read_text()
    shown = set(re.findall(r"^  --([a-z0-9-]+)", avow.run(command, "--help").stdout, re.MULTILINE))
    assert set(re.findall(r"^\.It Fl Fl ([a-z0-9-]+)", page, re.MULTILINE)) == shown and shown
