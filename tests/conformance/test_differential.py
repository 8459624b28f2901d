"""Keylime's own code beside ours, on lists of real machines, changed at random by a fixed seed."""

import json
import random
from collections import Counter

import imalog
import pytest
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
