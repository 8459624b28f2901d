"""The evidence of an honest run, checked by tools that are not ours."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from avowtest import records, topics

ALL_TOPICS = (
    "trust",
    "identities",
    "enrollments",
    "policies",
    "epochs",
    "evidence",
    "state",
    "verdicts",
    "revocations",
    "deadletter",
)


@pytest.fixture(scope="module")
def honest(thread):
    host = thread.host("honest")
    thread.trusted("honest")
    host.ima("add", "/usr/bin/two", records.hashlib.sha256(b"two").hexdigest())
    thread.trusted("honest", thread.last_epoch("honest"))
    return thread


def evidence_of(t, agent):
    for r in reversed(topics.read(t.site.broker.bootstrap, "avow.evidence")):
        if r.key == agent.encode():
            name, fields = records.decode(r.value)
            if name == "evidence":
                return r, fields
    raise LookupError(agent)


def test_ac5_fastavro_decodes_every_record_of_every_topic(honest):
    counts = {}
    for topic in ALL_TOPICS:
        for r in topics.read(honest.site.broker.bootstrap, "avow." + topic):
            name, fields = records.decode(r.value)
            # What fastavro writes from the fields is what we wrote: no second encoding exists.
            assert records.encode(name, fields) == r.value, f"{topic}@{r.partition}:{r.offset}"
            counts[name] = counts.get(name, 0) + 1
    print(counts)
    for name in ("bundle", "identity", "enrollment", "policy_head", "policy_chunk", "marker", "evidence", "state", "verdict"):
        assert counts.get(name), f"no {name} was seen"


def test_kcat_reads_what_the_agent_wrote(honest):
    record, _ = evidence_of(honest, "honest")
    done = subprocess.run(
        ["kcat", "-C", "-q", "-e", "-b", honest.site.broker.bootstrap, "-t", "avow.evidence", "-p", str(record.partition)]
        + ["-o", str(record.offset), "-c", "1", "-f", "%k %S"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == f"honest {len(record.value)}", done.stderr


def test_java_console_consumer_reads_verdicts(honest):
    there = topics.read(honest.site.broker.bootstrap, "avow.verdicts")
    partition = next(r.partition for r in there if r.key == b"honest")
    out = honest.site.broker.call(
        "tool",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server",
        honest.site.broker.bootstrap,
        "--topic",
        "avow.verdicts",
        "--partition",
        str(partition),
        "--offset",
        "earliest",
        "--max-messages",  # others go on writing
        str(sum(r.partition == partition for r in there)),
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.value=false",
        "--consumer-property",
        "isolation.level=read_committed",
    )
    assert "honest" in out.split()


def test_ac5_independent_script_verifies_proof_and_qualifying_data(honest, tmp_path):
    record, _ = evidence_of(honest, "honest")
    script = Path(__file__).with_name("verify_evidence.py")
    trust = topics.read(honest.site.broker.bootstrap, "avow.trust")[-1]
    (tmp_path / "bundle").write_bytes(trust.value)
    (tmp_path / "evidence").write_bytes(record.value)
    markers = tmp_path / "markers"
    markers.mkdir()
    for r in topics.read(honest.site.broker.bootstrap, "avow.epochs"):
        if r.key == b"marker" and r.partition == record.partition:
            (markers / str(r.offset)).write_bytes(r.value)
    args = [sys.executable, script, honest.site.dir / "root" / "root.pem", tmp_path / "bundle", markers]
    good = subprocess.run([*args, "honest", tmp_path / "evidence"], capture_output=True, text=True, timeout=60)
    assert good.returncode == 0 and "OK" in good.stdout, good.stdout + good.stderr
    wrong = subprocess.run([*args, "somebody", tmp_path / "evidence"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 1, "the script accepts any agent"


def test_tpm2_checkquote_accepts_the_quote(honest, tmp_path):
    _, evidence = evidence_of(honest, "honest")
    _, body = records.decode(evidence["body"])
    enrolled = [r for r in topics.read(honest.site.broker.bootstrap, "avow.enrollments") if r.key == b"honest"]
    ak = honest.view.trust.open("enroll", b"honest", enrolled[-1].value)["ak_public"]
    for name, data in (("ak.tpm2b", ak), ("attest", evidence["attest"]), ("sig", evidence["signature"])):
        (tmp_path / name).write_bytes(data)
    nonce = next(
        m["nonce"]
        for r in topics.read(honest.site.broker.bootstrap, "avow.epochs")
        if r.key == b"marker"
        for m in [honest.view.trust.open("worker", r.key, r.value)]
        if records.hashlib.sha256(m["nonce"]).digest()[:8] == body["marker_tag"]
    )
    qualifying = records.qualifying_data(honest.view.trust.bundle["fleet"], "honest", nonce, evidence["body"])
    subprocess.run(
        ["tpm2_print", "-t", "TPM2B_PUBLIC", "-f", "pem", tmp_path / "ak.tpm2b"],
        check=True,
        stdout=(tmp_path / "ak.pem").open("wb"),
        timeout=30,
    )
    command = ["tpm2_checkquote", "-u", tmp_path / "ak.pem", "-m", tmp_path / "attest", "-s", tmp_path / "sig", "-g", "sha256"]
    subprocess.run([*command, "-q", qualifying.hex()], check=True, capture_output=True, timeout=30)
    flipped = qualifying[:-1] + struct.pack("B", qualifying[-1] ^ 1)
    assert subprocess.run([*command, "-q", flipped.hex()], capture_output=True, timeout=30).returncode != 0
