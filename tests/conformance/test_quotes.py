"""Quotes beside other verifiers: Keylime's recorded check of quotes, and tpm2_checkquote on captures, on changed ones and on forgeries."""

import json
import random
import subprocess
from collections import Counter
from pathlib import Path

import machines
import pytest
import tpmbytes

CAPTURES = machines.captures(machines.HOME)
ANY_HASH = ("--accept-hash", "sha1,sha256,sha384,sha512")
ROUNDS = 4  # changes of each quote


def checked(avow, folder: Path, parts: dict[str, bytes], nonce: str, *options) -> tuple[bool, list[str], dict]:
    """What `avow appraise` says; `avow quote` says the same but for the values."""
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    proof = ["--signature", folder / "sig", "--ak", folder / "ak", "--nonce", nonce, *options]
    quote_code, _ = avow.json("quote", folder / "msg", *proof)
    code, got = avow.json("appraise", "--attest", folder / "msg", *proof, "--pcrs", folder / "pcrs")
    assert code == 4 or quote_code == 0
    return code == 0, [f["id"] for f in got["findings"]], got


def test_keylimes_recorded_quotes(avow, keylime_data, tmp_path):
    """Accepted is what it accepts. S1: the numbers of PCRs in its file are not signed, and are not looked at here."""
    cases = json.loads((keylime_data / "vectors" / "checkquote.json").read_text())["cases"]
    differ = []
    for n, c in enumerate(cases):
        pem, nonce, sig, msg, pcrs, hash_name = c["args"]
        parts = {"ak": bytes.fromhex(pem), "sig": bytes.fromhex(sig), "msg": bytes.fromhex(msg), "pcrs": bytes.fromhex(pcrs)}
        good, ids, got = checked(avow, tmp_path, parts, nonce.encode().hex(), "--accept-hash", hash_name)
        if good:
            values = {tpmbytes.pcrs_of(tpmbytes.Attest.parse(parts["msg"]).selections[0][1])[0]: got["pcrs"]["sha256"]["16"]}
            assert values == {16: "d471c0674951f0ef075aecdd42fbefa6eca6019820add0bd222d1c4e6242ce6f"}
        if good != ("result" in c):
            differ.append((n, c.get("exception")))
    print(f"{len(cases)} quotes that Keylime checked; S1 makes {len(differ)} differ")
    assert differ == [(3, "KeyError: 11")], "a changed index in the file of values, and nothing else"
    assert len(cases) >= 5


def checkquote(folder: Path, nonce: str, hash_name: str) -> bool:
    done = subprocess.run(
        ["tpm2_checkquote", "-u", folder / "ak", "-m", folder / "msg", "-s", folder / "sig", "-f", folder / "pcrs", "-q", nonce]
        + ["-g", hash_name],
        capture_output=True, timeout=30,
    )  # fmt: skip
    return done.returncode == 0


def signature_hash(sig: bytes) -> str:
    return tpmbytes.NAMES[int.from_bytes(sig[2:4], "big")]


def quotes():
    """One of each key, and one of each set of banks, of each machine; tpm2_checkquote knows no RSAPSS."""
    seen = set()
    for c in CAPTURES:
        for q in c.quotes:
            kinds = {(c.folder.parts[-3], q.ak), (c.folder.parts[-3], tuple(q.selected))}
            if "pss" not in q.ak and not kinds <= seen:
                seen |= kinds
                yield pytest.param(c, q, id=f"{c.name}-{q.name}")


def changed(rng: random.Random, parts: dict[str, bytes], nonce: str) -> tuple[str, dict[str, bytes], str]:
    part = rng.choice(["msg", "sig", "pcrs", "nonce"])
    if part == "nonce":
        at = rng.randrange(len(nonce))
        return part, parts, nonce[:at] + "0123456789abcdef"[(int(nonce[at], 16) + 1) % 16] + nonce[at + 1 :]
    data = bytearray(parts[part])
    kind = rng.choice(["bit", "cut", "more"])
    if kind == "bit":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(1, len(data)) :]
    else:
        data += rng.randbytes(rng.randrange(1, 9))
    return f"{kind} of {part}", parts | {part: bytes(data)}, nonce


# Where the two may differ. Nothing that tpm2_checkquote refuses is accepted, but for what no value depends on.
STRICTER = {"more of msg", "more of sig", "more of pcrs", "cut of pcrs", "bit of sig"}  # bytes that it does not look at
FREER = {"bit of pcrs", "more of pcrs"}  # S1: its selection, and the rooms of values that are not there


@pytest.mark.parametrize("capture, quote", list(quotes()))
def test_quotes_are_judged_as_by_tpm2_checkquote(avow, tmp_path, capture, quote):
    parts = {e: quote.read(e) for e in ("msg", "sig", "pcrs")} | {"ak": capture.ak(quote.ak)}
    name, said = signature_hash(parts["sig"]), Counter()
    for seed in range(ROUNDS):
        rng = random.Random(f"{capture.name} {quote.name} {seed}")
        kind, case, nonce = changed(rng, parts, quote.nonce) if seed else ("nothing", parts, quote.nonce)
        ours, ids, _ = checked(avow, tmp_path, case, nonce, *ANY_HASH)
        theirs = checkquote(tmp_path, nonce, name)
        said[ours] += 1
        if not quote.selected:
            assert not ours and (seed or (theirs and ids == ["quote.selection"])), "a quote of nothing, which it accepts"
        elif ours != theirs:
            assert kind in (FREER if ours else STRICTER), f"{kind}: ours {ours} {ids}, tpm2_checkquote {theirs}"
    assert (said[True] or not quote.selected) and said[False]


FORGED = {
    "nothing": {},
    "magic": {"magic": 0xFF544346},
    "type": {"type": 0x8017},
    "digest": {"pcr_digest": bytes(32)},
    "selection": {"selections": [(tpmbytes.BANKS["sha256"], tpmbytes.bitmap(range(15)))]},
    "extra": {"extra": b"other"},
}


@pytest.mark.parametrize("family", ["rsa", "p256", "p384"])
def test_forgeries_with_the_key_are_judged_as_by_tpm2_checkquote(avow, tmp_path, family):
    """The signature is good, and what was signed is not. tpm2_checkquote 5.4 looks at neither the magic nor the
    selection: what a TPM itself says about a quote is not asked."""
    quote = next(q for q in CAPTURES[0].quotes if q.name == "q_ak_rsa_sha256_0-15")
    signer, verdicts = tpmbytes.Signer(family), {}
    digest = tpmbytes.digest(signer.hash, *quote.values)
    for name, changes in FORGED.items():
        msg = quote.attest.change(pcr_digest=digest).change(**changes).encode()
        parts = {"msg": msg, "sig": signer.sign(msg), "ak": signer.public(), "pcrs": quote.read("pcrs")}
        ours, ids, _ = checked(avow, tmp_path, parts, quote.nonce)
        (tmp_path / "ak").write_bytes(signer.pem())
        verdicts[name] = (ours, checkquote(tmp_path, quote.nonce, signer.hash))
    assert verdicts["nothing"] == (True, True), "the control"
    assert {name for name, (ours, _) in verdicts.items() if ours} == {"nothing"}
    assert {name for name, (_, theirs) in verdicts.items() if theirs} <= {"nothing", "selection", "magic"}
