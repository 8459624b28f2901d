"""Operators on quotes: signature, key, nonce, what is attested, and the values beside it. See tampering.py."""

import struct
from functools import cache
from pathlib import Path

import machines
import tpmbytes
from tampering import DoesNotApply, Subject, first, flip, harmless, operator, other

# --- the quote, its signature, key and nonce


def with_signature(s: Subject, scheme: int, algorithm: int, parts: list[bytes]) -> machines.Case:
    data = struct.pack(">HH", scheme, algorithm) + b"".join(tpmbytes.sized(p) for p in parts)
    return s.case.change(signature=data)


def parts_of(s: Subject, wanted: int | None = None) -> tuple[int, int, list[bytes]]:
    scheme, algorithm, parts = tpmbytes.signature_parts(s.case.signature)
    if wanted and scheme != wanted:
        raise DoesNotApply("a key of another kind")
    return scheme, algorithm, parts


def attested(s: Subject, **changes) -> machines.Case:
    return s.case.change(attest=s.quote.attest.change(**changes).encode())


@operator("quote", "quote.nonce_mismatch", only=True)
def nonce_other(s):
    return s.case.change(nonce=flip(bytes.fromhex(s.case.nonce), 0).hex())


@operator("quote", "quote.nonce_mismatch", only=True)
def nonce_with_one_byte_more(s):
    return s.case.change(nonce=s.case.nonce + "00")


@operator("quote", "quote.nonce_mismatch", only=True)
def nonce_with_one_byte_less(s):
    return s.case.change(nonce=s.case.nonce[:-2])


@operator("quote", "quote.signature", only=True)
def signature_bit_first(s):
    scheme, algorithm, parts = parts_of(s)
    return with_signature(s, scheme, algorithm, [flip(parts[0], 0, 0x80), *parts[1:]])


@operator("quote", "quote.signature", only=True)
def signature_bit_last(s):
    return s.case.change(signature=flip(s.case.signature, -1))


@operator("quote", "quote.signature", only=True)
def signature_zero(s):
    scheme, algorithm, parts = parts_of(s)
    return with_signature(s, scheme, algorithm, [bytes(len(p)) for p in parts])


@operator("quote", "quote.signature", only=True)
def signature_of_another_quote(s):
    for q in s.capture.quotes:
        if q.ak == s.quote.ak and q.name != s.quote.name:
            return s.case.change(signature=q.read("sig"))
    raise DoesNotApply("the key made one quote")


@operator("quote", "quote.malformed")
def signature_one_byte_less(s):
    return s.case.change(signature=s.case.signature[:-1])


@operator("quote", "quote.malformed")
def signature_one_byte_more(s):
    return s.case.change(signature=s.case.signature + b"\0")


@operator("quote", "quote.malformed")
def signature_of_0_bytes(s):
    return s.case.change(signature=b"")


@operator("quote", "quote.malformed")
def signature_size_field_ffff(s):
    return s.case.change(signature=s.case.signature[:4] + b"\xff\xff" + s.case.signature[6:])


@operator("quote", "quote.malformed")
def signature_scheme_unknown(s):
    return s.case.change(signature=struct.pack(">H", 0x0001) + s.case.signature[2:])


@operator("quote", "quote.algorithm")
def signature_scheme_of_the_other_padding(s):
    scheme, algorithm, parts = parts_of(s)
    if scheme == tpmbytes.ECDSA:
        raise DoesNotApply("not RSA")
    return with_signature(s, tpmbytes.RSASSA + tpmbytes.RSAPSS - scheme, algorithm, parts)


@operator("quote", "quote.algorithm", "quote.malformed")
def signature_scheme_of_another_family(s):
    scheme = parts_of(s)[0]
    wrong = tpmbytes.RSASSA if scheme == tpmbytes.ECDSA else tpmbytes.ECDSA
    return s.case.change(signature=struct.pack(">H", wrong) + s.case.signature[2:])


@operator("quote", "quote.signature", "quote.algorithm")
def signature_by_another_hash(s):
    scheme, algorithm, parts = parts_of(s)
    wrong = tpmbytes.BANKS["sha384" if algorithm != tpmbytes.BANKS["sha384"] else "sha256"]
    return with_signature(s, scheme, wrong, parts)


@operator("quote", "quote.algorithm")
def signature_by_an_unknown_hash(s):
    scheme, _, parts = parts_of(s)
    return with_signature(s, scheme, 0x0012, parts)


@operator("quote", "quote.signature", only=True)
def ecdsa_r_and_s_swapped(s):
    scheme, algorithm, parts = parts_of(s, tpmbytes.ECDSA)
    return with_signature(s, scheme, algorithm, parts[::-1])


