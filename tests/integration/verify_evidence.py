#!/usr/bin/env python3
"""Checks one evidence with nothing but its schemas, `cryptography` and hashlib; written from docs/PROTOCOL.md alone.

usage: verify_evidence.py ROOT.PEM BUNDLE MARKERS-FOLDER AGENT EVIDENCE
Prints OK and exits 0 if root signed the bundle, a worker key of the bundle signed the marker that the evidence names, and
the quote's extraData is the hash over fleet, agent, nonce and body.
"""
import hashlib, io, json, struct, sys
from pathlib import Path
import fastavro
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def read(name, value):
    schema = json.loads((SCHEMAS / f"{name}.avsc").read_text())
    return fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, schema)


def signed_by(public, name, value):
    kind = f"avow.{name};{struct.unpack('<Q', value[2:10])[0]:016x}".encode()
    body, r, s = value[10:-72], int.from_bytes(value[-64:-32], "big"), int.from_bytes(value[-32:], "big")
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    public.verify(utils.encode_dss_signature(r, s), pae, ec.ECDSA(hashes.SHA256()))


root_pem, bundle_file, markers, agent, evidence_file = sys.argv[1:]
bundle_value = Path(bundle_file).read_bytes()
signed_by(serialization.load_pem_public_key(Path(root_pem).read_bytes()), "Bundle", bundle_value)
bundle = read("bundle", bundle_value)
workers = {k["id"]: serialization.load_der_public_key(k["spki"]) for k in bundle["keys"] if "worker" in k["roles"]}

evidence = read("evidence", Path(evidence_file).read_bytes())
body = read("body", evidence["body"])
for path in Path(markers).iterdir():
    value = path.read_bytes()
    marker = read("marker", value)
    if hashlib.sha256(marker["nonce"]).digest()[:8] == body["marker_tag"]:
        break
else:
    sys.exit("no marker has this tag")
signed_by(workers[value[-72:-64]], "Marker", value)

# TPMS_ATTEST: magic, type, TPM2B qualifiedSigner, TPM2B extraData (TPM 2.0 Part 2, 10.12.8)
attest = evidence["attest"]
(signer_len,) = struct.unpack(">H", attest[6:8])
at = 8 + signer_len
(extra_len,) = struct.unpack(">H", attest[at : at + 2])
extra = attest[at + 2 : at + 2 + extra_len]
name = agent.encode()
want = hashlib.sha256(
    b"avow/evidence/1\0" + bundle["fleet"] + struct.pack(">H", len(name)) + name + marker["nonce"]
    + hashlib.sha256(evidence["body"]).digest()
).digest()
if attest[:6] != b"\xffTCG\x80\x18" or extra != want:
    sys.exit("the quote does not cover this body for this agent")
print(f"OK epoch {marker['epoch']}, {body['ima_count']} IMA entries from {body['ima_start']}")
