"""avow-agent as a host has it: key types, privileges, TLS and SASL, the registrar over HTTPS, the service manager, and every
mistake that an operator can make. One clear message with the next step, and the documented exit code."""

import contextlib
import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from avowtest import forge, records, topics
from avowtest.proc import Proc, free_port
from avowtest.site import SUPPORT, KafkaBroker, Site, runtime_policy, wait_for
from confluent_kafka import Producer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID, ObjectIdentifier

from conftest import GOOD, ROOT, Thread, sha256

NOBODY = 65534
TPM_CERT = {"L-2": "0x01c0000a", "H-6": "0x01c0001c"}
EK_ALGORITHM = {"L-2": "ecc", "H-6": "rsa3072"}

# --- What a TPM's vendor does


def tpm2(host, tool: str, *args: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        [f"tpm2_{tool}", *args], cwd=host.folder, env={**os.environ, "TPM2TOOLS_TCTI": host.tcti},
        input=stdin, capture_output=True, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"tpm2_{tool} {args}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def certify(host, template: str) -> None:
    """An EK certificate of the vendor's CA for another template than swtpm_setup makes, in its NV index."""
    tpm2(host, "createek", "-c", "ek.ctx", "-G", EK_ALGORITHM[template], "-f", "pem", "-u", "ek.pem")
    tpm2(host, "flushcontext", "-t")
    ca = host.site.folder / "tpm-ca"
    issuer = x509.load_pem_x509_certificate((ca / "issuercert.pem").read_bytes())
    key = serialization.load_pem_private_key((ca / "signkey.pem").read_bytes(), None)
    public = serialization.load_pem_public_key((host.folder / "ek.pem").read_bytes())
    rsa = template == "H-6"
    usage = {name: False for name in ("digital_signature", "content_commitment", "data_encipherment", "key_cert_sign")}
    usage.update(crl_sign=False, encipher_only=False, decipher_only=False, key_encipherment=rsa, key_agreement=not rsa)
    # TCG EK Credential Profile, 3.2.9: the TPM's manufacturer, model and version
    model = ((1, "id:00001014"), (2, "swtpm"), (3, "id:20191023"))
    tpm = x509.Name([x509.NameAttribute(ObjectIdentifier(f"2.23.133.2.{i}"), v) for i, v in model])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.name)]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(tpm)]), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier("2.23.133.8.1")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate"
    tpm2(host, "nvdefine", TPM_CERT[template], "-C", "p", "-s", str(len(cert)), "-a", attributes)
    tpm2(host, "nvwrite", TPM_CERT[template], "-C", "p", "-i", "-", stdin=cert)


def drop_certificate(host, index: str) -> None:
    tpm2(host, "nvundefine", index, "-C", "p")


# --- Keys and templates, on a real Kafka, through the registrar


def evidence_of(t, name: str) -> dict:
    for r in reversed(topics.read(t.site.broker.bootstrap, "avow.evidence")):
        if r.key == name.encode():
            return records.decode(r.value)[1]
    raise LookupError(name)


def signature_kind(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:2], "big"), int.from_bytes(signature[2:4], "big")


def measured_host(t, name: str):
    host = t.site.add_host(name)
    host.ima("add", "/usr/bin/one", GOOD["/usr/bin/one"][0])
    return host


RSASSA, RSAPSS, ECDSA, SHA256, SHA384 = 0x14, 0x16, 0x18, 0x0B, 0x0C


@pytest.mark.parametrize(
    "ek,ak,kind",
    [
        ("L-1", "rsassa", (RSASSA, SHA256)),
        ("L-1", "rsapss", (RSAPSS, SHA256)),
        ("L-2", "ecdsa", (ECDSA, SHA256)),
        ("H-3", "ecdsa-p384", (ECDSA, SHA384)),
        ("H-6", "ecdsa", (ECDSA, SHA256)),
    ],
)
def test_keys__registered_with_a_certificate_and_trusted(thread, ek, ak, kind):
    name = f"key-{ek}-{ak}".lower()
    host = measured_host(thread, name)
    if ek in TPM_CERT:
        certify(host, ek)
    host.start_agent(tpm__ek=ek, tpm__ak_alg=ak)
    host.agent.wait_output(" registered ", 30)
    thread.site.enrol(name, "--runtime-policy", "good")
    thread.trusted(name)
    assert signature_kind(evidence_of(thread, name)["signature"]) == kind
    identity = next(r for r in topics.read(thread.site.broker.bootstrap, "avow.identities") if r.key == name.encode())
    fields = thread.view.trust.open("registrar", identity.key, identity.value)
    assert fields["trust"]["trusted"] and fields["trust"]["ek_cert_sha256"], fields["trust"]
    # After a restart the same key goes on, and a file that is tampered with is still found.
    host.agent.stop()
    epoch = thread.last_epoch(name)
    host.start_agent()
    thread.trusted(name, epoch)
    assert "new_ak=false" in host.agent.output()
    host.ima("add", "/usr/bin/one", sha256(b"tampered"))
    thread.view.wait_revocation(name, lambda r: r["class"] == "revocation", 30, "revocation")
    host.agent.stop()


