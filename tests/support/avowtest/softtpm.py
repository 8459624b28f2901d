"""A TPM's part in registering, in Python: keys, and opening what MakeCredential made. For loads that no software TPM bears.

Written from TPM 2.0 Part 1, 11.4.10 (KDFa, KDFe) and 24 (credential protection); nothing of it is Avow's code.
"""

import base64
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

try:  # cryptography is moving it
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB

# TCG EK Credential Profile 2.3, B.3.3 and B.3.4: PolicySecret(TPM_RH_ENDORSEMENT).
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
SHA256, AES, CFB_MODE, NULL, ECDSA, P256 = 0x000B, 0x0006, 0x0043, 0x0010, 0x0018, 0x0003


def tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def coordinates(key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    n = key.public_numbers()
    return n.x.to_bytes(32, "big"), n.y.to_bytes(32, "big")


def kdf_a(key: bytes, label: str, context: bytes, bits: int) -> bytes:
    text = struct.pack(">I", 1) + label.encode() + b"\0" + context + struct.pack(">I", bits)
    return hmac.new(key, text, "sha256").digest()[: bits // 8]


class SoftTpm:
    """kind: "rsa" or "ecc", of the EK (templates L-1 and L-2). new_ak() makes another AK."""

    def __init__(self, kind: str = "ecc"):
        head = struct.pack(">HI", SHA256, 0x000300B2) + tpm2b(EK_POLICY)
        symmetric = struct.pack(">HHH", AES, 128, CFB_MODE)
        if kind == "rsa":
            self._ek = rsa.generate_private_key(65537, 2048)
            n = self._ek.public_key().public_numbers().n.to_bytes(256, "big")
            public = struct.pack(">H", 0x0001) + head + symmetric + struct.pack(">HHI", NULL, 2048, 0) + tpm2b(n)
        else:
            self._ek = ec.generate_private_key(ec.SECP256R1())
            x, y = coordinates(self._ek.public_key())
            public = struct.pack(">H", 0x0023) + head + symmetric + struct.pack(">HHH", NULL, P256, NULL) + tpm2b(x) + tpm2b(y)
        self.ek = tpm2b(public)
        self.new_ak()

    def new_ak(self) -> bytes:
        x, y = coordinates(ec.generate_private_key(ec.SECP256R1()).public_key())
        public = struct.pack(">HHIH", 0x0023, SHA256, 0x00050072, 0)
        public += struct.pack(">HHHHH", NULL, ECDSA, SHA256, P256, NULL) + tpm2b(x) + tpm2b(y)
        self.ak = tpm2b(public)
        self.ak_name = struct.pack(">H", SHA256) + hashlib.sha256(public).digest()
        return self.ak

    def _seed(self, wrapped: bytes) -> bytes:
        if isinstance(self._ek, rsa.RSAPrivateKey):
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
            return self._ek.decrypt(wrapped, oaep)
        x, y = wrapped[2:34], wrapped[36:68]
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        z = self._ek.exchange(ec.ECDH(), point.public_key())
        mine, _ = coordinates(self._ek.public_key())
        return hashlib.sha256(struct.pack(">I", 1) + z + b"IDENTITY\0" + x + mine).digest()

    def open_credential(self, blob: bytes) -> bytes:
        """What TPM2_ActivateCredential gives, from tpm2-tools' credential file."""
        if blob[:8] != bytes.fromhex("badcc0de00000001"):
            raise ValueError("no credential file")
        size = struct.unpack(">H", blob[8:10])[0]
        id_object, rest = blob[10 : 10 + size], blob[10 + size :]
        wrapped = rest[2 : 2 + struct.unpack(">H", rest[:2])[0]]
        seed = self._seed(wrapped)
        mac_len = struct.unpack(">H", id_object[:2])[0]
        mac, identity = id_object[2 : 2 + mac_len], id_object[2 + mac_len :]
        want = hmac.new(kdf_a(seed, "INTEGRITY", b"", 256), identity + self.ak_name, "sha256").digest()
        if not hmac.compare_digest(mac, want):
            raise ValueError("the credential is for another key")
        key = kdf_a(seed, "STORAGE", self.ak_name, 128)
        plain = Cipher(algorithms.AES(key), CFB(b"\0" * 16)).decryptor().update(identity)
        return plain[2 : 2 + struct.unpack(">H", plain[:2])[0]]

    def body(self, **changes) -> dict:
        return {
            "ek_tpm": base64.b64encode(self.ek).decode(), "aik_tpm": base64.b64encode(self.ak).decode(), "ekcert": None,
            "ip": "127.0.0.1", "port": 9002, "mtls_cert": "disabled", **changes,
        }  # fmt: skip

    def answer(self, blob_text: str, agent: str) -> str:
        """The auth_tag for `results.blob`."""
        secret = self.open_credential(base64.b64decode(blob_text))
        return hmac.new(base64.b64encode(secret), agent.encode(), "sha384").hexdigest()
