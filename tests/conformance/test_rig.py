"""The rig itself: what it reads and replays is what TPMs of real machines held, so it may judge our tools."""

from pathlib import Path

import imalog
import pytest
import tpmbytes

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "ima"
LISTS = sorted(p.stem for p in VECTORS.glob("*.ima") if "." not in p.stem)  # the others are views of one bank


@pytest.mark.parametrize("name", LISTS)
def test_a_list_explains_pcr_10_of_every_bank(name):
    data = (VECTORS / f"{name}.ima").read_bytes()
    entries = imalog.parse(data)
    assert imalog.encode(entries) == data
    for bank, size in tpmbytes.SIZES.items():
        pcrs = VECTORS / f"{name}.{bank}.pcrs"
        if not pcrs.exists():
            continue
        value = pcrs.read_bytes()[10 * size : 11 * size]
        replayed = [imalog.replay(entries, bank, padded) for padded in (False, True)]
        assert value in replayed, f"{bank}: {value.hex()}"
        assert value not in (imalog.replay(entries[:-1], bank), imalog.replay(entries[1:], bank))


@pytest.mark.parametrize("family", ["rsa", "pss", "p256", "p384", "p521"])
def test_a_made_quote_is_read_as_it_was_made(family):
    ak = tpmbytes.Signer(family)
    made = tpmbytes.Attest(
        ak.qualified_name(), b"nonce", 7, 1, 0, 1, 9, [(tpmbytes.BANKS["sha256"], tpmbytes.bitmap([0, 10]))], bytes(32)
    )
    assert tpmbytes.Attest.parse(made.encode()) == made
    assert tpmbytes.pcrs_of(made.selections[0][1]) == [0, 10]
    assert tpmbytes.signature_parts(ak.sign(made.encode()))[1] == tpmbytes.BANKS[ak.hash]