ORDERS = {
    "ak_ecc": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ak_p384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


@operator("quote", "quote.signature", only=True)
def ecdsa_s_plus_the_order(s):
    """The same number modulo n, in one byte more."""
    scheme, algorithm, parts = parts_of(s, tpmbytes.ECDSA)
    value = int.from_bytes(parts[1], "big") + ORDERS[s.quote.ak]
    return with_signature(s, scheme, algorithm, [parts[0], value.to_bytes(len(parts[1]) + 1, "big")])


@operator("quote", "quote.signature", only=True)
def ecdsa_r_is_the_order(s):
    scheme, algorithm, parts = parts_of(s, tpmbytes.ECDSA)
    return with_signature(s, scheme, algorithm, [ORDERS[s.quote.ak].to_bytes(len(parts[0]), "big"), parts[1]])


@harmless("quote")
def ecdsa_s_negated(s):
    """(r, n - s) is a signature of the same bytes by the same key; what is signed is compared, never the signature."""
    scheme, algorithm, parts = parts_of(s, tpmbytes.ECDSA)
    value = ORDERS[s.quote.ak] - int.from_bytes(parts[1], "big")
    return with_signature(s, scheme, algorithm, [parts[0], value.to_bytes(len(parts[1]), "big")])


@operator("quote", "quote.signature", "quote.algorithm")
def key_of_another_machine(s):
    return s.case.change(ak=s.strangers[0].ak(s.quote.ak))


@operator("quote", "quote.signature", "quote.algorithm")
def key_of_another_kind(s):
    wrong = {"ak_rsa": "ak_pss", "ak_pss": "ak_rsa", "ak_ecc": "ak_p384", "ak_p384": "ak_ecc"}[s.quote.ak]
    return s.case.change(ak=s.capture.ak(wrong))


def attributes(s: Subject, clear: int = 0, set_: int = 0) -> machines.Case:
    (bits,) = struct.unpack_from(">I", s.case.ak, 6)  # TPM2B size, type, nameAlg
    return s.case.change(ak=s.case.ak[:6] + struct.pack(">I", bits & ~clear | set_) + s.case.ak[10:])


@operator("quote", "quote.ak")
def key_not_restricted(s):
    return attributes(s, clear=0x00010000)


@operator("quote", "quote.ak")
def key_not_fixed_to_its_tpm(s):
    return attributes(s, clear=0x00000002)


@operator("quote", "quote.ak")
def key_that_decrypts(s):
    return attributes(s, set_=0x00020000)


@operator("quote", "quote.ak")
def key_that_does_not_sign(s):
    return attributes(s, clear=0x00040000)


@operator("quote", "quote.ak")
def key_not_made_in_its_tpm(s):
    return attributes(s, clear=0x00000020)


@operator("quote", "quote.ak")
def key_one_byte_less(s):
    return s.case.change(ak=s.case.ak[:-1])


@operator("quote", "quote.signature", "quote.ak")
def key_bit(s):
    return s.case.change(ak=flip(s.case.ak, -1))


FAMILIES = {"ak_rsa": "rsa", "ak_pss": "pss", "ak_ecc": "p256", "ak_p384": "p384"}


@cache
def software_key(name: str) -> tpmbytes.Signer:
    return tpmbytes.Signer(FAMILIES[name])


@operator("quote", "quote.signature")
def attest_signed_by_a_key_of_the_attacker(s):
    made = software_key(s.quote.ak)
    return attested(s, firmware=7).change(signature=made.sign(s.quote.attest.change(firmware=7).encode()))


@operator("quote", "quote.signature")
def attest_firmware_version(s):
    return attested(s, firmware=s.quote.attest.firmware ^ 1)


@operator("quote", "quote.signature")
def attest_clock(s):
    return attested(s, clock=s.quote.attest.clock + 1)


@operator("quote", "quote.signature")
def attest_reset_count(s):
    return attested(s, reset=s.quote.attest.reset + 1)


@operator("quote", "quote.signature")
def attest_restart_count(s):
    return attested(s, restart=s.quote.attest.restart + 1)


@operator("quote", "quote.signature")
def attest_safe(s):
    return attested(s, safe=s.quote.attest.safe ^ 1)


@operator("quote", "quote.signature")
def attest_signer(s):
    return attested(s, signer=flip(s.quote.attest.signer, -1))


@operator("quote", "quote.signature")
def attest_nonce_put_in(s):
    """The verifier's fresh nonce in an old quote."""
    fresh = other(bytes(32))
    return attested(s, extra=fresh).change(nonce=fresh.hex())


@operator("quote", "quote.signature")
def attest_digest_of_other_values(s):
    return attested(s, pcr_digest=other(s.quote.attest.pcr_digest))


@operator("quote", "quote.signature")
def attest_one_pcr_less(s):
    selections = s.quote.attest.selections
    bank, bits = selections[0]
    pcrs = tpmbytes.pcrs_of(bits)
    return attested(s, selections=[(bank, tpmbytes.bitmap(pcrs[:-1])), *selections[1:]])


@operator("quote", "quote.signature")
def attest_bank_relabelled(s):
    selections = s.quote.attest.selections
    bank, bits = selections[0]
    wrong = tpmbytes.BANKS["sha512" if bank == tpmbytes.BANKS["sha256"] else "sha256"]
    return attested(s, selections=[(wrong, bits), *selections[1:]])


@operator("quote", "quote.signature")
def attest_selection_padded(s):
    """The same PCRs, in a bitmap of four bytes."""
    return attested(s, selections=[(bank, bits + b"\0") for bank, bits in s.quote.attest.selections])


@operator("quote", "quote.magic")
def attest_magic(s):
    return attested(s, magic=0)


@operator("quote", "quote.malformed", "quote.magic")
def attest_type(s):
    return attested(s, type=tpmbytes.CERTIFY)


@operator("quote", "quote.malformed")
def attest_one_byte_less(s):
    return s.case.change(attest=s.case.attest[:-1])


@operator("quote", "quote.malformed")
def attest_one_byte_more(s):
    return s.case.change(attest=s.case.attest + b"\0")


@operator("quote", "quote.malformed")
def attest_of_0_bytes(s):
    return s.case.change(attest=b"")


@operator("quote", "quote.malformed")
def attest_size_field_ffff(s):
    return s.case.change(attest=s.case.attest[:6] + b"\xff\xff" + s.case.attest[8:])


@operator("quote", "quote.malformed")
def attest_count_of_selections(s):
    at = len(s.quote.attest.encode()) - 2 - len(s.quote.attest.pcr_digest)
    at -= 4 + sum(3 + len(bits) for _, bits in s.quote.attest.selections)
    return s.case.change(attest=s.case.attest[:at] + b"\xff\xff\xff\xff" + s.case.attest[at + 4 :])


def quote_of(s: Subject, captures: list[machines.Capture]) -> machines.Case:
    """The quote of the same name, with its values, and the nonce of now."""
    quotes = (q for c in captures for q in c.quotes if q.name == s.quote.name and q.nonce != s.quote.nonce)
    old = first(quotes, "no such quote there")
    return s.case.change(attest=old.read("msg"), signature=old.read("sig"), pcrs=old.read("pcrs"))


@operator("quote", "quote.nonce_mismatch")
def quote_of_a_moment_before(s):
    """All genuine, and old."""
    return quote_of(s, s.moments_before)


@operator("quote", "quote.nonce_mismatch")
def quote_of_another_boot(s):
    return quote_of(s, s.other_boots)


@operator("quote", "quote.nonce_mismatch")
def quote_of_another_machine(s):
    return quote_of(s, s.strangers)


def negative(s: Subject, name: str) -> Path:
    path = s.capture.run / "negatives" / name
    if not path.exists():
        raise DoesNotApply("nothing of that kind was captured")
    return path


def signed_by_rsa(s: Subject, name: str) -> machines.Case:
    message = negative(s, name + ".msg").read_bytes()
    (n,) = struct.unpack_from(">H", message, 6)
    (extra,) = struct.unpack_from(">H", message, 8 + n)
    nonce = message[10 + n : 10 + n + extra].hex()
    signature = negative(s, name + ".sig").read_bytes()
    return s.case.change(attest=message, signature=signature, ak=s.capture.ak("ak_rsa"), nonce=nonce)


@operator("quote", "quote.malformed", "quote.magic")
def certification_as_a_quote(s):
    return signed_by_rsa(s, "certify_akecc_by_akrsa")


@operator("quote", "quote.malformed", "quote.magic")
def time_as_a_quote(s):
    return signed_by_rsa(s, "gettime_ak_rsa")


@operator("quote", "quote.ak")
def quote_by_a_key_that_is_not_restricted(s):
    made = signed_by_rsa(s, "unrestricted_quote")
    key = negative(s, "unrestricted.tpm2b_public").read_bytes()
    return made.change(ak=key, pcrs=negative(s, "unrestricted_quote.pcrs").read_bytes())


@operator("quote", "quote.ak")
def forgery_by_a_key_that_is_not_restricted(s):
    signature = machines.plain_signature(negative(s, "forged_by_unrestricted.sigplain").read_bytes())
    message = negative(s, "forged_by_unrestricted.msg").read_bytes()
    key = negative(s, "unrestricted.tpm2b_public").read_bytes()
    return signed_by_rsa(s, "unrestricted_quote").change(attest=message, signature=signature, ak=key)


@operator("quote", "quote.algorithm", only=True)
def scheme_not_accepted(s):
    scheme = parts_of(s)[0]
    wanted = "ecdsa" if scheme != tpmbytes.ECDSA else "rsassa,rsapss"
    return s.case.change(options=s.case.options + ("--accept-signing", wanted))


# --- PCR values


def values_file(s: Subject, values: list[bytes]) -> machines.Case:
    return s.case.change(pcrs=tpmbytes.tools_pcr_file(list(s.quote.selected.items()), values))


@operator("values", "quote.pcr_digest")
def value_bit_first(s):
    values = s.quote.values
    return values_file(s, [flip(values[0], 3)] + values[1:])


@operator("values", "quote.pcr_digest")
def value_bit_last(s):
    values = s.quote.values
    return values_file(s, values[:-1] + [flip(values[-1], -1)])


@operator("values", "quote.pcr_digest")
def values_swapped(s):
    values = s.quote.values
    for i in range(len(values) - 1):
        if values[i] != values[i + 1]:
            return values_file(s, values[:i] + [values[i + 1], values[i]] + values[i + 2 :])
    raise DoesNotApply("one value, or all the same")


@operator("values", "quote.pcr_digest")
def values_one_less(s):
    return values_file(s, s.quote.values[:-1])


@operator("values", "quote.pcr_digest")
def values_one_more(s):
    values = s.quote.values
    return values_file(s, values + [values[-1]])


@operator("values", "quote.pcr_digest")
def values_one_byte_less(s):
    return s.case.change(pcrs=b"".join(s.quote.values)[:-1])


@operator("values", "quote.pcr_digest")
def values_of_0_bytes(s):
    return s.case.change(pcrs=b"")


@operator("values", "quote.pcr_digest")
def values_without_end(s):
    """The count of the first list of digests."""
    return s.case.change(pcrs=s.case.pcrs[:136] + b"\xff\xff\xff\xff" + s.case.pcrs[140:])


@operator("values", "quote.pcr_digest")
def values_of_another_machine(s):
    quotes = (q for c in s.strangers for q in c.quotes if q.name == s.quote.name)
    return s.case.change(pcrs=first(quotes, "no other machine has such a quote").read("pcrs"))


@operator("values", "quote.pcr_digest")
def values_of_another_boot(s):
    quotes = (q for c in s.other_boots for q in c.quotes if q.name == s.quote.name)
    return s.case.change(pcrs=first(quotes, "no such quote in another boot").read("pcrs"))


@operator("values", "quote.pcr_digest")
def values_of_another_bank(s):
    if len(s.quote.selected) != 1:
        raise DoesNotApply("two banks")
    ((bank, pcrs),) = s.quote.selected.items()
    for q in s.capture.quotes:
        if list(q.selected.values()) == [pcrs] and bank not in q.selected:
            return s.case.change(pcrs=b"".join(q.values))
    raise DoesNotApply("no other bank was quoted so")


@operator("values", "quote.pcr_digest")
def values_of_two_banks_in_the_other_order(s):
    if len(s.quote.selected) != 2:
        raise DoesNotApply("one bank")
    values, first = s.quote.values, len(next(iter(s.quote.selected.values())))
    return s.case.change(pcrs=b"".join(values[first:] + values[:first]))


@operator("values", "pcr.mismatch", "quote.selection")
def demand_of_another_value(s):
    return s.case.change(options=s.case.options + ("--tpm-policy", '{"7": ["' + "ab" * 32 + '"]}'))


@operator("values", "quote.selection", only=True)
def demand_of_a_pcr_that_was_not_quoted(s):
    missing = set(range(24)) - set().union(*s.quote.selected.values())
    if not missing:
        raise DoesNotApply("all were quoted")
    return s.case.change(options=s.case.options + ("--require-pcrs", str(max(missing))))


@operator("values", "quote.selection")
def demand_of_all_24(s):
    if list(map(len, s.quote.selected.values())) == [24]:
        raise DoesNotApply("all were quoted")
    return s.case.change(options=s.case.options + ("--selection", "avow"))


@operator("values", "quote.bank")
def bank_not_accepted(s):
    _, algorithm, _ = tpmbytes.signature_parts(s.case.signature)
    rest = [b for b in tpmbytes.BANKS if b not in s.quote.selected and b != "sha1"]
    if tpmbytes.NAMES[algorithm] in s.quote.selected or not rest:
        raise DoesNotApply("the signature is by the same hash")
    return s.case.change(options=("--accept-hash", ",".join(rest), *s.case.options[2:]))


@operator("values", "ima.bank_padded")
def padded_bank_not_allowed(s):
    if "--allow-padded" not in s.case.options:
        raise DoesNotApply("the bank has its own hashes")
    return s.case.change(options=tuple(o for o in s.case.options if o != "--allow-padded"))
