"""Captures of booted machines: the rig explains their PCRs, and policies from their own lists allow them and nothing else.

AVOW_CAPTURES names a folder of more, one machine a folder, with the files of tests/vectors/captures.
"""

import json
import os
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import imalog
import imasig
import pytest
import tpmbytes
import uefilog

HOME = Path(__file__).resolve().parents[1] / "vectors" / "captures"
FOLDERS = [HOME] + [Path(p) for p in [os.environ.get("AVOW_CAPTURES")] if p]
MACHINES = sorted(p.parent for folder in FOLDERS for p in folder.glob("*/binary_runtime_measurements"))
OTHER = b"\x5a" * 64


def names(path: Path) -> str:
    return path.name


@pytest.fixture(params=MACHINES, ids=names)
def machine(request) -> Path:
    return request.param


def entries_of(machine: Path) -> list[imalog.Entry]:
    return imalog.parse((machine / "binary_runtime_measurements").read_bytes())


def pcrs(machine: Path, bank: str) -> list[bytes]:
    data, size = (machine / f"pcrs_{bank}.bin").read_bytes(), tpmbytes.SIZES[bank]
    return [data[i : i + size] for i in range(0, len(data), size)]


def test_a_firmware_log_explains_the_pcrs(machine):
    data = (machine / "binary_bios_measurements").read_bytes()
    log = uefilog.parse(data)
    assert log.encode() == data
    for bank in log.banks:
        if not (machine / f"pcrs_{bank}.bin").exists():
            continue
        replayed = log.replay(bank)
        assert {p: v.hex() for p, v in replayed.items()} == {p: pcrs(machine, bank)[p].hex() for p in replayed}


def test_data_of_bound_events_is_what_their_digests_say(machine):
    log = uefilog.parse((machine / "binary_bios_measurements").read_bytes())
    bound = [e for e in log.events if e.type in uefilog.BOUND]
    assert len(bound) > 5 and log.find("SecureBoot") >= 0
    for e in bound:
        assert e.with_data(e.data).digests == e.digests, f"type {e.type:x} of PCR {e.pcr}"


def test_the_list_explains_pcr_10_of_the_quote(machine):
    attest = tpmbytes.Attest.parse((machine / "q_ak_rsa_sha256_all.msg").read_bytes())
    values = pcrs(machine, "sha256")
    assert attest.pcr_digest == tpmbytes.digest("sha256", *values)
    assert values[10] == imalog.replay(entries_of(machine), "sha256")


def other(value: bytes) -> bytes:
    return OTHER[: len(value)]


def file_at(entries: list, where: float) -> int:
    """A file of the list, near the beginning, the middle or the end."""
    files = [
        i
        for i, e in enumerate(entries)
        if not e.violation and e.template != "ima-buf" and e.path != "boot_aggregate" and len(e.digest) >= 20
    ]
    return files[int(where * (len(files) - 1))]


def changed_digest(where: float):
    def change(entries):
        i = file_at(entries, where)
        return entries[:i] + [entries[i].with_digest(other(entries[i].digest))] + entries[i + 1 :], entries[i].path

    return change


def changed_path(entries):
    i = file_at(entries, 0.5)
    return entries[:i] + [entries[i].with_path(b"/usr/bin/other")] + entries[i + 1 :], "/usr/bin/other"


def digest_of_another_file(entries):
    i, j = file_at(entries, 0.3), file_at(entries, 0.7)
    assert entries[i].digest != entries[j].digest
    return entries + [entries[i].with_fields([entries[j].fields[0], *entries[i].fields[1:]])], entries[i].path


def unknown_file(entries):
    template = next(e.template for e in entries if e.template != "ima-buf")
    return entries + [imalog.new_entry(template, b"/tmp/implant", other(bytes(32)))], "/tmp/implant"


def unknown_buffer(entries):
    made = imalog.new_entry("ima-buf", b"other-name", tpmbytes.digest("sha256", b"data"), last=[b"data"])
    return entries + [made], "other-name"


