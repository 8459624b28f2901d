"""Avro records as they are on the topics, decoded and verified without Avow's own code."""

import hashlib
import hmac
import io
import json
import struct
from pathlib import Path

import fastavro
import fastavro.schema
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
PROOF_LEN = 72
MAC_LEN = 40
FRAME_LEN = 10


class Refused(Exception):
    """A record that does not prove itself."""


def _crc64_table():
    table = []
    for i in range(256):
        fp = i
        for _ in range(8):
            fp = (fp >> 1) ^ (0xC15D213AA4D7A795 if fp & 1 else 0)
        table.append(fp)
    return table


_CRC = _crc64_table()


def crc64_avro(data: bytes) -> int:
    """CRC-64-AVRO (Avro 1.11 specification, "Schema Fingerprints")."""
    fp = 0xC15D213AA4D7A795
    for byte in data:
        fp = (fp >> 8) ^ _CRC[(fp ^ byte) & 0xFF]
    return fp


class Schema:
    def __init__(self, path: Path):
        raw = json.loads(path.read_text())
        self.file = path.stem
        self.name = "avow." + raw["name"]
        self.parsed = fastavro.parse_schema(raw)
        self.fingerprint = crc64_avro(fastavro.schema.to_parsing_canonical_form(raw).encode())


def load_schemas():
    return {s.fingerprint: s for s in map(Schema, sorted(SCHEMAS.glob("*.avsc")))}


BY_FINGERPRINT = load_schemas()
BY_FILE = {s.file: s for s in BY_FINGERPRINT.values()}


def schema_of(value: bytes) -> Schema:
    if len(value) < FRAME_LEN or value[:2] != b"\xc3\x01":
        raise Refused("no single-object frame")
    (fingerprint,) = struct.unpack("<Q", value[2:10])
    if fingerprint not in BY_FINGERPRINT:
        raise Refused(f"unknown schema {fingerprint:016x}")
    return BY_FINGERPRINT[fingerprint]


def decode(value: bytes):
    """(schema file name, fields) of a framed record; the input must end where the record does."""
    schema = schema_of(value)
    stream = io.BytesIO(value[FRAME_LEN:])
    fields = fastavro.schemaless_reader(stream, schema.parsed, schema.parsed)
    if stream.read(1):
        raise Refused(f"{schema.name}: bytes after the record")
    return schema.file, fields


def encode(file: str, fields: dict) -> bytes:
    schema = BY_FILE[file]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, fields)
    return b"\xc3\x01" + struct.pack("<Q", schema.fingerprint) + out.getvalue()


def pae(value: bytes, tail: int = PROOF_LEN) -> bytes:
    """The signed bytes: DSSE pre-authentication encoding over the body without its proof (docs/PROTOCOL.md, B2)."""
    schema = schema_of(value)
    kind = f"{schema.name};{schema.fingerprint:016x}".encode()
    body = value[FRAME_LEN:-tail]
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def key_id(spki: bytes) -> bytes:
    return hashlib.sha256(spki).digest()[:8]


def verify(value: bytes, spki: bytes) -> None:
    """Raises Refused unless the trailing proof is by this P-256 key."""
    proof = value[-PROOF_LEN:]
    if proof[:8] != key_id(spki):
        raise Refused("signed by another key")
    r, s = int.from_bytes(proof[8:40], "big"), int.from_bytes(proof[40:72], "big")
    public = serialization.load_der_public_key(spki)
    try:
        public.verify(encode_dss_signature(r, s), pae(value), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as e:
        raise Refused("the proof does not verify") from e


def is_mac_by(value: bytes, key: bytes) -> bool:
    """Whether the trailing MAC of a state is by this key."""
    try:
        return hmac.compare_digest(hmac.new(key, pae(value, MAC_LEN), "sha256").digest(), value[-32:])
    except Refused:
        return False


def root_spki(pem: Path) -> bytes:
    public = serialization.load_pem_public_key(pem.read_bytes())
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class Trust:
    """A verified trust bundle: which keys may sign what."""

    def __init__(self, value: bytes, root: Path):
        verify(value, root_spki(root))
        name, self.bundle = decode(value)
        if name != "bundle":
            raise Refused(f"a {name} on topic trust")

    def open(self, role: str, kafka_key: bytes, value: bytes) -> dict:
        """Fields of a record that an active key with `role` signed, of this fleet, under this Kafka key."""
        name, fields = decode(value)
        if fields["fleet"] != self.bundle["fleet"] or fields["key"].encode() != kafka_key:
            raise Refused(f"{name}: another fleet or key")
        signer = value[-PROOF_LEN:][:8]
        for key in self.bundle["keys"]:
            if key["id"] == signer and role in key["roles"] and key["status"] == "active":
                verify(value, key["spki"])
                return fields
        raise Refused(f"{name}: no active key with role {role} signed it")


def qualifying_data(fleet: bytes, agent: str, nonce: bytes, body: bytes) -> bytes:
    """docs/PROTOCOL.md, B4."""
    name = agent.encode()
    return hashlib.sha256(
        b"avow/evidence/1\0" + fleet + struct.pack(">H", len(name)) + name + nonce + hashlib.sha256(body).digest()
    ).digest()
