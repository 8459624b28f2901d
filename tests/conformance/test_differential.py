"""Keylime's own code beside ours, on lists of real machines, changed at random by a fixed seed."""

import base64
import json
import random
from collections import Counter

import imalog
import imasig
import pytest
import tpmbytes
from test_captures import HOME, entries_of

REFUSALS = ("ima.validation.ima-ng.not_in_allowlist", "ima.validation.ima-ng.runtime_policy_hash")
TEMPLATES = ("ima", "ima-ng", "ima-sig", "ima-buf")  # what Keylime reads
ROUNDS = 40


def changed(rng: random.Random, entries: list[imalog.Entry]) -> list[imalog.Entry]:
    out = list(entries)
    for _ in range(rng.randint(0, 3)):
        i = rng.randrange(1, len(out))
        kind = rng.choice(["digest", "path", "drop", "double", "swap"])
        if kind == "digest":
            out[i] = out[i].with_digest(rng.randbytes(len(out[i].digest)))
        elif kind == "path":
            out[i] = out[i].with_path(b"/changed/%d" % rng.randrange(99))
        elif kind == "drop":
            del out[i]
        elif kind == "double":
            out.insert(i, out[i])
        else:
            j = rng.randrange(1, len(out))
            out[i], out[j] = out[j], out[i]
    return out


@pytest.mark.parametrize("name", ["m1-direct", "m2-grub-sb", "m5-imasig", "m7-612"])
def test_lists_changed_at_random_are_judged_as_by_keylime(avow, keylime, tmp_path, name):
    """The same number of files is refused. boot_aggregate is listed, for Keylime asks every policy for it."""
    entries = [e for e in entries_of(HOME / name) if e.template in TEMPLATES]
    policy = imalog.policy_of(entries)
    policy["digests"]["boot_aggregate"] = [entries[0].digest.hex()]
    document, log = tmp_path / "policy.json", tmp_path / "list"
    document.write_text(json.dumps(policy))
    verdicts = Counter()
    for seed in range(ROUNDS):
        case = changed(random.Random(seed), entries) if seed else entries
        log.write_bytes(imalog.encode(case))
        theirs = keylime.judge([imalog.ascii_line(e) for e in case], policy)["events"]
        code, ours = avow.json("policy", "test", document, "--ima-log", log)
        assert set(theirs) <= set(REFUSALS), f"seed {seed}: {Counter(theirs)}"
        assert ours["refused_total"] == len(theirs), f"seed {seed}: {ours['refused']} and {theirs}"
        assert (code == 0) == (not theirs)
        verdicts[code] += 1
    print(f"{name}: {verdicts[0]} allowed, {verdicts[4]} refused by both")
    assert verdicts[0] and verdicts[4] > 5


# --- Whole lists with signatures, keys and a quoted value

IMA_ROUNDS = 90
PATHS = [b"/usr/bin/%d" % i for i in range(6)] + [b"/opt/excluded/x", b"/tmp/y"]


class Keys:
    """One key that the operator names, one that a list may teach, one that nobody knows."""

    def __init__(self):
        self.operator, self.taught, self.unknown = (imasig.new_key() for _ in range(3))
        self.certificate = imasig.certificate(self.taught)

    @property
    def keyring(self) -> str:
        public = base64.b64encode(imasig.spki(self.operator)).decode()
        return json.dumps({"pubkeys": [public], "keyids": [int.from_bytes(imasig.key_id(self.operator), "big")]})


def random_file(rng: random.Random, keys: Keys) -> imalog.Entry:
    path, digest = rng.choice(PATHS), bytes([rng.randrange(3)]) * 32
    kind = rng.choice(["ng", "unsigned", "operator", "taught", "unknown", "broken", "other digest"])
    if kind == "ng":
        return imalog.new_entry("ima-ng", path, digest)
    made = imasig.signature(getattr(keys, kind, keys.operator), bytes(32) if kind == "other digest" else digest)
    if kind == "broken":
        made = made[:-1] + bytes([made[-1] ^ 1])
    return imalog.new_entry("ima-sig", path, digest, last=[b"" if kind == "unsigned" else made])


