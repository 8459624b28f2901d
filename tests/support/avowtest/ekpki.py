"""Chips and their makers: EKs of every kind in one software TPM, and certificate authorities, good and bad."""

import datetime
import ipaddress
import os
import re
import struct
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SWTPM = Path(__file__).resolve().parents[1] / "swtpm.sh"
EK_USAGE = ObjectIdentifier("2.23.133.8.1")
HARDWARE_MODULE_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.4")
TPM_RC_RETRY = 0x922  # "try again": TPM 2.0 Part 2 r1.38, 6.6.3
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


def run(*args, cwd=None, env=None) -> bytes:
    done = subprocess.run(
        [str(a) for a in args], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
    )
    if done.returncode:
        raise RuntimeError(f"{args}: {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Key:
    """A key of the chip: its context, its TPM2B_PUBLIC and its public key."""

    def __init__(self, chip: "Chip", name: str):
        self.chip, self.name = chip, name
        self.context = f"{name}.ctx"
        self.public = (chip.work / f"{name}.pub").read_bytes()
        chip.tool("readpublic", "-c", self.context, "-f", "pem", "-o", f"{name}.pem")
        self.key = serialization.load_pem_public_key((chip.work / f"{name}.pem").read_bytes())


class Chip:
    """A software TPM."""

    def __init__(self, folder: Path):
        self.dir = folder
        self.tcti = run(SWTPM, "start", folder).decode().strip()
        self.work = folder / "work"
        self.work.mkdir()

    def stop(self) -> None:
        run(SWTPM, "stop", self.dir)

    def raw(self, name: str, *args) -> bytes:
        return run(f"tpm2_{name}", *args, cwd=self.work, env={**os.environ, "TPM2TOOLS_TCTI": self.tcti})

    def tool(self, name: str, *args) -> bytes:
        out = self.raw(name, *args)
        self.raw("flushcontext", "-t")  # without a resource manager what a tool loaded stays loaded
        return out

    def ek(self, algorithm: str) -> Key:
        self.tool("createek", "-c", f"ek-{algorithm}.ctx", "-G", algorithm, "-u", f"ek-{algorithm}.pub")
        return Key(self, f"ek-{algorithm}")

    def ak(self, ek: Key, name: str, *options) -> Key:
        args = options or ("-G", "rsa", "-g", "sha256", "-s", "rsassa")
        self.tool("createak", "-C", ek.context, "-c", f"{name}.ctx", "-u", f"{name}.pub", *args)
        return Key(self, name)

    def primary(self, name: str, attributes: str, algorithm: str) -> Key:
        """A signing key of its own, as IAK or IDevID."""
        self.tool("createprimary", "-C", "e", "-c", f"{name}.ctx", "-G", algorithm, "-g", "sha256", "-a", attributes)
        self.tool("readpublic", "-c", f"{name}.ctx", "-f", "tss", "-o", f"{name}.pub")
        return Key(self, name)

    def open_credential(self, blob: bytes, ek: Key, ak: Key, policy: bool) -> bytes:
        """TPM2_ActivateCredential: low-range EKs want PolicySecret(endorsement), high-range ones the empty password."""
        (self.work / "blob").write_bytes(blob)
        auth = []
        if policy:
            self.tool("startauthsession", "--policy-session", "-S", "session.ctx")
            self.tool("policysecret", "-S", "session.ctx", "-c", "e")
            auth = ["-P", "session:session.ctx"]
        try:
            self.tool("activatecredential", "-c", ak.context, "-C", ek.context, "-i", "blob", "-o", "secret", *auth)
        finally:
            if policy:
                self.tool("flushcontext", "session.ctx")
        return (self.work / "secret").read_bytes()

    def certify(self, signer: Key, key: Key, qualifying: bytes) -> tuple[bytes, bytes]:
        """TPM2_Certify of `key` by `signer`: TPMS_ATTEST and TPMT_SIGNATURE. tpm2_certify has no qualifying data."""
        self.raw("readpublic", "-c", key.context)  # leaves it loaded, as there is no resource manager
        self.raw("readpublic", "-c", signer.context)
        handles = re.findall(r"0x(8[0-9A-Fa-f]{7})", self.raw("getcap", "handles-transient").decode())
        password = bytes.fromhex("40000009" "0000" "00" "0000")
        body = bytes.fromhex("".join(handles[:2])) + struct.pack(">I", 2 * len(password)) + 2 * password
        body += struct.pack(">H", len(qualifying)) + qualifying + b"\0\x10"  # the scheme of the key
        command = struct.pack(">HII", 0x8002, 10 + len(body), 0x148) + body
        (self.work / "command").write_bytes(command)
        code = TPM_RC_RETRY
        while code == TPM_RC_RETRY:
            answer = self.raw("send", "command")
            code = struct.unpack(">I", answer[6:10])[0]
        self.raw("flushcontext", "-t")
        if code:
            raise RuntimeError(f"TPM2_Certify: 0x{code:x}")
        size = struct.unpack(">H", answer[14:16])[0]
        end = 14 + struct.unpack(">I", answer[10:14])[0]
        return answer[16 : 16 + size], answer[16 + size : end]


class LocalCa:
    """swtpm_localca: root, intermediate and EK certificates as virtual machines have them; or a root alone."""

    def __init__(self, folder: Path, flat: bool = False):
        self.dir = folder
        folder.mkdir()
        (folder / "conf").write_text(
            f"statedir = {folder}\nsigningkey = {folder}/signkey.pem\nissuercert = {folder}/issuercert.pem\n"
            f"certserial = {folder}/certserial\n"
        )
        (folder / "options").write_text(
            "--platform-manufacturer Avow\n--platform-version 1.0\n--platform-model Test\n"
        )
        if flat:
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days",
                "3", "-subj", "/CN=flat root", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", folder / "signkey.pem", "-out", folder / "issuercert.pem")  # fmt: skip

    def issue(self, ek: Key) -> x509.Certificate:
        numbers = ek.key.public_numbers()
        if isinstance(ek.key, rsa.RSAPublicKey):
            spec = f"{numbers.n:x}"
        else:
            size = (ek.key.key_size + 3) // 4
            spec = f"x={numbers.x:0{size}x},y={numbers.y:0{size}x},id={ek.key.curve.name}"
        run("swtpm_localca", "--type", "ek", "--ek", spec, "--dir", self.dir, "--vmid", "avow", "--tpm2",
            "--decryption", "--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164",
            "--tpm-manufacturer", "id:00001014", "--tpm-model", "swtpm", "--tpm-version", "id:20191023",
            "--configfile", self.dir / "conf", "--optsfile", self.dir / "options")  # fmt: skip
        return x509.load_der_x509_certificate((self.dir / "ek.cert").read_bytes())

    @property
    def issuer(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.dir / "issuercert.pem").read_bytes())

    @property
    def root(self) -> x509.Certificate:
        path = self.dir / "swtpm-localca-rootca-cert.pem"
        return x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else self.issuer


