"""What a TPM writes, read and written without our code: TPMS_ATTEST, TPMT_SIGNATURE, TPM2B_PUBLIC, files of tpm2-tools.

Also a signer that has the form of an attestation key. It is no TPM: it says whatever a test wants to have said, which is
how a machine is made whose list, log and PCRs agree and are bad.
"""

import hashlib
import struct
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

BANKS = {"sha1": 0x0004, "sha256": 0x000B, "sha384": 0x000C, "sha512": 0x000D}
NAMES = {number: name for name, number in BANKS.items()}
SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
RSASSA, RSAPSS, ECDSA = 0x0014, 0x0016, 0x0018
MAGIC, QUOTE, CERTIFY = 0xFF544347, 0x8018, 0x8017
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
AK_ATTRIBUTES = 0x00050072


def digest(name: str, *pieces: bytes) -> bytes:
    h = hashlib.new(name)
    for piece in pieces:
        h.update(piece)
    return h.digest()


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def bitmap(pcrs, size: int = 3) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return bits.to_bytes(size, "little")


def pcrs_of(bits: bytes) -> list[int]:
    number = int.from_bytes(bits, "little")
    return [i for i in range(8 * len(bits)) if number >> i & 1]


@dataclass
class Attest:
    """TPMS_ATTEST of a quote."""

    signer: bytes
    extra: bytes
    clock: int
    reset: int
    restart: int
    safe: int
    firmware: int
    selections: list[tuple[int, bytes]] = field(default_factory=list)
    pcr_digest: bytes = b""
    magic: int = MAGIC
    type: int = QUOTE

    @classmethod
    def parse(cls, data: bytes) -> "Attest":
        magic, kind, n = struct.unpack_from(">IHH", data)
        at = 8
        signer = data[at : at + n]
        at += n
        (n,) = struct.unpack_from(">H", data, at)
        extra = data[at + 2 : at + 2 + n]
        at += 2 + n
        clock, reset, restart, safe, firmware, count = struct.unpack_from(">QIIBQI", data, at)
        at += 29
        selections = []
        for _ in range(count):
            bank, size = struct.unpack_from(">HB", data, at)
            selections.append((bank, data[at + 3 : at + 3 + size]))
            at += 3 + size
        (n,) = struct.unpack_from(">H", data, at)
        value = data[at + 2 : at + 2 + n]
        assert at + 2 + n == len(data), "bytes after the attest"
        return cls(signer, extra, clock, reset, restart, safe, firmware, selections, value, magic, kind)

    def encode(self) -> bytes:
        out = struct.pack(">IH", self.magic, self.type) + sized(self.signer) + sized(self.extra)
        out += struct.pack(">QIIBQI", self.clock, self.reset, self.restart, self.safe, self.firmware, len(self.selections))
        for bank, bits in self.selections:
            out += struct.pack(">HB", bank, len(bits)) + bits
        return out + sized(self.pcr_digest)

    def change(self, **changes) -> "Attest":
        return replace(self, **changes)


class Signer:
    """Signs as an attestation key does. `family` is rsa (RSASSA), pss, p256, p384 or p521."""

    CURVES = {"p256": (ec.SECP256R1, 0x0003, "sha256"), "p384": (ec.SECP384R1, 0x0004, "sha384"), "p521": (ec.SECP521R1, 0x0005, "sha512")}

    def __init__(self, family: str = "p256", attributes: int = AK_ATTRIBUTES, key=None):
        self.family, self.attributes = family, attributes
        if family in ("rsa", "pss"):
            self.hash = "sha256"
            self.key = key or rsa.generate_private_key(65537, 2048)
        else:
            curve, self.curve, self.hash = self.CURVES[family]
            self.key = key or ec.generate_private_key(curve())

    def public(self) -> bytes:
        """TPM2B_PUBLIC."""
        rsa_key = self.family in ("rsa", "pss")
        scheme = RSASSA if self.family == "rsa" else RSAPSS if self.family == "pss" else ECDSA
        out = struct.pack(">HHIH", 0x0001 if rsa_key else 0x0023, BANKS["sha256"], self.attributes, 0)
        out += struct.pack(">HHH", 0x0010, scheme, BANKS[self.hash])
        numbers = self.key.public_key().public_numbers()
        if rsa_key:
            return sized(out + struct.pack(">HI", 2048, 0) + sized(numbers.n.to_bytes(256, "big")))
        size = (self.key.curve.key_size + 7) // 8
        out += struct.pack(">HH", self.curve, 0x0010)
        return sized(out + sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big")))

    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def qualified_name(self) -> bytes:
        name = struct.pack(">H", BANKS["sha256"]) + digest("sha256", self.public()[2:])
        return struct.pack(">H", BANKS["sha256"]) + digest("sha256", struct.pack(">I", 0x4000000B), name)

    def sign(self, data: bytes) -> bytes:
        """TPMT_SIGNATURE."""
        algorithm = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}[self.hash]()
        if self.family == "rsa":
            return struct.pack(">HH", RSASSA, BANKS[self.hash]) + sized(self.key.sign(data, padding.PKCS1v15(), algorithm))
        if self.family == "pss":
            pss = padding.PSS(padding.MGF1(algorithm), 32)
            return struct.pack(">HH", RSAPSS, BANKS[self.hash]) + sized(self.key.sign(data, pss, algorithm))
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(algorithm)))
        size = (self.key.curve.key_size + 7) // 8
        numbers = sized(r.to_bytes(size, "big")) + sized(s.to_bytes(size, "big"))
        return struct.pack(">HH", ECDSA, BANKS[self.hash]) + numbers


def signature_parts(data: bytes) -> tuple[int, int, list[bytes]]:
    """(scheme, hash, [signature] or [r, s])."""
    scheme, algorithm = struct.unpack_from(">HH", data)
    parts, at = [], 4
    while at < len(data):
        (n,) = struct.unpack_from(">H", data, at)
        parts.append(data[at + 2 : at + 2 + n])
        at += 2 + n
    return scheme, algorithm, parts


def signature_der(data: bytes) -> bytes:
    """What OpenSSL calls the signature."""
    scheme, _, parts = signature_parts(data)
    if scheme != ECDSA:
        return parts[0]
    return encode_dss_signature(int.from_bytes(parts[0], "big"), int.from_bytes(parts[1], "big"))


def tools_pcr_file(selections: list[tuple[str, list[int]]], values: list[bytes]) -> bytes:
    """The file of `tpm2_quote --pcrs_format=serialized`: little-endian structures of fixed size."""
    out = struct.pack("<I", len(selections))
    for i in range(16):
        if i < len(selections):
            bank, pcrs = selections[i]
            out += struct.pack("<HB4sx", BANKS[bank], 3, bitmap(pcrs))
        else:
            out += bytes(8)
    groups = [values[i : i + 8] for i in range(0, len(values), 8)]
    out += struct.pack("<I", len(groups))
    for group in groups:
        out += struct.pack("<I", len(group))
        for i in range(8):
            value = group[i] if i < len(group) else b""
            out += struct.pack("<H64s", len(value), value)
    return out


def values_of_tools_file(data: bytes) -> list[bytes]:
    """The values in such a file, in its order."""
    out, at = [], 136
    while at < len(data):
        (count,) = struct.unpack_from("<I", data, at)
        for i in range(count):
            n, room = struct.unpack_from("<H64s", data, at + 4 + 66 * i)
            out.append(room[:n])
        at += 4 + 66 * 8
    return out