def test_enrolment_lists_ecdsa_only__rsa_is_dropped_with_algorithm(thread):
    host = measured_host(thread, "only-ecdsa")
    host.start_agent(tpm__ak_alg="rsassa")
    host.agent.wait_output(" registered ", 30)
    thread.site.enrol("only-ecdsa", "--runtime-policy", "good")
    verdict = thread.trusted("only-ecdsa")
    bootstrap = thread.site.broker.bootstrap
    record = [r for r in topics.read(bootstrap, "avow.enrollments") if r.key == b"only-ecdsa"][-1]
    fields = records.decode(record.value)[1]
    assert set(fields["sign_algs"]) >= {"rsassa", "ecdsa"}, "what the CLI enrols by default"
    fields.update(generation=fields["generation"] + 1, sign_algs=["ecdsa"])
    tenant = forge.Signer.load(thread.site.dir / "tenant" / "sign.pem")
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("avow.enrollments", forge.seal("enrollment", fields, tenant), b"only-ecdsa", partition=record.partition)
    assert producer.flush(10) == 0
    letter = thread.view.follower.wait(
        "avow.deadletter",
        lambda r: (d := records.decode(r.value)[1])["key"] == b"only-ecdsa" and d["reason"] == "algorithm" and d,
        30, "dead letter",
    )  # fmt: skip
    assert letter["reason"] == "algorithm"
    host.agent.stop()
    # The same host with the key that is allowed now: another AK, which is said, and which has to be accepted.
    host.start_agent(tpm__ak_alg="ecdsa")
    host.agent.wait_output("ak.replaced", 20)
    assert "the saved AK is rsassa, tpm.ak_alg says ecdsa" in host.agent.output()
    assert "reaccept" in host.agent.output()
    assert (host.folder / "state" / "ak.blob.old").exists()
    host.agent.wait_output(" registered ", 30)
    time.sleep(3)
    after = [v for v in thread.view.verdicts("only-ecdsa") if v["status"] == "trusted"]
    assert after[-1]["as_of_epoch"] < verdict["as_of_epoch"] + 30 and after[-1]["enrollment_generation"] == 1
    host.agent.stop()


def test_ek_changed__new_ak__is_said(thread):
    host = measured_host(thread, "other-ek")
    host.start_agent(tpm__ek="L-1")
    host.agent.wait_output(" started ", 20)
    assert "ek=L-1" in host.agent.output()
    host.agent.stop()
    blob = (host.folder / "state" / "ak.blob").read_bytes()
    host.start_agent(tpm__ek="H-3")
    host.agent.wait_output(" started ", 20)
    assert "below the EK of template L-1, tpm.ek now means H-3" in host.agent.output()
    assert "new_ak=true" in host.agent.output()
    assert (host.folder / "state" / "ak.blob.old").read_bytes() == blob
    # The registrar keeps an id for the TPM's EK that it knows.
    host.agent.stop()


# --- One installation without Kafka, whose folders other users may enter


class Hosts(Thread):
    def __init__(self, site: Site):
        super().__init__(site)
        self.count = 0

    def new(self, name: str | None = None, open_tpm: bool = True):
        """A host whose files another user than root can reach."""
        self.count += 1
        host = measured_host(self, name or f"h{self.count}")
        if open_tpm:
            for path in (host.folder / "tpm").glob("tpm.sock*"):
                path.chmod(0o777)
        return host


@pytest.fixture(scope="module")
def hosts(bin_dir):
    if os.geteuid() != 0:
        pytest.fail("these tests become another user: run them as root")
    base = Path(tempfile.mkdtemp(prefix="avow-hosts-", dir="/tmp"))
    base.chmod(0o755)
    site = Site(base / "site", bin_dir, kafka=False)
    try:
        site.__enter__()
        site.start_broker()
        site.init()
        site.apply_topics()
        site.start_registrar()
        site.start_worker()
        site.push_policy("good", runtime_policy(GOOD))
        h = Hosts(site)
        yield h
        h.close()
    finally:
        site.close()
        shutil.rmtree(base, ignore_errors=True)


def run_agent(host, *words: str, timeout: float = 20, user: int | None = None, env: dict | None = None, **settings):
    """Runs the agent to its end. (exit code, what it said)"""
    command = [*host.agent_command(**settings), *words]
    host.settings.clear()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, user=user,
        extra_groups=[] if user else None, env={**os.environ, **(env or {})},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def root_for_all(host) -> Path:
    """The root key, where another user than root finds it, as in /etc/avow."""
    path = host.folder / "root.pem"
    shutil.copyfile(host.site.dir / "root" / "root.pem", path)
    return path


def errors_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if " error " in line or line.startswith("avow-agent: ")]


# --- Privileges


def status_of(pid: int | str) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) if ":\t" in line else (line.rstrip(":"), "") for line in text.splitlines())


