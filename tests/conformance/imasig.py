"""Signatures of files as the kernel has them, and certificates that lists teach; made without our code."""

import datetime
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_id(key) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest[-4:]


def spki(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate(key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "files")])
    day = datetime.datetime(2026, 1, 1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(day).not_valid_after(day + datetime.timedelta(9999))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def signature(key, digest: bytes) -> bytes:
    """Of a SHA-256 digest. linux v6.6 security/integrity/integrity.h, struct signature_v2_hdr."""
    made = key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return b"\3\2\4" + key_id(key) + struct.pack(">H", len(made)) + made