def random_list(rng: random.Random, keys: Keys) -> list[imalog.Entry]:
    out = [imalog.new_entry("ima-ng", b"boot_aggregate", bytes(32))]
    out += [random_file(rng, keys) for _ in range(rng.randrange(5))]
    if rng.random() < 0.7:
        digest = tpmbytes.digest("sha256", keys.certificate)
        name = rng.choice([b".ima", b".ima", b".other"])
        out.insert(rng.randrange(1, len(out) + 1), imalog.new_entry("ima-buf", name, digest, last=[keys.certificate]))
    spoil = rng.choice(["nothing"] * 6 + ["hash", "pcr", "violation", "swap"])
    i = rng.randrange(1, len(out)) if len(out) > 1 else 0
    if spoil == "hash":
        out[i] = out[i].change(template_hash=rng.randbytes(20))
    elif spoil == "pcr":
        out[i] = out[i].change(pcr=11)
    elif spoil == "violation":
        out[i] = out[i].change(template_hash=bytes(20))
    elif spoil == "swap":
        out[0], out[i] = out[i], out[0]
    return out


def random_policy(rng: random.Random, keys: Keys) -> dict:
    digests = {p.decode(): [(bytes([d]) * 32).hex() for d in range(rng.randrange(1, 4))] for p in PATHS[:6] if rng.random() < 0.8}
    taught = {".ima": [tpmbytes.digest("sha256", keys.certificate).hex()]} if rng.random() < 0.8 else {}
    made = imalog.policy_of([], digests=digests | {"boot_aggregate": ["00" * 32]}, excludes=["/opt/excluded/.*"], keyrings=taught)
    made["ima"]["ignored_keyrings"] = [".other"] if rng.random() < 0.3 else []
    return made


def random_pcr10(rng: random.Random, entries: list[imalog.Entry]) -> str | None:
    """What is quoted may be any prefix, or something else."""
    if rng.random() < 0.3:
        return None
    if rng.random() < 0.15:
        return rng.randbytes(32).hex()
    return imalog.replay(entries[: rng.randint(1, len(entries))], "sha256").hex()


# What only we find, by finding; docs/KEYLIME.md.
OURS_ALONE = {"ima.boot_aggregate_missing": "first entry", "ima.boot_aggregate_repeated": "first entry"}


def test_signatures_keyrings_and_values_as_by_keylime(avow, keylime, tmp_path):
    """Where Keylime says fail we say fail; where it passes and we do not, the difference has a name."""
    keys, verdicts, names = Keys(), Counter(), Counter()
    document, log, keyring = tmp_path / "policy.json", tmp_path / "list", tmp_path / "keyring"
    keyring.write_text(keys.keyring)
    for seed in range(IMA_ROUNDS):
        rng = random.Random(seed)
        entries, policy = random_list(rng, keys), random_policy(rng, keys)
        pcr10 = random_pcr10(rng, entries)
        log.write_bytes(imalog.encode(entries))
        document.write_text(json.dumps(policy))
        options = ["--runtime-policy", document, "--keyring", keyring] + (["--pcr10", pcr10] if pcr10 else [])
        theirs = keylime.judge([imalog.ascii_line(e) for e in entries], policy, keys.keyring, pcr10)["events"]
        code, got = avow.json("ima", log, *options)
        ids = {f["id"] for f in got["findings"]}
        verdicts[code, bool(theirs)] += 1
        assert code == 4 or not theirs, f"seed {seed}: Keylime {Counter(theirs)}"
        if code == 4 and not theirs:
            assert ids <= set(OURS_ALONE), f"seed {seed}: {got['findings']}"
            names.update(OURS_ALONE[i] for i in ids)
        elif code == 4:
            events = {f["keylime_event_id"] for f in got["findings"]}
            assert events & set(theirs), f"seed {seed}: {events} and {set(theirs)}"
    print(f"passed by both {verdicts[0, False]}, refused by both {verdicts[4, True]}, by us alone {verdicts[4, False]}: {dict(names)}")
    assert verdicts[0, False] > 10 and verdicts[4, True] > 10
