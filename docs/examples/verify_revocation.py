#!/usr/bin/env python3
"""verify_revocation.py RECORD WORKER.pem: says whether the worker's key signed the record, byte for byte as on the topic."""
import hashlib
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

record, pem = (open(name, "rb").read() for name in sys.argv[1:3])
key = serialization.load_pem_public_key(pem)
spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
body, signer, r, s = record[10:-72], record[-72:-64], record[-64:-32], record[-32:]
kind = b"avow.Revocation;" + record[9:1:-1].hex().encode()  # the schema's fingerprint, little-endian in the frame
signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
if record[:2] != b"\xc3\x01" or signer != hashlib.sha256(spki).digest()[:8]:
    sys.exit("not a record that this key signed")
signature = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))  # raises InvalidSignature
print("signed by this key")