CHANGES = {
    "digest-of-the-first-file": changed_digest(0),
    "digest-of-a-file": changed_digest(0.5),
    "digest-of-the-last-file": changed_digest(1),
    "path-of-a-file": changed_path,
    "digest-of-another-file": digest_of_another_file,
    "unknown-file": unknown_file,
    "unknown-buffer": unknown_buffer,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_policy_of_the_own_list_refuses_what_was_changed(avow, tmp_path, machine, change):
    entries = entries_of(machine)
    policy, log = tmp_path / "policy.json", tmp_path / "list"
    policy.write_text(json.dumps(imalog.policy_of(entries)))
    log.write_bytes(imalog.encode(entries))
    code, got = avow.json("policy", "test", policy, "--ima-log", log)
    assert got["refused"] == [], "the control"
    bad, path = CHANGES[change](entries)
    log.write_bytes(imalog.encode(bad))
    code, got = avow.json("policy", "test", policy, "--ima-log", log)
    assert (code, [r["path"] for r in got["refused"]]) == (4, [path])


def checkquote(folder: Path, public: Path, message: bytes, signature: bytes, nonce: str) -> bool:
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(signature)
    command = ["tpm2_checkquote", "-u", public, "-m", folder / "message", "-s", folder / "signature", "-q", nonce]
    return subprocess.run([*command, "-g", "sha256"], capture_output=True, timeout=30).returncode == 0


def test_quotes_are_what_tpm2_tools_say(tmp_path, machine):
    message, signature = ((machine / f"q_ak_rsa_sha256_all.{end}").read_bytes() for end in ("msg", "sig"))
    nonce, public = (machine / "nonce").read_text().strip(), machine / "ak_rsa.pem"
    assert checkquote(tmp_path, public, message, signature, nonce)
    assert not checkquote(tmp_path, public, message, signature, "00" + nonce[2:] if nonce[:2] != "00" else "11" + nonce[2:])
    assert not checkquote(tmp_path, public, message, signature[:-1] + bytes([signature[-1] ^ 1]), nonce)
    made = tpmbytes.Signer("rsa")
    (tmp_path / "made.pem").write_bytes(made.pem())
    forged = tpmbytes.Attest.parse(message).change(clock=7).encode()
    assert checkquote(tmp_path, tmp_path / "made.pem", forged, made.sign(forged), nonce)
    assert not checkquote(tmp_path, public, forged, signature, nonce)


def evmctl_explains(folder: Path, machine: Path, entries: list[imalog.Entry]) -> bool:
    values = "".join(f"PCR-{i:02}: {value.hex(' ')}\n" for i, value in enumerate(pcrs(machine, "sha256")))
    (folder / "pcrs").write_text(values)
    (folder / "list").write_bytes(imalog.encode(entries))
    command = ["evmctl", "ima_measurement", "--pcrs", f"sha256,{folder / 'pcrs'}", "--verify-bank=sha256"]
    return subprocess.run([*command, folder / "list"], capture_output=True, timeout=30).returncode == 0


@pytest.mark.parametrize("name", ["m1-direct", "m2-grub-sb", "m5-imasig", "m7-612"])
def test_lists_are_what_evmctl_says(tmp_path, name):
    """Not those with ima-ngv2, which its version in Debian does not read, or with violations, which it refuses."""
    machine = HOME / name
    entries = entries_of(machine)
    assert evmctl_explains(tmp_path, machine, entries)
    assert not evmctl_explains(tmp_path, machine, entries[:20] + entries[21:])
    assert not evmctl_explains(tmp_path, machine, changed_path(entries)[0])


def evmctl_signatures(folder: Path, key: Path, entries: list[imalog.Entry]) -> dict[str, bool]:
    """Of each file that is signed: whether the signature is one of the key."""
    values = {i: bytes(32) for i in range(24)} | {10: imalog.replay(entries, "sha256")}
    (folder / "pcrs").write_text("".join(f"PCR-{i:02}: {value.hex(' ')}\n" for i, value in values.items()))
    (folder / "list").write_bytes(imalog.encode(entries))
    command = ["evmctl", "ima_measurement", "--pcrs", f"sha256,{folder / 'pcrs'}", "--verify-bank=sha256", "--verify-sig"]
    done = subprocess.run([*command, "--key", key, "-v", folder / "list"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^(/\S+): verification (is OK|failed)", done.stdout + done.stderr, re.MULTILINE)
    return {path: verdict == "is OK" for path, verdict in said}


def test_signatures_are_what_evmctl_says(avow, tmp_path):
    """It does not look at the length in a signature's header; the kernel does, and so do we."""
    key, other = imasig.new_key(), imasig.new_key()
    certificate = tmp_path / "certificate.der"
    certificate.write_bytes(imasig.certificate(key))
    kinds: Counter = Counter()
    for seed in range(12):
        rng = random.Random(seed)
        entries = [imalog.new_entry("ima-ng", b"boot_aggregate", bytes(32))]
        for n in range(8):
            digest, kind = rng.randbytes(32), rng.choice(["good", "good", "other key", "other digest", "bit", "cut", "none"])
            made = imasig.signature(other if kind == "other key" else key, bytes(32) if kind == "other digest" else digest)
            if kind == "bit":
                at = rng.randrange(2, len(made))
                made = made[:at] + bytes([made[at] ^ 1 << rng.randrange(8)]) + made[at + 1 :]
            made = b"" if kind == "none" else made[:-1] if kind == "cut" else made
            entries.append(imalog.new_entry("ima-sig", b"/bin/%d" % n, digest, last=[made]))
        theirs = evmctl_signatures(tmp_path, certificate, entries)
        code, got = avow.json("ima", tmp_path / "list", "--verification-key", certificate)
        bad = {f["context"]["path"] for f in got["findings"]}
        signed = {e.path for e in entries[1:] if e.fields[2]}
        ours = {path: path not in bad for path in signed}
        lying = {e.path for e in entries[1:] if e.fields[2] and int.from_bytes(e.fields[2][7:9], "big") != len(e.fields[2]) - 9}
        wanted = {path: theirs.get(path, False) and path not in lying for path in signed}
        assert ours == wanted, f"seed {seed}: {bad}, evmctl {theirs}"
        assert bad - signed == {e.path for e in entries[1:] if not e.fields[2]}, "with a key every file is signed"
        kinds.update(ours.values())
    print(f"signatures that evmctl and avow accept {kinds[True]}, refuse {kinds[False]}")
    assert kinds[True] > 10 and kinds[False] > 10


def test_signatures_of_a_real_kernel(avow, tmp_path):
    """Files that were signed, with flipped bytes, over other content, and by a key that is not told: by evmctl and by us."""
    keys = HOME.parent / "ima" / "keys"
    entries = imalog.parse((HOME.parent / "machines/m5-imasig/r1/c1/ima_after/binary_runtime_measurements").read_bytes())
    named = [keys / "ima_rsa.cert.der", keys / "ima_ec.cert.der"]
    signed = {e.path for e in entries if e.template == "ima-sig" and e.fields[2][:2] == b"\3\2"}
    theirs: dict[str, bool] = {}
    for key in named:  # it reads one certificate a call
        for path, good in evmctl_signatures(tmp_path, key, entries).items():
            theirs[path] = theirs.get(path, False) or good
    options = [option for key in named for option in ("--verification-key", key)]
    options += ["--check-signatures", "--boot-aggregate", entries[0].digest.hex()]
    _, got = avow.json("ima", tmp_path / "list", *options, "--runtime-policy", policy_of_all(tmp_path, entries))
    bad = {f["context"]["path"]: f["id"] for f in got["findings"]}
    assert {p.rsplit("/", 1)[1]: i for p, i in bad.items()} == {
        "sig_bad": "ima.signature_invalid",
        "sig_stale2": "ima.signature_invalid",
        "sig_unknown": "ima.signature_key_unknown",
    }
    assert {path for path in signed if not theirs[path]} == set(bad) and len(signed) > len(bad)


def policy_of_all(folder: Path, entries: list[imalog.Entry]) -> Path:
    """The digests of a list: a signature that is there must be good all the same."""
    path = folder / "policy.json"
    path.write_text(json.dumps(imalog.policy_of(entries)))
    return path
