"""What an attacker needs: keys that sign our records, partitions, and quotes of TPMs that do as they are told.

Written from docs/PROTOCOL.md and the TPM specification; like the rest of this package it uses none of Avow's code.
"""

import hashlib
import struct
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from . import records

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
IMA_PCR = 10
PCRS = 24


def sha256(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


# --- Keys and records


class Signer:
    """A P-256 key that signs records as Avow's programs do: raw r||s, low s."""

    def __init__(self, key: ec.EllipticCurvePrivateKey):
        self.key = key
        self.spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.id = records.key_id(self.spki)

    @classmethod
    def load(cls, pem: Path) -> "Signer":
        return cls(serialization.load_pem_private_key(pem.read_bytes(), None))

    @classmethod
    def generate(cls) -> "Signer":
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def save(self, pem: Path) -> None:
        pem.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pem.chmod(0o600)

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def seal(file: str, fields: dict, signer: Signer | None) -> bytes:
    """The record with a proof by `signer`; None: with zeros where the proof belongs."""
    value = records.encode(file, {**fields, "proof": bytes(records.PROOF_LEN)})
    if signer is None:
        return value
    return value[: -records.PROOF_LEN] + signer.id + signer.sign(records.pae(value))


def bundle_key(signer: Signer, *roles: str, status: str = "active") -> dict:
    """An entry of the bundle's list of keys."""
    return {
        "id": signer.id,
        "alg": "ecdsa_p256",
        "spki": signer.spki,
        "roles": list(roles),
        "status": status,
        "names": [],
    }


def partition_of(key: bytes, count: int) -> int:
    """Kafka's default partitioner: murmur2 of the key (org.apache.kafka.common.utils.Utils)."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for (k,) in struct.iter_unpack("<I", key[:whole]):
        k = (k * m) & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = ((h * m) & mask) ^ k
    rest = key[whole:]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    h ^= h >> 15
    return (h & 0x7FFFFFFF) % count


# --- TPMs


def tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def order_of(attest: bytes) -> tuple[int, int]:
    """(resetCount, clock) of a TPMS_ATTEST."""
    at = 6
    for _ in range(2):  # qualifiedSigner, extraData
        at += 2 + struct.unpack(">H", attest[at : at + 2])[0]
    clock, reset_count = struct.unpack(">QI", attest[at : at + 12])
    return reset_count, clock


class SoftTpm:
    """A TPM whose key and counters the attacker owns: it signs whatever it is asked to."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pcrs = [sha256(struct.pack(">I", i)) for i in range(PCRS)]
        self.pcrs[IMA_PCR] = bytes(32)
        self.clock, self.reset_count, self.restart_count = 1000, 7, 1

    @property
    def ak_public(self) -> bytes:
        """TPM2B_PUBLIC of a restricted ECDSA P-256 signing key (TPM 2.0 Part 2, 12.2.4)."""
        n = self.key.public_key().public_numbers()
        attributes = 0x00050072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
        return tpm2b(
            struct.pack(">HHIH", 0x0023, 0x000B, attributes, 0)
            + struct.pack(">HHHHH", 0x0010, 0x0018, 0x000B, 0x0003, 0x0010)
            + tpm2b(n.x.to_bytes(32, "big"))
            + tpm2b(n.y.to_bytes(32, "big"))
        )

    def extend(self, pcr: int, digest: bytes) -> None:
        self.pcrs[pcr] = sha256(self.pcrs[pcr], digest)

    def values(self) -> list[bytes]:
        return list(self.pcrs)

    def reboot(self) -> None:
        self.reset_count += 1
        self.pcrs[IMA_PCR] = bytes(32)

    def quote(self, extra: bytes) -> tuple[bytes, bytes]:
        """TPMS_ATTEST over all PCRs of the SHA-256 bank, and TPMT_SIGNATURE (TPM 2.0 Part 2, 10.12.8, 11.3.4)."""
        self.clock += 10
        attest = (
            struct.pack(">IH", 0xFF544347, 0x8018)
            + tpm2b(struct.pack(">H", 0x000B) + bytes(32))
            + tpm2b(extra)
            + struct.pack(">QIIB", self.clock, self.reset_count, self.restart_count, 1)
            + struct.pack(">QIHB", 0x2019102300163636, 1, 0x000B, 3)
            + b"\xff\xff\xff"
            + tpm2b(sha256(*self.pcrs))
        )
        r, s = decode_dss_signature(self.key.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = struct.pack(">HH", 0x0018, 0x000B) + tpm2b(r.to_bytes(32, "big")) + tpm2b(s.to_bytes(32, "big"))
        return attest, signature


class ToolsTpm:
    """A software TPM with a primary AK in the endorsement hierarchy, driven by tpm2-tools."""

    ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"

    def __init__(self, tcti: str, folder: Path):
        self.tcti, self.folder = tcti, folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ak_public = self.make_ak()

    def tool(self, name: str, *args: str | Path) -> str:
        """Runs tpm2_NAME. There is no resource manager: what it loads is flushed when somebody else needs the room."""
        done = subprocess.run(
            [f"tpm2_{name}", "-T", self.tcti, *map(str, args)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"tpm2_{name}: {done.stderr.strip()}")
        return done.stdout

    def make_ak(self) -> bytes:
        """A primary key comes from the hierarchy's seed: the same after a reboot, and after TPM2_Clear."""
        self.tool("flushcontext", "-t")
        self.tool("createprimary", "-C", "e", "-G", "ecc256:ecdsa-sha256:null", "-a", self.ATTRIBUTES, "-c", "ak.ctx", "-Q")
        self.tool("readpublic", "-c", "ak.ctx", "-f", "tss", "-o", "ak.pub", "-Q")
        return (self.folder / "ak.pub").read_bytes()

    def extend(self, pcr: int, digest: bytes) -> None:
        self.tool("pcrextend", f"{pcr}:sha256={digest.hex()}")

    def values(self) -> list[bytes]:
        self.tool("pcrread", "sha256:all", "-o", "pcrs", "-Q")
        data = (self.folder / "pcrs").read_bytes()
        return [data[i : i + 32] for i in range(0, PCRS * 32, 32)]

    def quote(self, extra: bytes) -> tuple[bytes, bytes]:
        self.tool("flushcontext", "-t")
        self.tool("quote", "-c", "ak.ctx", "-l", "sha256:all", "-q", extra.hex(), "-m", "attest", "-s", "sig", "-Q")
        return (self.folder / "attest").read_bytes(), (self.folder / "sig").read_bytes()


# --- A host that is nothing but its TPM and a list


def ima_entry(path: str, digest: bytes) -> tuple[bytes, bytes]:
    """An ima-ng entry as the kernel's binary list has it, and what the SHA-256 bank is extended with."""
    name = path.encode() + b"\0"
    data = struct.pack("<I", 8 + len(digest)) + b"sha256:\0" + digest + struct.pack("<I", len(name)) + name
    entry = struct.pack("<I", IMA_PCR) + hashlib.sha1(data).digest() + struct.pack("<I", 6) + b"ima-ng"
    return entry + struct.pack("<I", len(data)) + data, sha256(data)


class Machine:
    """Measures files and makes evidence, honest unless told otherwise. Knows nothing of Kafka."""

    def __init__(self, name: str, fleet: bytes, tpm):
        self.name, self.fleet, self.tpm = name, fleet, tpm
        self.boot_id = sha256(name.encode())[:16]
        self.start_list()

    def start_list(self) -> None:
        self.entries: list[bytes] = []
        self.next = 0  # the first entry that was not sent yet
        self.all_values = True
        self.measure("boot_aggregate", sha256(*self.tpm.values()[:10]))

    def measure(self, path: str, digest: bytes) -> None:
        entry, extended = ima_entry(path, digest)
        self.entries.append(entry)
        self.tpm.extend(IMA_PCR, extended)

    def reboot(self) -> None:
        self.tpm.reboot()
        self.boot_id = sha256(self.boot_id)[:16]
        self.start_list()

    def resync(self, ima_from: int = 0) -> None:
        self.next, self.all_values = min(ima_from, len(self.entries)), True

    def body(self, marker: dict, part: bytes, **changes) -> dict:
        values = self.tpm.values()
        static = [(i, v) for i, v in enumerate(values) if i != IMA_PCR]
        return {
            "version": 1,
            "epoch": marker["epoch"],
            "marker_tag": sha256(marker["nonce"])[:8],
            "agent_version": "forged",
            "boot_id": self.boot_id,
            "bank": "sha256",
            "ima_state": "present",
            "ima_start": self.next,
            "ima_count": len(self.entries) - self.next,
            "log_trimmed": False,
            "pcrs": [{"index": i, "value": v} for i, v in static] if self.all_values else [],
            "pcr_static": sha256(*(v for _, v in static)),
            "boot_log": None,
            "payload_request": None,
            "more": False,
            "parts": 1 if part else 0,
            "link": sha256(sha256(part), bytes(32)) if part else None,
            **changes,
        }

    def parts(self, n: int) -> list[bytes]:
        """The entries that are due, in n parts of about as many."""
        due, out = self.entries[self.next :], []
        for i in range(n):
            frame = b"".join(due[len(due) * i // n : len(due) * (i + 1) // n])
            out.append(b"\1" + struct.pack(">I", len(frame)) + frame)
        return out

    def evidence_in_parts(self, marker: dict, cut: list[bytes], /, **changes) -> list[bytes]:
        """The head, and the records of the other parts; `changes` are to the body, and signed with it."""
        links = [bytes(32)]
        for part in reversed(cut):
            links.insert(0, sha256(sha256(part), links[0]))
        changes = {"parts": len(cut), "link": links[0], **changes}
        body = records.encode("body", self.body(marker, cut[0], **changes))
        attest, signature = self.tpm.quote(records.qualifying_data(self.fleet, self.name, marker["nonce"], body))
        self.next, self.all_values = len(self.entries), False
        nexts = [*links[1:-1], None]
        head = {"kind": "avow", "attest": attest, "signature": signature, "body": body, "part": cut[0], "next": nexts[0]}
        out = [records.encode("evidence", head)]
        for i in range(1, len(cut)):
            fields = {"tag": sha256(attest)[:16], "index": i + 1, "part": cut[i], "next": nexts[i]}
            out.append(records.encode("evidence_part", fields))
        return out

    def evidence(self, marker: dict, **changes) -> bytes:
        """The next evidence, answering `marker`; `changes` are to the body, and signed with it."""
        frame = b"".join(self.entries[self.next :])
        part = b"\1" + struct.pack(">I", len(frame)) + frame if frame else b""
        body = records.encode("body", self.body(marker, part, **changes))
        extra = records.qualifying_data(self.fleet, self.name, marker["nonce"], body)
        attest, signature = self.tpm.quote(extra)
        self.next, self.all_values = len(self.entries), False
        fields = {"kind": "avow", "attest": attest, "signature": signature, "body": body, "part": part, "next": None}
        return records.encode("evidence", fields)
