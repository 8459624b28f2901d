"""Revocations in other forms, and what an outside consumer needs to check one (docs/CONSUMERS.md)."""

import json
import subprocess
import sys

import pytest
from avowtest import topics
from avowtest.field import Field
from avowtest.forge import Signer, seal, sha256
from avowtest.records import decode

from conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def field(module_site):
    t = module_site()
    field = Field(t.site, t.view)
    field.thread = t
    field.stop_worker()
    field.site.start_worker("w1", output__cloudevents="yes", output__keylime="yes").wait_output("ready", 30)
    yield field
    field.close()


@pytest.fixture(scope="module")
def revoked(field):
    """A host that ran something bad, its revocation, and the record."""
    host = field.host("outputs")
    host.measure("/usr/bin/evil", sha256(b"evil"))
    assert host.attest()["status"] == "untrusted"
    fields, record = field.view.wait_revocation(host.name, lambda r: r["class"] == "revocation", 10, "revocation")
    field.settled(host.partition)
    return host, fields, record


def of(field, topic: str, key: str) -> list[dict]:
    """What a reader under read_committed finds, in the revocation's partition."""
    found = [r for r in topics.read(field.site.broker.bootstrap, field.prefix + topic) if r.key == key.encode()]
    assert {r.partition for r in found} <= {field.partition(key)}
    return [json.loads(r.value) for r in found]


def test_cloudevents__one_for_each_revocation__with_its_id(field, revoked):
    host, fields, _ = revoked
    (event,) = of(field, "revocations.cloudevents", host.name)
    assert event["specversion"] == "1.0" and event["type"] == "avow.revocation" and event["subject"] == host.name
    assert event["id"] == fields["id"].hex() and event["source"] == f"/avow/{field.fleet.hex()}"
    assert event["data"]["findings"][0]["id"] == "ima.digest_unknown" and event["data"]["to"] == "untrusted"


def test_keylime__one_for_each_revocation__as_its_consumers_expect(field, revoked):
    host, fields, _ = revoked
    (envelope,) = of(field, "revocations.keylime", host.name)
    assert set(envelope) == {"msg", "signature"}
    msg = json.loads(envelope["msg"])
    assert (msg["type"], msg["agent_id"]) == ("revocation", host.name)
    assert msg["event_id"].startswith("ima.") and msg["severity_label"] == fields["severity"]


def test_cli_and_worker__same_conversion(field, revoked):
    host, _, _ = revoked
    for name in ("cloudevents", "keylime"):
        text = field.site.avow("revocation", "tail", host.name, "--exit", "--format", name)
        (printed,), (published,) = [json.loads(line) for line in text.splitlines()], of(field, f"revocations.{name}", host.name)
        if name == "cloudevents":
            printed.pop("time"), published.pop("time")  # of the record on its topic, and of the decision
            assert printed == published
        else:
            a, b = json.loads(printed["msg"]), json.loads(published["msg"])
            a.pop("event_time"), b.pop("event_time")
            assert a == b


# --- One record, checked


def files(field, tmp_path, value: bytes):
    record, bundle, worker = tmp_path / "record", tmp_path / "bundle", tmp_path / "worker.pem"
    record.write_bytes(value)
    bundle.write_bytes(newest_bundle(field))
    subprocess.run(
        ["openssl", "pkey", "-in", field.site.dir / "worker" / "sign.pem", "-pubout", "-out", worker], check=True
    )
    return record, bundle, worker


def newest_bundle(field) -> bytes:
    return [r.value for r in topics.read(field.site.broker.bootstrap, field.prefix + "trust") if r.key == b"bundle"][-1]


def forgeries(field, fields, value):
    flipped = bytearray(value)
    flipped[40] ^= 1
    proof = bytearray(value)
    proof[-1] ^= 1
    return {
        "a byte of it": bytes(flipped),
        "a byte of the signature": bytes(proof),
        "signed by a stranger": seal("revocation", fields, Signer.generate()),
        "signed by nobody": seal("revocation", fields, None),
        "cut": value[:-1],
        "empty": b"",
    }


def test_revocation_verify__genuine_and_forged__exit_0_and_4(field, revoked, tmp_path):
    host, fields, record = revoked
    file, bundle, _ = files(field, tmp_path, record.value)
    root = field.site.dir / "root" / "root.pem"
    offline = ("--bundle", str(bundle), "--root", str(root))
    for how in ((), ("--key", host.name), offline):
        done = field.site.cli("revocation", "verify", str(file), *how)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"signed by a worker of this fleet: revocation of {host.name}, trusted -> untrusted\n"
    shown = json.loads(field.site.avow("revocation", "verify", str(file), "-o", "json"))
    assert (shown["key"], shown["id"]) == (host.name, fields["id"].hex())
    assert field.site.cli("revocation", "verify", str(file), "--key", "another").returncode == 4
    for name, value in forgeries(field, fields, record.value).items():
        file.write_bytes(value)
        for how in ((), offline):
            done = field.site.cli("revocation", "verify", str(file), *how)
            assert done.returncode == 4 and done.stdout == "", (name, done.stdout, done.stderr)
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"\0")
    file.write_bytes(record.value)
    assert field.site.cli("revocation", "verify", str(file), *offline).returncode == 4


def test_verify_without_kafka__broker_is_elsewhere__still_works(field, revoked, tmp_path):
    _, _, record = revoked
    file, bundle, _ = files(field, tmp_path, record.value)
    root = str(field.site.dir / "root" / "root.pem")
    done = field.site.cli(
        "--set", "kafka.bootstrap.servers=127.0.0.1:1",
        "revocation", "verify", str(file), "--bundle", str(bundle), "--root", root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", [[sys.executable, EXAMPLES / "verify_revocation.py"], ["java", EXAMPLES / "VerifyRevocation.java"]]
)
def test_example__genuine_and_forged__says_so(field, revoked, tmp_path, command):
    """The scripts of docs/CONSUMERS.md, as they stand there."""
    _, fields, record = revoked
    file, _, worker = files(field, tmp_path, record.value)

    def run() -> int:
        return subprocess.run([*command, file, worker], capture_output=True, text=True).returncode

    assert run() == 0
    assert decode(file.read_bytes())[1]["key"] == fields["key"]
    for name, value in forgeries(field, fields, record.value).items():
        file.write_bytes(value)
        assert run() != 0, name