def assert_nothing_is_left(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        s = status_of(f"{pid}/task/{task.name}")
        assert s["Uid"].split() == [str(NOBODY)] * 4 and s["Gid"].split() == [str(NOBODY)] * 4, s
        assert s["Groups"].strip() == "", s["Groups"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(s[name], 16) == 0, f"{name}: {s[name]}"
        assert s["NoNewPrivs"].strip() == "1"


def test_root_is_given_up__and_the_list_of_root_is_still_read(hosts):
    host = hosts.new("modest")
    host.ima_log.chmod(0o600)  # as the kernel has it
    host.start_agent(agent__user="nobody")
    host.agent.wait_output(" registered ", 30)
    assert "privileges.dropped user=nobody" in host.agent.output()
    assert len(list(Path(f"/proc/{host.agent.pid}/task").iterdir())) > 2, "librdkafka's threads are there"
    assert_nothing_is_left(host.agent.pid)
    hosts.site.enrol("modest", "--runtime-policy", "good")
    assert hosts.trusted("modest")["boot"]["ima_entries"] == 2
    # Growth, read through what was opened as root; nobody could open the list anew.
    assert host.ima_log.stat().st_mode & 0o777 == 0o600
    for n in range(3, 6):
        epoch = hosts.last_epoch("modest")
        host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
        assert hosts.trusted("modest", epoch)["boot"]["ima_entries"] == n
    host.ima("add", "/usr/bin/one", sha256(b"tampered"))
    hosts.view.wait_revocation("modest", lambda r: r["class"] == "revocation", 30, "revocation")
    for path in (host.folder / "state", host.folder / "run", *(host.folder / "state").iterdir()):
        assert path.stat().st_uid == NOBODY, path
    assert host.agent.stop() == 0
    # A start as root again, with files that were root's (an upgrade): they are given to the user.
    for path in (host.folder / "state", *(host.folder / "state").iterdir()):
        os.chown(path, 0, 0)
    host.start_agent()
    host.agent.wait_output(" attested ", 20)
    assert (host.folder / "state" / "ak.blob").stat().st_uid == NOBODY
    assert "new_ak=false" in host.agent.output()
    host.agent.stop()


def test_list_replaced_after_root_was_given_up__says_so(hosts):
    """A reboot without a restart of the agent exists in rigs only; what matters is that it is not silent."""
    host = hosts.new()
    host.ima_log.chmod(0o600)
    host.start_agent(agent__user="nobody")
    host.agent.wait_output(" attested ", 30)
    copy = host.ima_log.with_name("copy")
    copy.write_bytes(host.ima_log.read_bytes())
    copy.chmod(0o600)
    copy.rename(host.ima_log)
    host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    host.agent.wait_output("Permission denied; start avow-agent as root", 20)
    host.agent.stop()


def silent_server() -> tuple[socket.socket, int]:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(8)
    return server, server.getsockname()[1]


def registration_process(agent: int) -> int | None:
    """The child of the agent that has become avow-agent-register; a child may end while it is looked at."""
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "avow-agent-register" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
    return None


def test_registration_process__has_no_more_than_its_pipes(hosts):
    host = hosts.new()
    server, port = silent_server()
    with server:
        host.start_agent(
            env={"AVOW_KAFKA_SASL_PASSWORD": "secret"}, agent__user="nobody", registrar__url=f"http://127.0.0.1:{port}"
        )
        child = wait_for(lambda: registration_process(host.agent.pid), 20, "the registration process", host.agent)
        assert_nothing_is_left(child)
        assert Path(f"/proc/{child}/environ").read_bytes() == b""
        links = {int(p.name): os.readlink(p) for p in Path(f"/proc/{child}/fd").iterdir()}
        assert {0, 1, 2} <= set(links) and links[0].startswith("pipe:") and links[1].startswith("pipe:")
        others = [v for k, v in links.items() if k > 2]
        assert all(v.startswith(("socket:", "anon_inode:", "pipe:")) for v in others) and len(others) <= 4, links
        # A registrar that hangs delays nothing: neither attesting nor the end.
        host.agent.wait_output(" attested ", 30)
        started = time.monotonic()
        assert host.agent.stop() == 0
        assert time.monotonic() - started < 10  # the registrar would hang for minutes
        wait_for(lambda: not Path(f"/proc/{child}").exists(), 5, "the registration process is gone")


@pytest.mark.parametrize("what", ["other files", "another user", "a link", "hard link"])
def test_state_folder_that_is_not_the_agents_own__is_not_given_away(hosts, what):
    host = hosts.new()
    folder, victim = host.folder / "shared", host.folder / "victim"
    folder.mkdir()
    victim.write_text("precious")
    if what == "other files":
        (folder / "database").write_text("x")
    elif what == "another user":
        os.chown(folder, 1, 1)
    elif what == "a link":
        (folder / "ak.blob").symlink_to(victim)
    else:
        os.link(victim, folder / "ak.blob")
    code, said = run_agent(host, agent__user="nobody", agent__state_dir=folder)
    assert code in (1, 2) and "agent.state_dir" in said, said
    assert len(errors_in(said)) == 1
    assert victim.stat().st_uid == 0 and victim.read_text() == "precious"
    assert folder.stat().st_uid != NOBODY


def test_user_that_does_not_exist__is_a_configuration_error(hosts):
    host = hosts.new()
    for words in ([], ["--check-config"]):
        code, said = run_agent(host, *words, agent__user="nosuchuser")
        assert code == 2 and "no user nosuchuser" in said and "useradd" in said


def test_started_by_another_user_than_configured__is_a_configuration_error(hosts):
    host = hosts.new()
    code, said = run_agent(host, user=NOBODY, agent__user="root", agent__root=root_for_all(host))
    assert code == 2 and "agent.user" in said and "start it as root" in said, said


# --- The service manager


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o777)  # as systemd's
        self.heard: list[str] = []

    def wait(self, text: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.heard:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except TimeoutError:
                pytest.fail(f"{text} was not heard within {timeout} s: {self.heard}")

    def drain(self) -> None:
        self.socket.setblocking(False)
        try:
            while True:
                self.heard.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            pass


def test_notify__ready_status_watchdog_stopping(hosts):
    host = hosts.new()
    manager = Manager(host.folder / "notify")
    host.start_agent(
        env={"NOTIFY_SOCKET": str(host.folder / "notify"), "WATCHDOG_USEC": "1000000"}, agent__user="nobody"
    )
    manager.wait("READY=1", 30)
    host.agent.wait_output(" attested ", 20)
    time.sleep(3)
    manager.drain()
    assert manager.heard.count("READY=1") == 1
    assert any(h.startswith("STATUS=attesting: epoch ") for h in manager.heard), manager.heard
    assert 4 <= manager.heard.count("WATCHDOG=1") <= 20, manager.heard
    # A loop that hangs feeds nobody.
    host.agent.signal(signal.SIGSTOP)
    manager.drain()
    before = manager.heard.count("WATCHDOG=1")
    time.sleep(1.5)
    manager.drain()
    assert manager.heard.count("WATCHDOG=1") == before
    host.agent.signal(signal.SIGCONT)
    host.agent.stop()
    manager.drain()
    assert manager.heard[-1] == "STOPPING=1"


def test_notify__without_a_bundle__not_ready_but_says_why(hosts):
    host = hosts.new()
    manager = Manager(host.folder / "notify")
    settings = {"kafka__bootstrap.servers": f"127.0.0.1:{free_port()}", "registrar__url": ""}
    host.start_agent(env={"NOTIFY_SOCKET": str(host.folder / "notify")}, **settings)
    host.agent.wait_output("kafka.unreachable", 20)
    time.sleep(0.5)
    manager.drain()
    assert "READY=1" not in manager.heard
    assert any(h.startswith("STATUS=Kafka: ") and "bootstrap.servers" in h for h in manager.heard), manager.heard
    host.agent.stop()


def test_unit__systemd_accepts_it(bin_dir, tmp_path):
    unit = (ROOT / "deploy" / "systemd" / "avow-agent.service").read_text()
    assert "Type=notify" in unit and "WatchdogSec=" in unit
    path = tmp_path / "avow-agent.service"
    path.write_text(unit.replace("/usr/bin/avow-agent", str(bin_dir / "avow-agent")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=60,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert done.returncode == 0 and "avow-agent" not in done.stderr, done.stderr


# --- The configuration, checked without connecting


CONFIG_MISTAKES = [
    ("[agent]\nid = host one\n", "agent.id", "neither hash_ek nor a name"),
    ("[agent]\nrott = /x\n", "agent.rott", "unknown key"),
    ("[agnet]\nid = x\n", "agnet.id", "unknown key"),
    ("[agent]\nroot = /nonexistent/root.pem\n", "agent.root", "No such file"),
    ("[agent]\nroot = @garbage@\n", "agent.root", "root/root.pem"),
    ("[agent]\nima_poll_ms = 1\n", "agent.ima_poll_ms", "10"),
    ("[agent]\nstate_dir = state\n", "agent.state_dir", "absolute"),
    ("[agent]\nstate_dir = @garbage@\n", "agent.state_dir", "not a folder"),
    ("[agent]\nboot_id_file = /nonexistent\n", "agent.boot_id_file", "No such file"),
    ("[tpm]\ntcti = /dev/tpmrm0\n", "tpm.tcti", "device:/dev/tpmrm0"),
    ("[tpm]\ntcti = device:tpmrm0\n", "tpm.tcti", "device:/dev/tpmrm0"),
    ("[tpm]\nek = H-5\n", "tpm.ek", "auto|L-1"),
    ("[tpm]\nak_alg = rsa\n", "tpm.ak_alg", "ecdsa-p384"),
    ("[tpm]\nbank = md5\n", "tpm.bank", "sha256"),
    ("[registrar]\nurl = registrar:8890\n", "registrar.url", "http:// or https://"),
    ("[registrar]\nurl = https://\n", "registrar.url", "names no host"),
    ("[registrar]\nurl = https://user:pw@host\n", "registrar.url", ""),
    ("[registrar]\nurl = http://host\nca = @garbage@\n", "registrar.ca", "https://"),
    ("[registrar]\nurl = https://host\nca = /nonexistent\n", "registrar.ca", "No such file"),
    ("[registrar]\nurl = https://host\nca = @garbage@\n", "registrar.ca", "no PEM"),
    ("[topic]\nprefix = a b\n", "topic.prefix", "topic's name"),
    ("[kafka]\nssl.ca.loction = /x\n", "kafka.ssl.ca.loction", "no such property"),
    ("[kafka]\nsecurity.protocol = tls\n", "kafka.security.protocol", ""),
    ("[kafka]\nssl.key.location = /nonexistent/key\n", "kafka.ssl.key.location", "No such file"),
    ("[kafka]\nssl.certificate.location = @garbage@\n", "kafka.ssl.certificate.location", "no PEM"),
    ("[kafka]\nacks = 0\n", "kafka.acks", "Avow itself"),
    ("[agent]\nid = x\nid = y\n", "agent.id", "twice"),
    ("[agent\n", "", "]"),
]


@pytest.mark.parametrize("text,key,why", CONFIG_MISTAKES, ids=[re.sub(r"\W+", "-", t)[1:40] for t, _, _ in CONFIG_MISTAKES])
def test_check_config__mistake__exit_2_with_file_and_line(hosts, tmp_path, text, key, why):
    garbage = tmp_path / "garbage"
    garbage.write_text("not what it should be\n")
    base = (hosts.site.dir / "conf" / "agent.conf").read_text()
    config = tmp_path / "agent.conf"
    config.write_text(base)
    dropin = tmp_path / "agent.conf.d"
    dropin.mkdir()
    (dropin / "50-site.conf").write_text("# a site's own\n" + text.replace("@garbage@", str(garbage)))
    line = 2 + max(i for i, t in enumerate(text.splitlines()))
    for words in (["--check-config"], []):  # a start says the same
        done = subprocess.run(
            [hosts.site.bin / "avow-agent", "--config", config, *words], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 2, done.stderr
        message = done.stderr.strip()
        assert len(message.splitlines()) == 1, message
        assert message.startswith(f"avow-agent: {dropin}/50-site.conf:{line}: "), message
        assert key in message and why in message, message


def test_check_config__good__exit_0_and_what_is_worth_knowing(hosts):
    host = hosts.new()
    code, said = run_agent(host, "--check-config")
    assert code == 0 and "registrar.url is http://" in said and "UEFI log" in said, said
    code, said = run_agent(host, "--check-config", tpm__tcti="device:/dev/nonexistent")
    assert code == 0 and "the agent would not start" in said
    # The order of the sources, and a broken value in the environment
    code, said = run_agent(host, "--check-config", env={"AVOW_TPM_EK": "L-9"})
    assert code == 2 and "environment AVOW_TPM_EK" in said, said
    key = host.folder / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    key.chmod(0o600)
    settings = {"kafka__ssl.key.location": key}
    assert run_agent(host, "--check-config", agent__user="root", **settings)[0] == 0
    code, said = run_agent(host, "--check-config", agent__user="nobody", **settings)
    assert code == 2 and "user nobody has to read it" in said and "chmod 0640" in said, said


# --- What can be wrong with a host


def test_no_tpm__exit_1_and_where_to_look(hosts):
    host = hosts.new()
    code, said = run_agent(host, tpm__tcti="device:/dev/nonexistent")
    assert code == 1 and len(errors_in(said)) == 1, said
    assert "device:/dev/nonexistent" in said and "ls /dev/tpm*" in said
    code, said = run_agent(host, tpm__tcti=f"swtpm:path={host.folder}/nowhere.sock")
    assert code == 1 and "nowhere.sock" in said and "tpm.tcti" in said


def test_tpm_with_an_endorsement_password__exit_1_and_the_tool(hosts):
    host = hosts.new()
    # The persistent EK needs no password, the policy of its children does.
    tpm2(host, "changeauth", "-c", "endorsement", "secret")
    code, said = run_agent(host)
    assert code == 1 and "password" in said and "tpm2_changeauth" in said, said


def test_ek_that_the_tpm_cannot_make__exit_2(hosts):
    code, said = run_agent(hosts.new(), tpm__ek="H-7")
    assert code == 2 and "tpm.ek" in said and "H-7" in said, said


def test_tpm_without_ek_certificate__attests_and_says_why_it_cannot_register(hosts):
    host = hosts.new()
    drop_certificate(host, "0x01c00002")
    host.start_agent(tpm__ek="L-1")
    host.agent.wait_output("register.failed", 30)
    said = next(line for line in host.agent.output().splitlines() if "register.failed" in line)
    assert "HTTP 403" in said and "this TPM holds no EK certificate" in said, said
    assert "ek_cert=false" in host.agent.output()
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()


def test_unreadable_list__exit_2_for_a_user__and_root_is_the_answer(hosts):
    host = hosts.new()
    host.ima_log.chmod(0o600)
    os.chown(host.folder, NOBODY, NOBODY)
    settings = {"agent__state_dir": host.folder / "state", "agent__run_dir": "", "agent__root": root_for_all(host)}
    code, said = run_agent(host, user=NOBODY, **settings)
    assert code == 2 and "agent.ima_log" in said and "Permission denied" in said and "as root" in said, said


def test_list_that_is_not_there__is_said_and_attested_as_absent(hosts):
    host = hosts.new()
    host.start_agent(agent__ima_log=host.folder / "nowhere")
    host.agent.wait_output(" attested ", 30)
    assert "ima.absent" in host.agent.output() and "securityfs" in host.agent.output()
    host.agent.stop()


@pytest.fixture
def small_disk(hosts):
    """A real file system of 64 KiB."""
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=hosts.site.folder))
    folder.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", folder], check=True, timeout=20)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=20)
    folder.rmdir()


def fill(folder: Path) -> Path:
    path = folder / "ak.blob.fill"  # a name that the agent takes for its own
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    return path


def test_full_disk__first_start__exit_1__and_later_it_works(hosts, small_disk):
    host = hosts.new()
    state = small_disk / "state"
    state.mkdir()
    filler = fill(state)
    code, said = run_agent(host, agent__state_dir=state, agent__user="nobody")
    assert code == 1 and len(errors_in(said)) == 1, said
    assert "No space left on device" in said and "make room" in said and "agent.state_dir" in said
    assert sorted(p.name for p in state.iterdir()) == [filler.name], "nothing half-written is left"
    filler.unlink()
    host.start_agent(agent__state_dir=state, agent__user="nobody")
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()


def test_full_disk__while_running__attests_and_says_what_is_lost(hosts, small_disk):
    host = hosts.new()
    state = small_disk / "state"
    state.mkdir()
    host.start_agent(agent__state_dir=state, agent__run_dir=state / "run", registrar__url="")
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()
    (state / "bundle.avro").unlink()
    fill(state)
    host.start_agent()
    host.agent.wait_output("bundle.not_saved", 30)
    said = next(line for line in host.agent.output().splitlines() if "bundle.not_saved" in line)
    assert "No space left on device" in said and "effect=" in said and "next=" in said
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()


def test_corrupt_bundle__is_said__and_the_topic_heals_it(hosts):
    host = hosts.new()
    host.start_agent()
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()
    path = host.folder / "state" / "bundle.avro"
    good = path.read_bytes()
    for bad in (b"", b"garbage", good[:-1], good[:-1] + bytes([good[-1] ^ 1]), good + b"x", bytes(70000)):
        path.write_bytes(bad)
        host.start_agent()
        host.agent.wait_output(" attested ", 30)
        said = next(line for line in host.agent.output().splitlines() if "bundle.copy_refused" in line)
        assert "bundle.avro" in said and "next=" in said
        host.agent.stop()
        assert path.read_bytes() == good


def test_corrupt_ak_blob__is_put_aside_and_replaced(hosts):
    host = hosts.new()
    host.start_agent()
    host.agent.wait_output(" attested ", 30)
    host.agent.stop()
    path = host.folder / "state" / "ak.blob"
    good = path.read_bytes()
    for bad in (b"", b"garbage", good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1]), bytes(70000)):
        path.write_bytes(bad)
        host.start_agent()
        host.agent.wait_output(" started ", 30)
        said = next(line for line in host.agent.output().splitlines() if "ak.replaced" in line)
        assert "ak.blob.old" in said and "reaccept" in said
        host.agent.stop()
        assert path.with_name("ak.blob.old").read_bytes() == bad
        assert path.read_bytes() not in (bad, good)


def test_unreachable_broker__one_line_a_minute__and_it_comes_back(hosts):
    host = hosts.new()
    port = free_port()
    settings = {"kafka__bootstrap.servers": f"127.0.0.1:{port}", "registrar__url": ""}
    host.start_agent(**settings)
    host.agent.wait_output("kafka.unreachable", 20)
    time.sleep(4)  # further attempts
    lines = [line for line in host.agent.output().splitlines() if " warn " in line and "privileges" not in line]
    assert len(lines) == 1 and "next=" in lines[0] and f"127.0.0.1:{port}" in lines[0], lines
    host.agent.stop()


# --- Kafka with TLS and passwords


class SecureKafka(KafkaBroker):
    def __init__(self, folder: Path):
        self.script = SUPPORT / "kafka" / "kafka.sh"
        self.env = {
            **os.environ,
            "KAFKA_ROOT": str(folder),
            "KAFKA_LIB": str(ROOT / "build" / "kafka" / "lib"),
            "KAFKA_WATCH": str(os.getpid()),
            "KAFKA_SECURE": "1",
            "KAFKA_USERS": "agent-sasl:right",
        }
        self.call("fetch", timeout=600)
        self.bootstrap = self.call("start", "1").strip().splitlines()[-1]
        env = dict(line.split("=", 1) for line in (folder / "cluster.env").read_text().splitlines())
        self.sasl, self.tls = env["KAFKA_SASL_BOOTSTRAP"], folder / "tls"


def tls_settings(broker, name: str) -> dict[str, str]:
    return {
        "security.protocol": "ssl",
        "ssl.ca.location": str(broker.tls / "ca.pem"),
        "ssl.certificate.location": str(broker.tls / f"{name}.pem"),
        "ssl.key.location": str(broker.tls / f"{name}.pem"),
    }


@pytest.fixture(scope="module")
def secure(tmp_path_factory, bin_dir):
    site = Site(tmp_path_factory.mktemp("secure"), bin_dir, partitions=2)
    try:
        site.__enter__()
        broker = site.broker = SecureKafka(site.folder / "kafka")
        for name in ("agent-tls", "nobody"):
            broker.call("cert", name)
        # What deploy/README.md grants an agent, and nothing else.
        add = ["acl", "--add", "--allow-principal", "User:agent-tls", "--allow-principal", "User:agent-sasl"]
        broker.call(*add, "--operation", "Write", "--operation", "Describe", "--topic", "avow.evidence")
        broker.call(*add, "--operation", "Read", "--operation", "Describe", "--topic", "avow.trust", "--topic", "avow.epochs")
        site.init()
        for program in ("avow", "worker", "registrar"):
            folder = site.dir / "conf" / f"{program}.conf.d"
            folder.mkdir()
            lines = [f"{k} = {v}" for k, v in tls_settings(broker, "admin").items()]
            (folder / "tls.conf").write_text("[kafka]\n" + "\n".join(lines) + "\n")
        site.apply_topics()
        site.start_registrar()
        site.start_worker()
        site.push_policy("good", runtime_policy(GOOD))
        yield site
    finally:
        site.close()


def kafka(**settings) -> dict[str, str]:
    return {f"kafka__{k.replace('__', '.')}": str(v) for k, v in settings.items()}


def logins(site) -> dict[str, dict[str, str]]:
    b, tls = site.broker, site.broker.tls
    mutual = {"bootstrap.servers": b.bootstrap, **tls_settings(b, "agent-tls")}
    sasl = {
        "bootstrap.servers": b.sasl, "security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN",
        "sasl.username": "agent-sasl", "sasl.password": "right", "ssl.ca.location": tls / "ca.pem",
    }  # fmt: skip
    without = {k: v for k, v in mutual.items() if not k.startswith(("ssl.cert", "ssl.key"))}
    return {
        "mutual TLS": mutual,
        "SASL": sasl,
        "wrong CA": {**mutual, "ssl.ca.location": site.dir / "tls" / "ca.pem"},
        "no certificate": without,
        "certificate of another CA": {
            **mutual, "ssl.certificate.location": site.dir / "tls" / "admin.pem", "ssl.key.location": site.dir / "tls" / "admin.key",
        },
        "wrong password": {**sasl, "sasl.password": "wrong"},
        "unknown mechanism": {**sasl, "sasl.mechanism": "SCRAM-SHA-256"},
        "plain text": {"bootstrap.servers": b.bootstrap, "security.protocol": "plaintext"},
        "no rights": {**mutual, **tls_settings(b, "nobody")},
        "missing file": {**mutual, "ssl.certificate.location": tls / "nowhere.pem"},
        "no password": {k: v for k, v in sasl.items() if k != "sasl.password"},
    }  # fmt: skip


def secure_host(site, name: str, login: str, **settings):
    host = site.hosts.get(name) or site.add_host(name)
    host.settings.clear()
    host.start_agent(**{f"kafka__{k}": str(v) for k, v in logins(site)[login].items()}, **settings)
    return host


@pytest.mark.parametrize("login", ["mutual TLS", "SASL"])
def test_secure_kafka__trusted(secure, login):
    name = login.split()[-1].lower()
    host = secure_host(secure, name, login)
    host.agent.wait_output(" registered ", 30)
    assert "is trusted" in secure.enrol(name, "--runtime-policy", "good")
    warnings = [line for line in host.agent.output().splitlines() if " warn " in line and "privileges.kept" not in line]
    assert not warnings, warnings
    host.agent.stop()


@pytest.mark.parametrize(
    "login,next_step",
    [
        ("wrong CA", "kafka.ssl.ca.location does not hold the CA"),
        ("no certificate", "set kafka.ssl.certificate.location and kafka.ssl.key.location"),
        ("certificate of another CA", "refused this program's certificate"),
        ("wrong password", "kafka.sasl.username, kafka.sasl.password"),
        ("unknown mechanism", "kafka.sasl.mechanism"),
        ("plain text", "kafka.security.protocol"),
    ],
)
def test_secure_kafka__refused__one_line_with_the_next_step_and_it_keeps_trying(secure, login, next_step):
    host = secure_host(secure, "refused", login, registrar__url="")
    host.agent.wait_output("kafka.unreachable", 20)
    time.sleep(3.5)  # at least one further attempt
    lines = [line for line in host.agent.output().splitlines() if " warn " in line and "privileges" not in line]
    assert len(lines) == 1 and next_step in lines[0].split("next=")[1], host.agent.output()
    assert "right" not in host.agent.output() and "wrong" not in lines[0], "passwords stay out of the log"
    assert host.agent.stop() == 0


def test_secure_kafka__no_rights__is_said(secure):
    host = secure_host(secure, "rightless", "no rights", registrar__url="")
    host.agent.wait_output("authorization failed", 20)
    lines = [line for line in host.agent.output().splitlines() if "kafka.error" in line]
    assert lines and "deploy/README.md" in lines[0]
    host.agent.stop()


@pytest.mark.parametrize("login,what", [("missing file", "nowhere.pem: No such file"), ("no password", "sasl.username and sasl.password")])
def test_secure_kafka__mistake__exit_2(secure, login, what):
    host = secure_host(secure, "mistaken", login, registrar__url="")
    assert host.agent.wait(20) == 2
    assert what in host.agent.output() and len(errors_in(host.agent.output())) == 1, host.agent.output()


# --- Somebody else under this name


def ek_serial(host) -> str:
    """Of the EK certificate in the host's TPM, as openssl prints it."""
    out = host.folder / "ek.der"
    tpm2(host, "nvread", "0x1c00002", "-C", "o", "-o", str(out))
    number = x509.load_der_x509_certificate(out.read_bytes()).serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()


def test_ai8_squatter_is_seen_by_his_serial_and_refused_by_the_pinned_one(hosts):
    squatter, genuine = hosts.new("squatter"), hosts.new("genuine")
    serial, foreign = ek_serial(genuine), ek_serial(squatter)
    squatter.start_agent(agent__id="web-1")
    squatter.agent.wait_output(" registered ", 30)
    genuine.start_agent(agent__id="web-1")
    genuine.agent.wait_output("register.failed", 30)
    assert "belongs to another TPM" in genuine.agent.output()

    wanted = ("--ek-cert-serial", ":".join(serial[i : i + 2] for i in range(0, len(serial), 2)))
    for more in ((), ("--trust-registrar",)):  # whoever is believed about the certificate
        done = hosts.site.cli("agent", "add", "web-1", "--no-wait", *wanted, *more)
        assert done.returncode == 4, done.stderr
        said = done.stderr.lower()
        assert f"another tpm than expected: its ek certificate has serial {foreign}, not {serial}".lower() in said, said
        assert "avow registrar rm web-1" in said
    assert hosts.site.cli("agent", "status", "web-1").returncode == 5  # nothing was enrolled
    for wrong in ("0", "xyz", "-1", "1" * 65):
        assert hosts.site.cli("agent", "add", "web-1", "--ek-cert-serial", wrong).returncode == 2, wrong
    # Who does not know the number sees it at least.
    done = hosts.site.cli("agent", "add", "web-1", "--no-wait", "--trust-registrar")
    assert done.returncode == 0 and f"EK certificate serial {foreign.lower()}," in done.stderr, done.stderr
    assert hosts.site.cli("agent", "rm", "web-1").returncode == 0

    squatter.agent.stop()
    port = free_port()
    https_registrar(hosts.site, port).wait_output("tls=true", 20)
    assert hosts.site.cli("registrar", "rm", "web-1", "--set", f"cli.registrar_url=https://127.0.0.1:{port}").returncode == 0
    genuine.agent.stop()
    genuine.start_agent()
    genuine.agent.wait_output(" registered ", 30)
    wait_for(lambda: hosts.site.cli("agent", "add", "web-1", "--no-wait", *wanted).returncode == 0, 30, "the genuine one")
    # The pin lasts: an anew enrolment demands it again, another number is refused.
    again = ("agent", "add", "web-1", "--no-wait", "--replace")
    assert hosts.site.cli(*again).returncode == 0
    other = hosts.site.cli(*again, "--ek-cert-serial", foreign)
    assert other.returncode == 4 and "another TPM than expected" in other.stderr
    newest = [r for r in topics.read(hosts.site.broker.bootstrap, "avow.enrollments") if r.key == b"web-1"][-1]
    assert int.from_bytes(records.decode(newest.value)[1]["ek_cert_serial"], "big") == int(serial, 16)


# --- The registrar over HTTPS


def https_registrar(site, port: int) -> Proc:
    # One database, one registrar: the one over HTTP ends.
    site.registrar.stop()
    tls = site.dir / "tls"
    args = [
        f"registrar.http_listen=127.0.0.1:{site.registrar_port}", f"registrar.https_listen=127.0.0.1:{port}",
        f"registrar.tls_cert={tls / 'registrar.pem'}", f"registrar.tls_key={tls / 'registrar.key'}",
        f"registrar.tls_ca={tls / 'ca.pem'}",
    ]  # fmt: skip
    sets = [word for a in args for word in ("--set", a)]
    site.registrar = Proc(
        "registrar", [site.bin / "avow-registrar", "--config", site.dir / "conf" / "registrar.conf", *sets],
        site.folder / "registrar-https.log",
    )  # fmt: skip
    return site.registrar


def test_https_registrar__is_checked_with_its_ca(hosts):
    port = free_port()
    https_registrar(hosts.site, port)
    host = hosts.new()
    host.start_agent(
        registrar__url=f"https://127.0.0.1:{port}", registrar__ca=hosts.site.dir / "tls" / "ca.pem", agent__user="nobody"
    )
    host.agent.wait_output(f"registered registrar=https://127.0.0.1:{port}", 30)
    host.agent.stop()
    host = hosts.new()
    wrong = hosts.site.folder / "tpm-ca" / "issuercert.pem"
    host.start_agent(registrar__url=f"https://127.0.0.1:{port}", registrar__ca=wrong)
    host.agent.wait_output("register.failed", 30)
    said = next(line for line in host.agent.output().splitlines() if "register.failed" in line)
    assert "registrar.ca does not hold the CA" in said.split("next=")[1], said
    host.agent.wait_output(" attested ", 30)
    assert " registered " not in host.agent.output()
    host.agent.stop()


class TwoFaced(threading.Thread):
    """Speaks TLS with a certificate that nobody trusts, and plain HTTP on the same port; counts who asks for what."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        key, cert = folder / "false.key", folder / "false.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.server, self.port = silent_server()
        self.tls = self.plain = 0
        self.ending = False

    def run(self) -> None:
        while not self.ending:
            try:
                c, _ = self.server.accept()
            except OSError:
                return
            try:
                c.settimeout(3)
                if c.recv(1, socket.MSG_PEEK) == b"\x16":
                    self.tls += 1
                    with self.context.wrap_socket(c, server_side=True) as t:
                        t.recv(4096)
                else:
                    self.plain += 1
                    c.recv(4096)
                    body = b'{"code":200,"status":"Success","results":{"current_version":"2.6","supported_versions":["2.6"]}}'
                    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            except OSError:
                pass
            finally:
                c.close()

    def stop(self) -> None:
        self.ending = True
        self.server.close()


def test_ad9_registrar_answers_over_http_after_a_tls_failure__agent_never_falls_back(hosts):
    host = hosts.new()
    server = TwoFaced(host.folder)
    server.start()
    host.start_agent(registrar__url=f"https://127.0.0.1:{server.port}", registrar__ca=hosts.site.dir / "tls" / "ca.pem")
    wait_for(lambda: server.tls >= 2, 60, "two attempts over TLS", host.agent)
    assert server.plain == 0 and " registered " not in host.agent.output()
    said = next(line for line in host.agent.output().splitlines() if "register.failed" in line)
    assert "registrar.ca" in said
    host.agent.stop()
    server.stop()


def test_https_url_of_a_port_without_tls__never_falls_back(hosts):
    """The real registrar's plain port, named as https by mistake."""
    host = hosts.new()
    host.start_agent(registrar__url=f"https://127.0.0.1:{hosts.site.registrar_port}")
    host.agent.wait_output("register.failed", 30)
    said = next(line for line in host.agent.output().splitlines() if "register.failed" in line)
    assert "never tries http instead" in said, said
    host.agent.stop()


# --- Size


def test_memory__after_registration__is_small(hosts):
    host = hosts.new()
    host.start_agent(agent__user="nobody")
    host.agent.wait_output(" registered ", 30)
    host.agent.wait_output(" attested ", 30)
    time.sleep(2)
    maps = Path(f"/proc/{host.agent.pid}/maps").read_text()
    for library in ("libcurl", "libjansson", "libdb-", "libnss_systemd"):
        assert library not in maps, f"{library} is loaded"
    rss = int(status_of(host.agent.pid)["VmRSS"].split()[0])
    print(f"RSS {rss} KiB")
    assert rss < 14 * 1024
    host.agent.stop()