class Authority:
    """A CA whose certificates are as wrong as a test wants them."""

    def __init__(self, name: str, above: "Authority | None" = None, ca: bool = True):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer, issuer = (above.key, above.name) if above else (self.key, self.name)
        usage = {n: n in ("key_cert_sign", "crl_sign") for n in USAGES}
        self.cert = (
            x509.CertificateBuilder(
                issuer, self.name, self.key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY
            )
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(x509.KeyUsage(**usage), True)
            .sign(signer, hashes.SHA256())
        )  # fmt: skip

    def ek_cert(self, key, start=NOW - DAY, end=NOW + DAY, usage=EK_USAGE) -> x509.Certificate:
        is_rsa = isinstance(key, rsa.RSAPublicKey)
        agree = "key_encipherment" if is_rsa else "key_agreement"
        tpm = x509.Name(
            [
                x509.NameAttribute(ObjectIdentifier("2.23.133.2.1"), "id:00001014"),
                x509.NameAttribute(ObjectIdentifier("2.23.133.2.2"), "test"),
                x509.NameAttribute(ObjectIdentifier("2.23.133.2.3"), "id:1"),
            ]
        )
        builder = (
            x509.CertificateBuilder(
                self.name, x509.Name([]), key, x509.random_serial_number(), start, end
            )
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.KeyUsage(**{n: n == agree for n in USAGES}), True)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(tpm)]), True)
        )
        return builder.sign(self.key, hashes.SHA256())

    def device_cert(self, key, serial: str, end=NOW + DAY) -> x509.Certificate:
        """IDevID or IAK: the device's serial number in a HardwareModuleName."""
        number = serial.encode()
        module = bytes([0x06, 0x03, 0x2A, 0x03, 0x04, 0x04, len(number)]) + number
        value = bytes([0x30, len(module)]) + module
        return (
            x509.CertificateBuilder(
                self.name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")]), key,
                x509.random_serial_number(), NOW - DAY, end,
            )
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.KeyUsage(**{n: n == "digital_signature" for n in USAGES}), True)
            .add_extension(x509.SubjectAlternativeName([x509.OtherName(HARDWARE_MODULE_NAME, value)]), False)
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip

    def server_cert(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Certificate and key files for a server at 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = (
            x509.CertificateBuilder(
                self.name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(),
                x509.random_serial_number(), NOW - DAY, NOW + DAY,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip
        cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        cert_file.write_text(pem(cert))
        key_file.write_bytes(private_pem(key))
        return cert_file, key_file

    def crl(self, *revoked: x509.Certificate, start=NOW - DAY, end=NOW + DAY) -> bytes:
        builder = x509.CertificateRevocationListBuilder(self.name, start, end)
        for cert in revoked:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(cert.serial_number, start).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
          "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def private_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem(*certs: x509.Certificate) -> str:
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certs)


def der(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.DER)


def store(folder: Path, *certs: x509.Certificate) -> Path:
    """A folder of CA certificates, one file each."""
    folder.mkdir(exist_ok=True)
    for i, cert in enumerate(certs):
        (folder / f"{i}.pem").write_text(pem(cert))
    return folder
