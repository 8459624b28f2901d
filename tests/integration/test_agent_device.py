"""avow-agent proves its device with IAK and IDevID: a software TPM with a maker's keys and certificates, our registrar, no
Kafka."""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from avowtest.ekpki import Authority, Chip, der, pem, store
from avowtest.proc import Proc, free_port
from avowtest.site import wait_for
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "registrar"))

from world import Pki, Registrar  # noqa: E402

IAK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
IDEVID_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
NV_ATTRIBUTES = "ownerwrite|ownerread|authread|no_da"
KINDS = {  # IAK, IDevID, handles as a maker chose them
    "ecc": ("ecc256:ecdsa-sha256:null", "ecc384:ecdsa-sha384:null", 0x81020001, 0x81020000),
    "rsa": ("rsa2048:rsapss-sha256:null", "rsa2048:rsassa-sha256:null", 0x81020011, 0x81020010),
}


class Rig:
    """A chip whose maker has put two pairs of keys into it, one pair of certificates into NV memory."""

    def __init__(self, folder: Path, bin_dir: Path):
        self.dir, self.bin = folder, bin_dir
        self.pki, self.maker = Pki(folder / "pki"), Authority("maker of devices")
        self.chip = Chip(folder / "chip")
        self.keys = {}
        for kind, (iak, idevid, iak_at, idevid_at) in KINDS.items():
            for name, attributes, algorithm, handle in (
                (f"iak-{kind}", IAK_ATTRIBUTES, iak, iak_at), (f"idevid-{kind}", IDEVID_ATTRIBUTES, idevid, idevid_at)
            ):  # fmt: skip
                self.keys[name] = self.chip.primary(name, attributes, algorithm)
                self.chip.tool("evictcontrol", "-C", "o", "-c", f"{name}.ctx", f"0x{handle:08x}")
                self.file(name).write_text("a maker's remark\r\n" + pem(self.cert(name)))
        for index, name in ((0x01C90000, "idevid-ecc"), (0x01C90001, "iak-ecc")):
            raw = der(self.cert(name))
            (self.chip.work / "cert").write_bytes(raw)
            self.chip.tool("nvdefine", f"0x{index:08x}", "-C", "o", "-s", len(raw) + 8, "-a", NV_ATTRIBUTES)
            self.chip.tool("nvwrite", f"0x{index:08x}", "-C", "o", "-i", "cert")
        root = ec.generate_private_key(ec.SECP256R1()).public_key()
        (folder / "root.pem").write_bytes(
            root.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        self.reg = Registrar(
            bin_dir / "avow-registrar", folder / "reg", self.pki, store(folder / "ek"), tpm_identity="iak_idevid",
            idevid_cert_store=store(folder / "makers", self.maker.cert),
        )  # fmt: skip
        self.reg.start()
        self.agents = []

    def file(self, name: str) -> Path:
        return self.dir / f"{name}.pem"

    def cert(self, name: str, serial="SN-0001", **kw):
        return self.maker.device_cert(self.keys[name].key, serial, **kw)

    def settings(self, kind: str, **changes) -> dict:
        _, _, iak, idevid = KINDS[kind]
        return {
            "iak": f"0x{iak:08x}", "iak_cert": self.file(f"iak-{kind}"), "idevid": f"0x{idevid:08x}",
            "idevid_cert": self.file(f"idevid-{kind}"), **changes,
        }  # fmt: skip

    def command(self, name: str, *options, **tpm) -> list:
        folder = self.dir / name
        folder.mkdir(exist_ok=True)
        (folder / "boot_id").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
        values = {
            "agent.id": name, "agent.root": self.dir / "root.pem", "agent.user": "root",
            "agent.state_dir": folder / "state", "agent.run_dir": folder / "run", "agent.ima_log": "", "agent.uefi_log": "",
            "agent.boot_id_file": folder / "boot_id", "tpm.tcti": self.chip.tcti,
            "registrar.url": f"http://127.0.0.1:{self.reg.http_port}", "kafka.bootstrap.servers": f"127.0.0.1:{free_port()}",
            **{f"tpm.{k}": v for k, v in tpm.items()},
        }  # fmt: skip
        words = [w for k, v in values.items() for w in ("--set", f"{k}={v}")]
        return [str(w) for w in (self.bin / "avow-agent", *options, *words)]

    def start(self, name: str, **tpm) -> Proc:
        agent = Proc(f"agent {name}", self.command(name, **tpm), self.dir / name / "log")
        self.agents.append(agent)
        return agent

    def refuses(self, name: str, **tpm) -> str:
        """The agent does not start; what it says."""
        done = subprocess.run(self.command(name, **tpm), capture_output=True, text=True, timeout=30)
        assert done.returncode != 0 and "Sanitizer" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def close(self) -> None:
        for a in self.agents:
            a.kill()
        self.reg.kill()
        self.chip.stop()


@pytest.fixture(scope="module")
def rig(tmp_path_factory, bin_dir):
    made = Rig(tmp_path_factory.mktemp("device"), bin_dir)
    yield made
    made.close()


def joins(rig: Rig, name: str, **tpm) -> tuple:
    agent = rig.start(name, **tpm)
    wait_for(lambda: " registered " in agent.output(), 30, f"{name} to register", agent)
    assert agent.stop() == 0 and "Sanitizer" not in agent.output()
    assert " iak=true" in agent.output()
    for kind in ("transient", "loaded-session", "saved-session"):  # others use the TPM too
        assert rig.chip.raw("getcap", f"handles-{kind}").strip() == b""
    return rig.reg.rows("SELECT trust_rule, trust_trusted, device_serial, ak_public FROM agents WHERE id = ?", name)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_agent_proves_its_device(rig, kind):
    rule, trusted, serial, ak = joins(rig, f"host-{kind}", **rig.settings(kind))
    assert (rule, trusted, serial) == ("iak-idevid", 1, "SN-0001")
    # After a restart the same AK is certified again, and the registrar knows it.
    assert joins(rig, f"host-{kind}", **rig.settings(kind))[3] == ak
    assert rig.reg.rows("SELECT regcount FROM agents WHERE id = ?", f"host-{kind}") == [(2,)]


def test_agent_finds_certificates_in_nv_memory_and_in_der(rig):
    nv = rig.settings("ecc", iak_cert="0x01c90001", idevid_cert="0x01c90000")
    assert joins(rig, "host-nv", **nv)[:3] == ("iak-idevid", 1, "SN-0001")
    raw = rig.dir / "iak.der"
    raw.write_bytes(der(rig.cert("iak-ecc")))
    assert joins(rig, "host-der", **rig.settings("ecc", iak_cert=raw))[:2] == ("iak-idevid", 1)


def test_agent_without_them_is_refused_by_such_a_registrar(rig):
    agent = rig.start("host-bare")
    agent.wait_output("register.failed", 30)
    assert "the agent gave no IAK and IDevID" in agent.output() and " iak=false" in agent.output()
    agent.stop()
    assert rig.reg.rows("SELECT * FROM agents WHERE id = 'host-bare'") == []


def test_certification_is_for_one_agent_and_one_key(rig):
    """What an agent sent once serves nobody else, and not itself with another AK."""
    register = rig.reg.register
    joins(rig, "host-first", **rig.settings("ecc"))
    q = hashlib.sha256(b"host-first").digest()
    chip = rig.chip
    ek = chip.ek("rsa")
    ak = chip.ak(ek, "stolen-ak")
    attest, sign = chip.certify(rig.keys["iak-ecc"], ak, q)
    b64 = lambda b: base64.b64encode(b).decode()  # noqa: E731
    seen = {
        "ek_tpm": b64(ek.public), "aik_tpm": b64(ak.public), "ip": "127.0.0.1", "port": 1,
        "mtls_cert": "disabled", "iak_tpm": b64(rig.keys["iak-ecc"].public), "iak_attest": b64(attest), "iak_sign": b64(sign),
        "iak_cert": pem(rig.cert("iak-ecc")), "idevid_tpm": b64(rig.keys["idevid-ecc"].public),
        "idevid_cert": pem(rig.cert("idevid-ecc")),
    }  # fmt: skip
    assert register("host-second", seen).json["status"] == "iak_attest: made for another agent id"
    assert register("host-first", seen).status == 200  # control: the body is good
    other = chip.ak(ek, "other-ak")
    assert register("host-first", {**seen, "aik_tpm": b64(other.public)}).status == 400


def test_settings_that_cannot_serve_are_said_at_start(rig):
    good = rig.settings("ecc")
    stranger = rig.dir / "stranger.pem"
    stranger.write_text(pem(rig.cert("iak-rsa")))
    junk = rig.dir / "junk.pem"
    junk.write_text("no certificate\n")
    for name, changes, want in [
        ("half", {"idevid_cert": ""}, "tpm.idevid_cert: is empty, and other parts"),
        ("no handle", {"iak": "81020001"}, "is no persistent handle like"),
        ("not persistent", {"iak": "0x80000001"}, "tpm.iak: \"0x80000001\" is no persistent handle"),
        ("relative", {"iak_cert": "iak.pem"}, "neither an absolute path nor an NV index"),
        ("no object", {"iak": "0x81029999"}, "tpm.iak: the TPM has no object 0x81029999"),
        ("no index", {"iak_cert": "0x01c90077"}, "tpm.iak_cert: NV index 0x01c90077: there is no certificate"),
        ("no file", {"idevid_cert": rig.dir / "nowhere"}, "tpm.idevid_cert"),
        ("junk", {"iak_cert": junk}, "tpm.iak_cert"),
        ("for another key", {"iak_cert": stranger}, "tpm.iak_cert: no certificate in it is for the key"),
        ("a key that cannot certify", {"iak": good["idevid"], "iak_cert": rig.file("idevid-ecc")}, None),
    ]:
        if want is None:  # the TPM lets any signing key certify; the registrar demands a restricted one
            agent = rig.start("host-weak", **rig.settings("ecc", **changes))
            agent.wait_output("register.failed", 30)
            assert "AK lacks restricted" in agent.output()
            agent.stop()
            continue
        said = rig.refuses("host-wrong", **rig.settings("ecc", **changes))
        assert want in said, (name, said)
    assert rig.reg.rows("SELECT * FROM agents WHERE id IN ('host-wrong', 'host-weak')") == []
    assert joins(rig, "host-right", **good)[1] == 1
