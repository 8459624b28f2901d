"""The tenant CLI as its user meets it: results, tables, JSON, exit codes, and the mistakes that people make.

Most of it runs on the embedded broker. What only a real Kafka can tell (topic settings) is at the end. Records that a
test needs on the topics, hostile ones too, are made and signed here with the installation's own keys.
"""

import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from avowtest import records, topics
from avowtest.site import DevBroker, Intervals, Site, runtime_policy, wait_for
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from conftest import GOOD, ROOT, sha256, started

COMMANDS = (
    "init",
    "topics apply",
    "topics check",
    "policy push",
    "policy list",
    "policy get",
    "policy rm",
    "policy create",
    "policy convert",
    "policy diff",
    "policy test",
    "policy sign",
    "policy verify",
    "agent add",
    "agent rm",
    "agent list",
    "agent status",
    "agent watch",
    "verdict tail",
    "revocation tail",
    "eventlog",
)
OK, FAILED, USAGE, UNREACHABLE, UNTRUSTED, NOTFOUND = range(6)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


# --- running the program


@pytest.fixture(scope="module")
def avow(bin_dir):
    """avow(*args) without a configuration file."""

    def run(*args, env=None, **kw):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AVOW_")}
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [str(bin_dir / "avow"), *map(str, args)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**clean, **(env or {})},
            **kw,
        )

    return run


def check(done, code, *stderr_has, stdout=None):
    """Exit code, and what the diagnostics must say; never a usage dump, never a crash."""
    shown = f"exit {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
    assert done.returncode == code, shown
    for text in stderr_has:
        assert text in done.stderr, shown
    assert "usage:" not in done.stderr, shown
    assert "options:" not in done.stderr, shown
    if stdout is not None:
        assert done.stdout == stdout, shown
    if code in (USAGE, UNREACHABLE, NOTFOUND):
        assert done.stdout == "", "diagnostics belong on stderr: " + shown
    return done


def table(text):
    """Rows of a table as dictionaries; columns are at least two blanks apart."""
    head, *rows = [re.split(r" {2,}", line) for line in text.splitlines()]
    return [dict(zip(head, row, strict=False)) for row in rows]


class Tail:
    """A command that goes on: its lines as they come."""

    def __init__(self, site, *args, **kw):
        command = [str(site.bin / "avow"), "--config", str(site.dir / "conf" / "avow.conf"), *args]
        self.p = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw
        )
        self.lines, self.errors = [], []
        self._threads = [
            threading.Thread(target=self._read, args=(pipe, into), daemon=True)
            for pipe, into in ((self.p.stdout, self.lines), (self.p.stderr, self.errors))
        ]
        for t in self._threads:
            t.start()

    @staticmethod
    def _read(pipe, into):
        for line in pipe:
            into.append(line.rstrip("\n"))

    def wait(self, text, timeout=15):
        def seen():
            return next((line for line in self.lines if text in line), None)

        try:
            return wait_for(seen, timeout, f"a line with {text!r}")
        except TimeoutError:
            self.p.kill()
            pytest.fail(f"no line has {text!r}: {self.lines}\nstderr: {self.errors}")

    def end(self, how=signal.SIGINT, timeout=10):
        if self.p.poll() is None:
            self.p.send_signal(how)
        code = self.p.wait(timeout)
        for t in self._threads:
            t.join(timeout)
        return code


# --- records made here


def private_key(path):
    return serialization.load_pem_private_key(Path(path).read_bytes(), None)


def spki(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def seal(file, fields, key):
    value = records.encode(file, {**fields, "proof": bytes(72)})
    r, s = decode_dss_signature(key.sign(records.pae(value), ec.ECDSA(hashes.SHA256())))
    if s > P256_ORDER // 2:  # only the low one of the two is accepted
        s = P256_ORDER - s
    return value[: -records.PROOF_LEN] + records.key_id(spki(key)) + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def murmur2(data):
    h, i, m = (0x9747B28C ^ len(data)) & 0xFFFFFFFF, 0, 0x5BD1E995
    while len(data) - i >= 4:
        k = int.from_bytes(data[i : i + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
        i += 4
    if data[i:]:
        h = (h ^ int.from_bytes(data[i:], "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return (h ^ (h >> 15)) & 0x7FFFFFFF


class Quiet:
    """An installation with a broker and nobody else: what is on the topics, the test put there."""

    def __init__(self, folder, bin_dir):
        self.site = Site(folder, bin_dir, kafka=False, partitions=4)
        self.site.__enter__()
        self.site.start_broker()
        done = self.site.cli(
            "init", str(self.site.dir), "--partitions", "4", "--bootstrap", self.site.broker.bootstrap,
            *self.site.intervals.options(), config=False,
        )  # fmt: skip
        check(done, OK)
        check(self.site.cli("topics", "apply"), OK)
        self.worker = private_key(self.site.dir / "worker" / "sign.pem")
        self.tenant = private_key(self.site.dir / "tenant" / "sign.pem")
        self.root = private_key(self.site.dir / "root" / "root.key")
        _, self.bundle = records.decode((self.site.dir / "root" / "bundle.avro").read_bytes())
        self.fleet = self.bundle["fleet"]
        self.produced = 0

    def cli(self, *args, **kw):
        return self.site.cli(*args, **kw)

    def put(self, topic, key, value, partition=None):
        errors = []
        producer = Producer({"bootstrap.servers": self.site.broker.bootstrap, "log_level": 2})
        one = topic in ("trust", "policies")
        home = 0 if one else murmur2(key.encode()) % 4
        producer.produce(
            "avow." + topic,
            key=key.encode(),
            value=value,
            partition=home if partition is None else partition,
            on_delivery=lambda err, _: errors.append(err) if err else None,
        )
        assert producer.flush(10) == 0 and not errors, errors

    def enrollment(self, agent, generation=1, **fields):
        flags = ("allow_padded", "allow_kexec", "allow_log_trimmed", "allow_violations", "allow_tomtou",
                 "allow_hibernate", "check_signatures", "strict_excludes")  # fmt: skip
        whole = {
            "fleet": self.fleet, "key": agent, "generation": generation, "status": "active", "issued_ms": 1,
            "ak_public": None, "ek_name": None, "ek_cert_serial": None, "qualified_signers": [], "kinds": ["avow"],
            "sign_algs": ["rsassa"], "sign_hashes": ["sha256"], "banks": ["sha256"], "ima_pcrs": [10],
            "runtime_policy": {"name": "good", "sha256": None}, "boot_policy": None, "verify_keys": None,
            "severity": None, "pcrs": [], "flags": dict.fromkeys(flags, False), "heartbeat_ms": 0,
            "silent_after_ms": 0, "validity_ms": 0, "recovery": "auto", "paused_until_ms": 0, "payload": None,
            "metadata": "", **fields,
        }  # fmt: skip
        return seal("enrollment", whole, self.tenant)

    def enrol(self, agent, generation=1, **fields):
        self.put("enrollments", agent, self.enrollment(agent, generation, **fields))

    def verdict(self, agent, seq=1, status="trusted", lasts_ms=60000, detail=None, key=None, **fields):
        now = int(time.time() * 1000)
        findings = [finding(detail)] if detail is not None else []
        whole = {
            "fleet": self.fleet, "key": agent, "seq": seq, "transitions": 1, "status": status, "as_of_epoch": 7,
            "as_of_ms": now - 1000, "trusted_until_ms": now + lasts_ms,
            "flags": {"stale": False, "carried": False, "binding_partial": False, "pending_quote": False},
            "findings": findings, "findings_total": len(findings), "severity": "", "enrollment_generation": 1,
            "enrollment_sha256": bytes(32), "heads": [], "bundle_version": 1, "order": None, "appraised": 1,
            "dropped": [], "evidence": None,
            "boot": {"boot_id": None, "outcome": "pass", "log_sha256": None, "ima_entries": 5}, **fields,
        }  # fmt: skip
        return seal("verdict", whole, key or self.worker)

    def revocation(self, agent, number=1, cls="revocation", detail="d", key=None, **fields):
        whole = {
            "fleet": self.fleet, "key": agent, "id": number.to_bytes(16, "big"), "class": cls, "seq": number,
            "transitions": number, "from": "trusted", "to": "untrusted", "severity": "critical",
            "event_id": "ima.digest_unknown", "findings": [finding(detail)], "as_of_epoch": 7, "as_of_ms": 1700000000000,
            "metadata": 'rack "7"', "evidence": None, "dropped": [], **fields,
        }  # fmt: skip
        return seal("revocation", whole, key or self.worker)

    def publish_bundle(self, version, **fields):
        self.put("trust", "bundle", seal("bundle", {**self.bundle, "version": version, **fields}, self.root))

    def close(self):
        self.site.close()


def finding(detail):
    return {"id": "ima.digest_unknown", "severity": "critical", "where": "/usr/bin/x", "detail": detail}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, bin_dir):
    q = Quiet(tmp_path_factory.mktemp("quiet"), bin_dir)
    yield q
    q.close()


@pytest.fixture
def fresh(tmp_path_factory, bin_dir):
    """As quiet, for one test: what it puts on `trust` would disturb others."""
    q = Quiet(tmp_path_factory.mktemp("fresh"), bin_dir)
    yield q
    q.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory, bin_dir):
    """A whole installation, with a worker."""
    site = Site(tmp_path_factory.mktemp("busy"), bin_dir, kafka=False, intervals=Intervals())
    try:
        t = started(site)
        yield t
        t.close()
    finally:
        site.close()


# --- help, words and options


def test_program_help__names_every_command_and_exit_code(avow):
    for args in (("--help",), ("-h",), ("help",)):
        done = avow(*args)
        assert (done.returncode, done.stderr) == (OK, "")
        for name in COMMANDS:
            assert re.search(rf"^  {name} +\S", done.stdout, re.M), name
        assert "4 untrusted" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_help__needs_nothing_and_says_usage(avow, command):
    by_flag, by_word = avow(*command.split(), "--help"), avow("help", *command.split())
    assert by_flag.stdout == by_word.stdout
    assert (by_flag.returncode, by_flag.stderr) == (OK, "")
    assert by_flag.stdout.startswith(f"usage: avow {command}")
    assert all(len(line) <= 120 for line in by_flag.stdout.splitlines())


def options_in(help_text):
    return set(re.findall(r"--[a-z][a-z-]+", "\n".join(x for x in help_text.splitlines() if x.startswith("  "))))


def test_manual__names_every_command_and_every_option(avow):
    page = (ROOT / "docs" / "man" / "avow.1").read_text()
    plain = page.replace("\n", " ")
    for command in COMMANDS:
        assert f".It Cm {command}" in page, command
        for option in options_in(avow(*command.split(), "--help").stdout) | options_in(avow("--help").stdout):
            assert re.search(rf"Fl {option[2:]}\b", plain), f"{command}: {option}"


@pytest.mark.parametrize("program", ("avow-agent", "avow-worker", "avow-registrar"))
def test_manual_of_a_daemon__names_every_option(bin_dir, program):
    page = (ROOT / "docs" / "man" / f"{program}.8").read_text()
    done = subprocess.run([bin_dir / program, "--help"], capture_output=True, text=True, timeout=30)
    flags = done.stdout.split("settings (")[0]
    assert options_in(flags) >= {"--config", "--sample-config"}
    for option in options_in(flags) | ({"--print-id"} if "--print-id" in flags else set()):
        assert re.search(rf"Fl {option[2:]}\b", page), option


def test_configuration_document__is_what_the_programs_say(bin_dir):
    done = subprocess.run(
        [ROOT / "tools" / "dev" / "gen-config-doc", "--bin", bin_dir, "--check"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "args, says",
    [
        ((), "no command was given"),
        (("agnet", "list"), "did you mean 'agent list'"),
        (("agent", "lst"), "did you mean 'agent list'"),
        (("inti", "DIR"), "did you mean 'init'"),
        (("revocation", "tial"), "did you mean 'revocation tail'"),
        (("frobnicate",), "there is no command 'frobnicate'"),
        (("agent",), "avow agent status"),
        (("agent", "frobnicate"), "avow agent status"),
        (("help", "frobnicate"), "there is no command"),
        (("--frob", "agent", "list"), "unknown option '--frob'"),
        (("agent", "list", "--jsn"), "did you mean '--json'"),
        (("agent", "list", "--json=1"), "--json takes no value"),
        (("agent", "list", "-o"), "-o needs a value"),
        (("agent", "list", "-o", "yaml"), "'yaml' is not table, wide or json"),
        (("agent", "list", "--log-level", "loud"), "'loud' is not"),
        (("agent", "list", "extra"), "unexpected argument 'extra'"),
        (("agent", "status"), "needs ID"),
        (("policy", "push", "one"), "needs NAME FILE"),
        (("policy", "push", "a/b", "f"), "no policy name"),
        (("policy", "push", "a", "f", "--kind", "odd"), "--kind"),
        (("agent", "add", "../x"), "no agent id"),
        (("agent", "add", "x", "--timeout", "0"), "0 is not from 1"),
        (("agent", "add", "x", "--timeout", "1e3"), "is not a number"),
        (("agent", "add", "x", "--recovery", "never"), "--recovery"),
        (("topics", "apply", "--replication", "0"), "0 is not from 1"),
        (("verdict", "tail", "--format", "cloudevents"), "is not json or avro-json"),
        (("revocation", "tail", "--format", "xml"), "keylime"),
        (("revocation", "tail", "--count", "0"), "less than 1"),
        (("init", "x", "--set", "a.b=c"), "reads no configuration"),
        (("agent", "list", "\x1b[31mred"), "unexpected argument '?[31mred'"),
    ],
)
def test_usage_errors__exit_2_and_say_what_to_do(avow, args, says):
    done = check(avow(*args), USAGE, says)
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) <= 12  # the longest list of commands, and no more


def test_version(avow):
    assert re.fullmatch(r"avow \d+\.\d+\.\d+\n", avow("--version").stdout)
    assert json.loads(avow("--version", "--json").stdout)["program"] == "avow"


@pytest.mark.parametrize("spelling", (["-o", "json"], ["-ojson"], ["-o=json"], ["--output", "json"], ["--output=json"], ["--json"]))
def test_every_spelling_of_json__also_before_the_command(quiet, spelling):
    assert json.loads(check(quiet.cli("policy", "list", *spelling), OK).stdout) == []
    assert json.loads(check(quiet.cli(*spelling, "policy", "list"), OK).stdout) == []
    assert json.loads(check(quiet.cli("policy", *spelling, "list"), OK).stdout) == []


# --- configuration


@pytest.mark.parametrize(
    "args, code, says",
    [
        (("agent", "list"), USAGE, ("no broker is configured", "--config FILE")),
        (("--config", "/nonexistent/avow.conf", "agent", "list"), USAGE, ("/nonexistent/avow.conf",)),
        (("--config", "/", "agent", "list"), USAGE, ("Is a directory",)),
        (("agent", "list", "--set", "cli.rot=x"), USAGE, ("cli.rot: unknown key",)),
        (("agent", "list", "--set", "kafka.bootstrap.server=x:1"), USAGE, ("no bootstrap.servers",)),
    ],
)
def test_configuration_mistakes(avow, args, code, says):
    check(avow(*args), code, *says)


@pytest.mark.parametrize(
    "setting, says",
    [
        ("kafka.bootstrap.serverz=x", "bootstrap.serverz"),
        ("cli.root=/nonexistent.pem", "cli.root: open /nonexistent.pem"),
        ("cli.root={site}/tenant/sign.pem", "PRIVATE KEY"),
        ("topic.prefix=other.", "topic.prefix"),
    ],
)
def test_settings_that_cannot_work__exit_says_which(quiet, setting, says):
    done = quiet.cli("agent", "list", "--set", setting.format(site=quiet.site.dir))
    check(done, FAILED if "prefix" in setting else USAGE, says)


def test_configuration_of_another_program__names_file_and_line(quiet):
    done = quiet.cli("--config", quiet.site.dir / "conf" / "worker.conf", "agent", "list", config=False)
    check(done, USAGE, "worker.conf:", "unknown key")


def test_unreachable_broker__exit_3_soon_and_clear(quiet):
    for servers in ("127.0.0.1:1", "no-such-host.invalid:9092"):
        before = time.monotonic()
        done = quiet.cli("agent", "list", "--set", f"kafka.bootstrap.servers={servers}")
        assert time.monotonic() - before < 10
        check(done, UNREACHABLE, "no answer from Kafka", servers, "hint:")
        assert len(done.stderr.splitlines()) == 2


def test_print_config__shows_where_values_come_from(quiet):
    done = quiet.cli("--print-config", "--set", "topic.prefix=p.")
    check(done, OK)
    assert "topic.prefix = p.  # --set" in done.stdout
    assert re.search(r"cli\.root = \S+  # \S+avow\.conf:\d+", done.stdout)
    check(quiet.cli("--check-config"), OK, stdout="")


def test_sample_config__every_key_is_accepted_back(avow, tmp_path):
    sample = avow("--sample-config").stdout
    conf = tmp_path / "c.conf"
    conf.write_text(re.sub(r"^#(\w+ = )$", r"#\1", re.sub(r"^#(\w+ = .+)$", r"\1", sample, flags=re.M), flags=re.M))
    check(avow("--config", conf, "--check-config"), OK)


# --- init


def test_init__makes_keys_only_their_owner_reads(avow, tmp_path):
    folder = tmp_path / 'my "site" # 1'
    out = json.loads(check(avow("init", folder, "--json", "--host", "registrar.example"), OK).stdout)
    assert out["dir"] == str(folder)
    for name in ("root/root.key", "tenant/sign.pem", "registrar/sign.pem", "worker/sign.pem", "worker/kex.pem",
                 "worker/mac.key", "tls/ca.key", "tls/registrar.key", "tls/admin.key"):  # fmt: skip
        assert (folder / name).stat().st_mode & 0o777 == 0o600, name
    for name in ("root", "tenant", "worker", "registrar", "ledger"):
        assert (folder / name).stat().st_mode & 0o777 == 0o700, name
    _, bundle = records.decode((folder / "root" / "bundle.avro").read_bytes())
    assert bundle["fleet"].hex() == out["fleet"]


@pytest.mark.parametrize("program", ("avow", "avow-agent", "avow-worker", "avow-registrar"))
def test_init__every_sample_configuration_is_accepted(avow, bin_dir, tmp_path, program):
    folder = tmp_path / 'my "site" # 1'
    check(avow("init", folder), OK)
    conf = folder / "conf" / (program.removeprefix("avow-") + ".conf")
    done = subprocess.run(
        [bin_dir / program, "--config", conf, "--print-config"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert '# 1/root/root.pem' in done.stdout


def test_init__again__refuses_and_changes_nothing(avow, tmp_path):
    folder = tmp_path / "site"
    check(avow("init", folder), OK)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    check(avow("init", folder), FAILED, "never replaced", stdout="")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    # Also when the root key was moved offline, as it should be.
    shutil.move(folder / "root", tmp_path / "offline")
    check(avow("init", folder), FAILED, "tenant/sign.pem", stdout="")
    assert (folder / "tenant" / "sign.pem").read_bytes() == before[folder / "tenant" / "sign.pem"]


@pytest.mark.parametrize(
    "options, says",
    [
        (("--validity-ms", "50000"), ("50000", "62000")),
        (("--silent-after-ms", "60000"), ("60000", "64000")),
        (("--heartbeat-ms", "40000"), ("silent_after_ms is 70000", "108000")),
        (("--epoch-ms", "10"), ("10 is not from 1000 to 300000",)),
        (("--partitions", "513"), ("513 is not from 1 to 512",)),
        (("--fleet", "12"), ("32 hex digits",)),
        (("--topic-prefix", "a b"), ("--topic-prefix",)),
        (("--bootstrap", "a\nb"), ("control characters",)),
    ],
)
def test_init__settings_that_do_not_fit__exit_2_names_the_numbers_and_leaves_nothing(avow, tmp_path, options, says):
    folder = tmp_path / "site"
    check(avow("init", folder, *options), USAGE, *says)
    assert not folder.exists()


def test_init__where_nothing_can_be_written__fails_and_names_the_folder(avow):
    check(avow("init", "/proc/avow-test"), FAILED, "/proc/avow-test", stdout="")


# --- policies


def policy_file(tmp_path, policy, name="policy.json"):
    path = tmp_path / name
    path.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    return path


def test_policy__push_list_get(quiet, tmp_path):
    path = policy_file(tmp_path, runtime_policy(GOOD))
    first = json.loads(check(quiet.cli("policy", "push", "web", path, "--json"), OK).stdout)
    assert first == {
        "name": "web", "kind": "runtime", "generation": 1, "sha256": sha256(path.read_bytes()),
        "bytes": path.stat().st_size, "paths": 2, "digests": 2, "excludes": 0, "published": True,
        "agents": 0, "require_dsse": False, "signed": False, "warnings": [],
    }  # fmt: skip
    again = check(quiet.cli("policy", "push", "web", path), OK)
    assert "generation 1 is published already" in again.stdout
    path.write_text(json.dumps(runtime_policy({"/bin/a": ["ab" * 32]})))
    assert "generation 2 published" in check(quiet.cli("policy", "push", "web", path), OK).stdout
    row = table(check(quiet.cli("policy", "list"), OK).stdout)[0]
    assert row["NAME"] == "web" and row["GENERATION"] == "2" and row["SHA256"] == sha256(path.read_bytes())[:16]
    wide = table(quiet.cli("policy", "list", "-o", "wide").stdout)[0]
    assert wide["SHA256"] == sha256(path.read_bytes())
    assert check(quiet.cli("policy", "get", "web"), OK).stdout == path.read_text()
    got = json.loads(quiet.cli("policy", "get", "web", "--json").stdout)
    assert got["document"] == path.read_text() and got["generation"] == 2
    check(quiet.cli("policy", "get", "wbe"), NOTFOUND, "there is no policy 'wbe'", "policy list")
    kept = list((quiet.site.dir / "ledger" / "policies" / "web").iterdir())
    assert sorted(p.name for p in kept) == ["1.avro", "2.avro"]


def test_policy__of_several_chunks_and_from_standard_input__comes_back_whole(quiet, avow, tmp_path):
    digests = {f"/usr/share/file-{i:05}": [f"{i:064x}"] for i in range(13000)}
    text = json.dumps(runtime_policy(digests))
    assert len(text) > 1200000
    with open(policy_file(tmp_path, text)) as stdin:
        done = avow("--config", quiet.site.dir / "conf" / "avow.conf", "policy", "push", "large", "-", stdin=stdin)
    check(done, OK)
    assert quiet.cli("policy", "get", "large").stdout == text


@pytest.mark.parametrize(
    "text, says",
    [
        ('{"digests": {}\n "excludes": []}', "line 2"),
        ('{"digests": {"/a": ["zz"]}}', '$.digests["/a"][0]'),
        ('{"digests": {}, "avow": {"version": 1, "strict": true}}', "strict"),
        ('{"digests": {}, "excludes": ["(a"]}', "$.excludes[0]"),
        ("", "empty"),
        ("[]", "$"),
    ],
)
def test_policy__bad_file__names_file_and_place_and_publishes_nothing(quiet, tmp_path, text, says):
    path = policy_file(tmp_path, text)
    before = len(topics.read(quiet.site.broker.bootstrap, "avow.policies"))
    check(quiet.cli("policy", "push", "bad", path), FAILED, str(path), says, stdout="")
    assert len(topics.read(quiet.site.broker.bootstrap, "avow.policies")) == before


def test_policy__unknown_key_of_keylimes_format__is_a_warning(quiet, tmp_path):
    path = policy_file(tmp_path, '{"digests": {}, "exludes": []}')
    done = check(quiet.cli("policy", "push", "odd", path, "--json"), OK, f'{path}: $["exludes"]: unknown key')
    assert len(json.loads(done.stdout)["warnings"]) == 1


def test_policy__files_that_cannot_be(quiet, tmp_path):
    check(quiet.cli("policy", "push", "p", "/nonexistent.json"), FAILED, "/nonexistent.json", stdout="")
    check(quiet.cli("policy", "push", "p", tmp_path), FAILED, "Is a directory", stdout="")
    big = tmp_path / "big.json"
    with open(big, "wb") as f:
        f.truncate(65 * 1024 * 1024)
    check(quiet.cli("policy", "push", "p", big), FAILED, "67108864", stdout="")


def test_policy__that_allows_nothing__is_published_with_a_warning(quiet, tmp_path):
    path = policy_file(tmp_path, runtime_policy({}, ["/tmp"]))
    check(quiet.cli("policy", "push", "nothing", path), OK, "allows no file at all", "/tmpevil")


@pytest.mark.parametrize(
    "key, says",
    [
        ("/nonexistent.pem", "/nonexistent.pem"),
        ("{site}/registrar/sign.pem", "lacks the role policy"),
        ("{site}/worker/mac.key", "PRIVATE KEY"),
        ("{other}", "not in the bundle"),
        ("", "not configured"),
    ],
)
def test_policy__wrong_key__exit_2_and_nothing_is_published(quiet, tmp_path, key, says):
    other = tmp_path / "other.pem"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other.write_bytes(pem)
    path = policy_file(tmp_path, runtime_policy(GOOD))
    before = len(topics.read(quiet.site.broker.bootstrap, "avow.policies"))
    setting = "cli.tenant_key=" + key.format(site=quiet.site.dir, other=other)
    check(quiet.cli("policy", "push", "wrong-key", path, "--set", setting), USAGE, "cli.tenant_key", says)
    assert len(topics.read(quiet.site.broker.bootstrap, "avow.policies")) == before


def no_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_ledger__cannot_be_written__nothing_is_published(quiet, avow, tmp_path):
    path = policy_file(tmp_path, runtime_policy({"/bin/unkept": ["cd" * 32]}))
    file = tmp_path / "a-file"
    file.write_text("")
    before = len(topics.read(quiet.site.broker.bootstrap, "avow.policies"))
    push = ("--config", quiet.site.dir / "conf" / "avow.conf", "policy", "push", "unkept", path)
    for ledger in ("/proc/ledger", file):
        check(avow(*push, "--set", f"cli.ledger={ledger}"), FAILED, "ledger", "nothing was published", stdout="")
    full = tmp_path / "full"
    shutil.copytree(quiet.site.dir / "ledger", full)
    done = avow(*push, "--set", f"cli.ledger={full}", preexec_fn=no_room)
    check(done, FAILED, "ledger", "File too large", "nothing was published", stdout="")
    assert len(topics.read(quiet.site.broker.bootstrap, "avow.policies")) == before


def test_ledger__cannot_be_written__reading_goes_on_with_a_warning(quiet, avow):
    conf = quiet.site.dir / "conf" / "avow.conf"
    done = avow("--config", conf, "policy", "list", "--json", "--set", "cli.ledger=/proc/ledger")
    check(done, OK, "roll-back would not be noticed")
    json.loads(done.stdout)


def test_ledger__is_ahead_of_the_topic__says_so_and_signs_no_generation_twice(fresh, tmp_path, bin_dir):
    first = policy_file(tmp_path, runtime_policy(GOOD), "1.json")
    check(fresh.cli("policy", "push", "p", first), OK)
    check(fresh.cli("policy", "push", "p", policy_file(tmp_path, runtime_policy({}), "2.json")), OK)
    (tmp_path / "broker").mkdir()
    empty = DevBroker(tmp_path / "broker", bin_dir, 4)  # as if somebody had restored an old state
    try:
        elsewhere = ("--set", f"kafka.bootstrap.servers={empty.bootstrap}")
        check(fresh.cli("topics", "apply", *elsewhere), OK)
        done = fresh.cli("policy", "push", "p", first, *elsewhere)
        check(done, OK, "ledger signed 2", "bus.rollback")
        assert "generation 3 published" in done.stdout
    finally:
        empty.stop()


def test_policy__head_of_a_forger__is_refused_and_said(quiet):
    forger = ec.generate_private_key(ec.SECP256R1())
    head = {"fleet": quiet.fleet, "key": "head/forged", "generation": 9, "kind": "runtime", "sha256": bytes(32),
            "bytes": 1, "chunks": 1, "require_dsse": False, "issued_ms": 1}  # fmt: skip
    quiet.put("policies", "head/forged", seal("policy_head", head, forger))
    done = check(quiet.cli("policy", "list"), OK, "1 policy heads were refused")
    assert "forged" not in done.stdout
    check(quiet.cli("policy", "get", "forged"), NOTFOUND)


def test_policy__missing_and_swapped_chunks__are_not_given_out(quiet):
    whole = b"the document"
    digest = bytes.fromhex(sha256(whole))
    head = {"fleet": quiet.fleet, "key": "head/chunks", "generation": 1, "kind": "runtime", "sha256": digest,
            "bytes": len(whole), "chunks": 2, "require_dsse": False, "issued_ms": 1}  # fmt: skip
    quiet.put("policies", "head/chunks", seal("policy_head", head, quiet.tenant))
    check(quiet.cli("policy", "get", "chunks"), FAILED, "2 of its 2 chunks", stdout="")

    def chunk(i, content):
        quiet.put("policies", f"blob/{digest.hex()}/{i}", records.encode("policy_chunk", {"index": i, "count": 2, "bytes": content}))

    chunk(0, whole[6:])
    chunk(1, whole[:6])
    check(quiet.cli("policy", "get", "chunks"), UNTRUSTED, "do not give the digest", stdout="")
    chunk(0, whole[:6])
    chunk(1, whole[6:])
    assert check(quiet.cli("policy", "get", "chunks"), OK).stdout == whole.decode()


# --- trust


def test_topics_not_applied__exit_1_says_apply(avow, tmp_path, bin_dir):
    broker = DevBroker(tmp_path, bin_dir, 4)
    try:
        check(avow("init", tmp_path / "site", "--bootstrap", broker.bootstrap, "--partitions", "4"), OK)
        for command in (("agent", "list"), ("policy", "list"), ("topics", "check"), ("verdict", "tail")):
            done = avow("--config", tmp_path / "site" / "conf" / "avow.conf", *command)
            check(done, FAILED, "topics apply", stdout="")
    finally:
        broker.stop()


def test_wrong_root__exit_4(quiet, avow, tmp_path):
    check(avow("init", tmp_path / "other"), OK)
    done = quiet.cli("agent", "list", "--set", f"cli.root={tmp_path}/other/root/root.pem")
    check(done, UNTRUSTED, "not in the root file", "root.pem of this installation", stdout="")


def test_topics_apply__where_another_installation_is__refuses(quiet, avow, tmp_path):
    check(avow("init", tmp_path / "other", "--bootstrap", quiet.site.broker.bootstrap, "--partitions", "4"), OK)
    done = avow("--config", tmp_path / "other" / "conf" / "avow.conf", "topics", "apply")
    check(done, UNTRUSTED, "another installation", "--topic-prefix")
    check(quiet.cli("policy", "list"), OK)


def test_bundle_older_than_known__is_a_rollback(fresh, tmp_path, bin_dir, avow):
    fresh.publish_bundle(2)
    check(fresh.cli("agent", "list"), OK)
    (tmp_path / "broker").mkdir()
    old = DevBroker(tmp_path / "broker", bin_dir, 4)
    try:
        elsewhere = ("--set", f"kafka.bootstrap.servers={old.bootstrap}")
        check(fresh.cli("topics", "apply", *elsewhere), UNTRUSTED, "bus.rollback", "version 1", "version 2")
        old_record = (fresh.site.dir / "root" / "bundle.avro").read_bytes()
        producer = Producer({"bootstrap.servers": old.bootstrap, "log_level": 2})
        producer.produce("avow.trust", key=b"bundle", value=old_record, partition=0)
        assert producer.flush(10) == 0
        check(fresh.cli("agent", "list", *elsewhere), UNTRUSTED, "bus.rollback", "version 2", stdout="")
        # Without a ledger the version is kept with the user's state.
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        conf = ("--config", fresh.site.dir / "conf" / "avow.conf", "agent", "list", "--set", "cli.ledger=")
        check(avow(*conf, env=state), OK)
        check(avow(*conf, *elsewhere, env=state), UNTRUSTED, "bus.rollback", stdout="")
        check(avow(*conf, *elsewhere, env={"XDG_STATE_HOME": str(tmp_path / "other-state")}), OK)
    finally:
        old.stop()


def test_bundle_of_another_fleet_signed_by_the_same_root__is_refused(fresh):
    check(fresh.cli("agent", "list"), OK)
    fresh.publish_bundle(5, fleet=bytes(16))
    check(fresh.cli("agent", "list"), OK, "refused", "fleet")


def test_tail__follows_a_change_of_keys(fresh):
    fresh.enrol("a")
    tail = Tail(fresh.site, "verdict", "tail", "--from-start")
    fresh.put("verdicts", "a", fresh.verdict("a", 1))
    tail.wait("seq 1")
    new = ec.generate_private_key(ec.SECP256R1())
    entry = {"id": records.key_id(spki(new)), "alg": "ecdsa_p256", "spki": spki(new), "roles": ["worker"],
             "status": "active", "names": []}  # fmt: skip
    retired = [{**k, "status": "revoked"} if k["roles"] == ["worker"] else k for k in fresh.bundle["keys"]]
    fresh.publish_bundle(2, keys=[*retired, entry])
    time.sleep(1)
    fresh.put("verdicts", "a", fresh.verdict("a", 2, key=new))
    tail.wait("seq 2")
    fresh.put("verdicts", "a", fresh.verdict("a", 3))
    fresh.put("verdicts", "a", fresh.verdict("a", 4, key=new))
    tail.wait("seq 4")
    assert not any("seq 3" in line for line in tail.lines)
    assert tail.end() == UNTRUSTED, "something was refused"


# --- readers and hostile records

ESCAPES = "\x1b[2J\x1b]0;owned\x07 \u009b31m \u202eevil\u200b \x7f 日本"


def test_hostile_text__never_reaches_the_terminal(quiet):
    quiet.enrol("esc", metadata=ESCAPES)
    quiet.put("verdicts", "esc", quiet.verdict("esc", 1, status="untrusted", detail=ESCAPES))
    quiet.put("revocations", "esc", quiet.revocation("esc", 900, detail=ESCAPES, event_id="x\x1b[31m", severity="\x1b"))
    for command in (
        ("agent", "list", "-o", "wide"),
        ("agent", "status", "esc"),
        ("verdict", "tail", "esc", "--exit"),
        ("revocation", "tail", "esc", "--exit"),
    ):
        done = quiet.cli(*command)
        text = done.stdout + done.stderr
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]", text), (command, text)
        assert "日本" in text, "what is readable stays"
    shown = json.loads(quiet.cli("agent", "status", "esc", "--json").stdout)
    assert shown["verdict"]["findings"][0]["detail"] == ESCAPES, "JSON carries it unchanged"


def test_verdicts__forged_old_and_misplaced__do_not_count(quiet):
    home = murmur2(b"target") % 4
    quiet.enrol("target")
    quiet.put("verdicts", "target", quiet.verdict("target", 5, status="untrusted", detail="bad"))
    forger = ec.generate_private_key(ec.SECP256R1())
    quiet.put("verdicts", "target", quiet.verdict("target", 50, key=forger))
    quiet.put("verdicts", "target", quiet.verdict("target", 51, key=quiet.tenant))  # a key of the fleet, not a worker's
    quiet.put("verdicts", "target", quiet.verdict("target", 52, fleet=bytes(16)))
    quiet.put("verdicts", "target", quiet.verdict("other", 53))  # a record of another key
    quiet.put("verdicts", "target", quiet.verdict("target", 54), partition=(home + 1) % 4)
    quiet.put("verdicts", "target", b"\xc3\x01garbage")
    quiet.put("verdicts", "target", b"")
    quiet.put("verdicts", "target", None)
    quiet.put("verdicts", "target", quiet.verdict("target", 4))  # genuine, and older
    for command in (("agent", "status", "target"), ("agent", "list")):
        done = quiet.cli(*command)
        assert "untrusted" in done.stdout
        assert "were refused" in done.stderr and "older than what stood before" in done.stderr, done.stderr
    check(quiet.cli("agent", "status", "target"), UNTRUSTED)
    done = check(quiet.cli("verdict", "tail", "target", "--exit"), UNTRUSTED, "is refused", "bus.rollback")
    assert [line for line in done.stdout.splitlines() if "seq" in line] == [
        line for line in done.stdout.splitlines() if "seq 5 " in line
    ], done.stdout
    all_agents = quiet.cli("verdict", "tail", "--exit", "--json")
    assert {json.loads(line)["seq"] for line in all_agents.stdout.splitlines() if '"target"' in line} == {5}


def test_verdict__equal_or_higher_seq_wins(quiet):
    quiet.enrol("moves")
    quiet.put("verdicts", "moves", quiet.verdict("moves", 1, status="untrusted", detail="bad"))
    quiet.put("verdicts", "moves", quiet.verdict("moves", 2))
    check(quiet.cli("agent", "status", "moves"), OK)


@pytest.mark.parametrize(
    "status, lasts_ms, generation, shown, code",
    [
        ("trusted", 60000, 1, "trusted", OK),
        ("trusted", -1, 1, "expired", UNTRUSTED),
        ("trusted", 60000, 2, "pending", UNTRUSTED),  # earned by an earlier enrolment
        ("untrusted", 60000, 1, "untrusted", UNTRUSTED),
        ("untrusted", 60000, 2, "untrusted", UNTRUSTED),
        ("silent", 60000, 1, "silent", UNTRUSTED),
        ("pending", 60000, 1, "pending", UNTRUSTED),
        (None, 0, 1, "pending", UNTRUSTED),
    ],
)
def test_status__is_what_a_relying_party_may_believe(quiet, status, lasts_ms, generation, shown, code):
    agent = f"s-{status}-{lasts_ms}-{generation}".lower().replace("--", "-")
    quiet.enrol(agent, generation)
    if status:
        quiet.put("verdicts", agent, quiet.verdict(agent, 1, status, lasts_ms))
    done = check(quiet.cli("agent", "status", agent), code)
    assert re.search(rf"^status +{shown}$", done.stdout, re.M), done.stdout
    got = json.loads(check(quiet.cli("agent", "status", agent, "--json"), code).stdout)
    assert (got["agent"], got["status"], got["generation"]) == (agent, shown, generation)
    assert (got["verdict"] or {}).get("status") == status
    row = next(r for r in table(quiet.cli("agent", "list", "-o", "wide").stdout) if r["AGENT"] == agent)
    assert row["STATUS"] == shown and row["RUNTIME POLICY"] == "good"
    entry = next(e for e in json.loads(quiet.cli("agent", "list", "--json").stdout) if e["agent"] == agent)
    assert entry["status"] == shown


def test_enrolments__removed_forged_conflicting(quiet):
    quiet.enrol("gone", 1)
    quiet.enrol("gone", 2, status="removed")
    check(quiet.cli("agent", "status", "gone"), NOTFOUND, "not enrolled")
    check(quiet.cli("agent", "rm", "gone"), NOTFOUND, "not enrolled")
    quiet.enrol("twice", 3, metadata="first")
    quiet.enrol("twice", 3, metadata="second")
    done = check(quiet.cli("agent", "list", "-o", "wide"), OK, "enrollment.conflict")
    row = next(r for r in table(done.stdout) if r["AGENT"] == "twice")
    assert row["METADATA"] == "first"
    assert not any(r["AGENT"] == "gone" for r in table(done.stdout))
    quiet.put("enrollments", "gone", None)  # a null says nothing (PROTOCOL R10)
    check(quiet.cli("agent", "status", "gone"), NOTFOUND)


def test_verdict_ahead_of_the_enrolment__is_a_rollback(quiet):
    quiet.enrol("ahead", 1)
    quiet.put("verdicts", "ahead", quiet.verdict("ahead", 1, enrollment_generation=4))
    check(quiet.cli("agent", "status", "ahead"), OK, "bus.rollback", "generation 4")


def test_long_ids__are_short_in_the_table_and_whole_when_wide(quiet):
    agent = "ab" * 32
    quiet.enrol(agent)
    assert "abababababababab…" in quiet.cli("agent", "list").stdout
    assert agent in quiet.cli("agent", "list", "-o", "wide").stdout


def test_agents_are_listed_in_order(quiet):
    names = [e["agent"] for e in json.loads(quiet.cli("agent", "list", "--json").stdout)]
    assert len(names) > 5 and names == sorted(names)


# --- revocation tail


@pytest.fixture(scope="module")
def revoked(quiet):
    quiet.put("revocations", "rev", quiet.revocation("rev", 1, detail='a "quoted" detail\n'))
    quiet.put("revocations", "rev", quiet.revocation("rev", 2, "silent", event_id="agent.silent", to="silent"))
    quiet.put("revocations", "rev", quiet.revocation("rev", 3, "recovery", to="trusted"))
    quiet.put("revocations", "rev", quiet.revocation("rev", 1))  # told again after a crash: the same id
    quiet.put("revocations", "fleet", quiet.revocation("fleet", 4, "alarm", event_id="fleet.mass_silence"), partition=1)
    return quiet


def revocations(q, *args):
    done = check(q.cli("revocation", "tail", "--exit", *args), OK)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_revocation_tail__people(revoked):
    done = check(revoked.cli("revocation", "tail", "rev", "--exit"), OK)
    events = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[1] for line in events] == ["revocation", "silent", "recovery"]
    assert "trusted -> untrusted  [critical] ima.digest_unknown" in events[0]
    assert "/usr/bin/x" in done.stdout


def test_revocation_tail__json_is_the_record(revoked):
    got = revocations(revoked, "rev", "--json")
    assert [r["class"] for r in got] == ["revocation", "silent", "recovery"]
    assert got[0]["findings"][0]["detail"] == 'a "quoted" detail\n' and got[0]["metadata"] == 'rack "7"'
    assert got[0]["id"] == (1).to_bytes(16, "big").hex()
    assert revocations(revoked, "rev", "--format", "json") == got
    assert len(revocations(revoked, "rev", "--json", "--count", "2")) == 2


def test_revocation_tail__avro_json_is_read_by_fastavro(revoked, tmp_path):
    import fastavro

    done = check(revoked.cli("revocation", "tail", "rev", "--exit", "--format", "avro-json"), OK)
    path = tmp_path / "records"
    path.write_text(done.stdout)
    schema = fastavro.parse_schema(json.loads((records.SCHEMAS / "revocation.avsc").read_text()))
    with open(path) as f:
        got = list(fastavro.json_reader(f, schema))
    assert [r["class"] for r in got] == ["revocation", "silent", "recovery"]
    assert got[0]["id"] == (1).to_bytes(16, "big")


def test_revocation_tail__cloudevents(revoked):
    first = revocations(revoked, "rev", "--format", "cloudevents")[0]
    assert first["specversion"] == "1.0" and first["type"] == "avow.revocation" and first["subject"] == "rev"
    assert first["source"] == f"/avow/{revoked.fleet.hex()}" and first["id"] == first["data"]["id"]
    assert first["datacontenttype"] == "application/json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert first["data"]["findings"][0]["detail"] == 'a "quoted" detail\n'


def test_revocation_tail__keylime_has_words_for_revocations_and_silence_only(revoked):
    got = revocations(revoked, "rev", "--format", "keylime")
    assert [set(e) for e in got] == [{"msg", "signature"}] * 2
    first, second = (json.loads(e["msg"]) for e in got)
    assert (first["type"], second["type"]) == ("revocation", "comm_error")
    assert first["agent_id"] == "rev" and first["meta_data"] == 'rack "7"'
    assert first["event_id"] == "ima.validation.ima-ng.not_in_allowlist" and first["severity_label"] == "critical"
    time.strptime(first["event_time"], "%a %b %d %H:%M:%S %Y")
    assert json.loads(first["context"])["ima.digest_unknown"][0]["where"] == "/usr/bin/x"
    assert set(first) == {"type", "ip", "agent_id", "port", "tpm_policy", "meta_data", "event_time", "event_id",
                          "severity_label", "context"}  # fmt: skip


def test_revocation_tail__alarms_of_the_fleet_from_any_partition(revoked):
    assert [r["event_id"] for r in revocations(revoked, "fleet", "--json")] == ["fleet.mass_silence"]


def test_revocation_tail__forged__is_refused_and_exit_4(fresh):
    fresh.put("revocations", "x", fresh.revocation("x", 1, key=fresh.tenant))
    fresh.put("revocations", "x", fresh.revocation("x", 2))
    done = check(fresh.cli("revocation", "tail", "--exit", "--json"), UNTRUSTED, "is refused", "role worker")
    assert len(done.stdout.splitlines()) == 1


def test_tail__flood_of_forgeries__is_not_told_one_by_one(fresh):
    value = fresh.revocation("x", 1, key=fresh.tenant)
    producer = Producer({"bootstrap.servers": fresh.site.broker.bootstrap, "log_level": 2})
    for _ in range(300):
        producer.produce("avow.revocations", key=b"x", value=value, partition=murmur2(b"x") % 4)
    producer.flush(10)
    done = check(fresh.cli("revocation", "tail", "--exit"), UNTRUSTED)
    lines = done.stderr.splitlines()
    assert len(lines) < 15 and re.search(r"29\d", lines[-1]), done.stderr


def test_tail__from_now_on__shows_only_what_comes(quiet):
    tail = Tail(quiet.site, "revocation", "tail", "now")
    quiet.put("revocations", "now", quiet.revocation("now", 500))
    time.sleep(1.5)
    quiet.put("revocations", "now", quiet.revocation("now", 501))
    line = tail.wait("now")
    assert len([x for x in tail.lines if "now" in x]) in (1, 2) and "revocation" in line
    assert not any("rack" in x for x in tail.lines)
    assert tail.end(signal.SIGTERM) == OK
    again = Tail(quiet.site, "revocation", "tail", "now")
    time.sleep(1.5)
    assert again.lines == [] and again.end() == OK


# --- watch


def test_watch__shows_the_present_then_changes_and_expiry(quiet):
    quiet.enrol("watched")
    quiet.put("verdicts", "watched", quiet.verdict("watched", 1, lasts_ms=600000))
    watch = Tail(quiet.site, "agent", "watch", "watched")
    watch.wait("trusted")
    quiet.put("verdicts", "watched", quiet.verdict("watched", 2, lasts_ms=600000))  # a refresh is no change
    quiet.put("verdicts", "watched", quiet.verdict("watched", 3, status="untrusted", detail="bad\x1b"))
    watch.wait("trusted -> untrusted")
    watch.wait("ima.digest_unknown")
    quiet.put("verdicts", "watched", quiet.verdict("watched", 4, lasts_ms=1500))
    watch.wait("untrusted -> trusted")
    watch.wait("trusted -> expired", 10)
    quiet.put("verdicts", "watched", quiet.verdict("watched", 3, lasts_ms=600000))  # older: says nothing
    time.sleep(1)
    assert watch.end() == OK
    changes = [line for line in watch.lines if not line.startswith(" ")]
    assert len(changes) == 4, watch.lines


def test_watch__json_lines(quiet):
    quiet.enrol("wjson")
    watch = Tail(quiet.site, "agent", "watch", "wjson", "--json")
    watch.wait('"pending"')
    quiet.put("verdicts", "wjson", quiet.verdict("wjson", 1))
    watch.wait('"trusted"')
    assert watch.end() == OK
    first, second = (json.loads(line) for line in watch.lines)
    assert (first["status"], first["previous"], first["verdict"]) == ("pending", None, None)
    assert (second["status"], second["previous"], second["verdict"]["seq"]) == ("trusted", "pending", 1)


def test_follow__broker_goes_away__says_so_and_waits(fresh):
    watch = Tail(fresh.site, "agent", "watch")
    time.sleep(1)
    fresh.site.broker.stop()
    wait_for(lambda: any("Kafka" in e for e in watch.errors), 15, f"a word about the broker: {watch.errors}")
    assert watch.p.poll() is None
    assert watch.end() == OK


# --- standard streams


def on_terminal(site, *args, env=None):
    master, slave = pty.openpty()
    p = subprocess.Popen(
        [str(site.bin / "avow"), "--config", str(site.dir / "conf" / "avow.conf"), *args],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm", **(env or {})},
    )  # fmt: skip
    os.close(slave)
    out = b""
    while True:
        try:
            got = os.read(master, 65536) if select.select([master], [], [], 20)[0] else b""
        except OSError:
            got = b""
        if not got:
            break
        out += got
    os.close(master)
    p.stderr.close()
    return p.wait(20), out.decode()


def test_colours__on_a_terminal_only_and_never_with_no_color(quiet):
    quiet.enrol("colour")
    quiet.put("verdicts", "colour", quiet.verdict("colour", 1, lasts_ms=600000))
    code, text = on_terminal(quiet.site, "agent", "status", "colour", env={"NO_COLOR": ""})
    assert code == OK and "\x1b[32mtrusted\x1b[0m" in text
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": ""}):
        code, text = on_terminal(quiet.site, "agent", "status", "colour", env=env)
        assert code == OK and "\x1b" not in text and "trusted" in text
    assert "\x1b" not in quiet.cli("agent", "status", "colour").stdout


def shell(site, script):
    env = {**os.environ, "avow": f"{site.bin}/avow --config {site.dir}/conf/avow.conf"}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=env)


def test_full_disk_behind_stdout__is_a_failure(quiet):
    done = shell(quiet.site, "$avow agent list >/dev/full")
    check(done, FAILED, "standard output: No space left")
    check(shell(quiet.site, "$avow --help >/dev/full"), FAILED, "standard output")
    check(shell(quiet.site, "$avow policy list --json >/dev/full"), FAILED, "standard output")


def test_closed_stdout__is_a_failure_and_no_crash(quiet):
    check(shell(quiet.site, "$avow agent list >&-"), FAILED, "standard output: Bad file descriptor")
    check(shell(quiet.site, "$avow agent list >&- 2>&- <&-"), FAILED)


def test_reader_that_goes_away__ends_quietly_with_the_commands_own_code(quiet):
    quiet.enrol("pipe")
    quiet.put("verdicts", "pipe", quiet.verdict("pipe", 1, status="untrusted", detail="bad"))
    done = shell(quiet.site, "$avow agent status pipe | true; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr.replace("avow: warning", "")) and done.stdout == "4\n", done
    before = time.monotonic()
    done = shell(quiet.site, "$avow verdict tail pipe --from-start | head -n 1; echo ${PIPESTATUS[0]}")
    assert time.monotonic() - before < 15, "a tail must notice that nobody reads it"
    assert done.stdout.splitlines()[-1] == "0" and "seq 1" in done.stdout, done
    assert "standard output" not in done.stderr


# --- the whole thread


def test_agent_add__twice_replace_rm_and_again(busy):
    site = busy.site
    busy.host("life", enrol=False)
    said = site.enrol("life", "--runtime-policy", "good")
    assert re.match(r"life is trusted \(enrolment generation 1, epoch \d+\)", said)
    check(site.cli("agent", "add", "life"), FAILED, "enrolled already", "--replace", stdout="")
    done = check(site.cli("agent", "add", "life", "--replace", "--metadata", '--json "x', "--json"), OK, "EK certificate")
    got = json.loads(done.stdout)
    assert (got["status"], got["generation"], got["verdict"]["enrollment_generation"]) == ("trusted", 2, 2)
    assert "nobody judges which files" in done.stderr
    row = next(r for r in table(site.avow("agent", "list", "-o", "wide")) if r["AGENT"] == "life")
    assert row["METADATA"] == '--json "x' and row["GENERATION"] == "2"
    removed = json.loads(check(site.cli("agent", "rm", "life", "--json"), OK).stdout)
    assert removed == {"agent": "life", "removed": True, "generation": 3}
    check(site.cli("agent", "status", "life"), NOTFOUND, "it has registered", "avow agent add life")
    done = check(site.cli("agent", "add", "life", "--no-wait", "--json"), OK)
    assert json.loads(done.stdout) == {"agent": "life", "status": "pending", "generation": 4, "verdict": None}


def test_agent_add__before_registration__exit_5(busy):
    check(busy.site.cli("agent", "add", "nobody"), NOTFOUND, "nobody has not registered", "avow-agent")


def test_agent_add__no_such_policy__exit_5(busy):
    busy.host("lonely", enrol=False)
    wait_for(lambda: busy.site.cli("agent", "status", "lonely").stderr.count("has registered"), 15, "registration")
    check(busy.site.cli("agent", "add", "lonely", "--runtime-policy", "nope"), NOTFOUND, "no policy 'nope'", "policy push")
    assert busy.site.cli("agent", "status", "lonely").returncode == NOTFOUND, "nothing was enrolled"
    # What stands in the way of the same agent, one after the other.
    empty = busy.site.folder / "no-ca"
    empty.mkdir()
    done = busy.site.cli("agent", "add", "lonely", "--set", f"cli.ek_cert_store={empty}")
    check(done, UNTRUSTED, "issuer", "serial", "vendor", str(empty))
    check(busy.site.cli("agent", "add", "lonely", "--set", "cli.ek_cert_store=/nonexistent"), USAGE, "cli.ek_cert_store")
    check(busy.site.cli("agent", "add", "lonely", "--set", "cli.ek_cert_store="), USAGE, "cli.ek_cert_store")
    done = busy.site.cli("agent", "add", "lonely", "--heartbeat-ms", "50000")
    check(done, USAGE, "validity_ms is 9000", "59000")
    assert busy.site.cli("agent", "status", "lonely").returncode == NOTFOUND, "nothing was enrolled"
    check(busy.site.cli("agent", "add", "lonely", "--trust-registrar", "--set", f"cli.ek_cert_store={empty}"), OK)


def test_agent_add__tampered_host__exit_4_with_the_finding(busy):
    host = busy.host("tampered", enrol=False)
    host.ima("add", "/usr/bin/evil", sha256(b"evil"))
    wait_for(lambda: busy.site.cli("agent", "status", "tampered").stderr.count("has registered"), 15, "registration")
    done = check(busy.site.cli("agent", "add", "tampered", "--runtime-policy", "good"), UNTRUSTED)
    assert "tampered is untrusted" in done.stdout and "ima.digest_unknown" in done.stdout
    done = check(busy.site.cli("agent", "status", "tampered"), UNTRUSTED)
    assert "/usr/bin/evil" in done.stdout
    assert json.loads(busy.site.cli("agent", "status", "tampered", "--json").stdout)["status"] == "untrusted"


def test_agent_add__nobody_answers__exit_1_says_it_is_enrolled(busy):
    host = busy.host("mute", enrol=False)
    wait_for(lambda: busy.site.cli("agent", "status", "mute").stderr.count("has registered"), 15, "registration")
    host.agent.stop()
    done = busy.site.cli("agent", "add", "mute", "--timeout", "2")
    check(done, FAILED, "no verdict on mute", "within 2 s", "enrolled all the same", stdout="")
    check(busy.site.cli("agent", "status", "mute"), UNTRUSTED)
    waiting = Tail(busy.site, "agent", "add", "mute", "--replace")
    wait_for(lambda: any("EK certificate" in e for e in waiting.errors), 15, "the enrolment")
    time.sleep(0.5)
    assert waiting.end(signal.SIGINT) == FAILED
    assert any("interrupted" in e for e in waiting.errors) and any("enrolled all the same" in e for e in waiting.errors)
    assert waiting.lines == []


# --- a real Kafka


@pytest.fixture(scope="module")
def kafka(tmp_path_factory, bin_dir):
    site = Site(tmp_path_factory.mktemp("cli-kafka"), bin_dir, kafka=True, partitions=3)
    with site:
        site.start_broker()
        site.init()
        yield site


def admin_of(site):
    return AdminClient({"bootstrap.servers": site.broker.bootstrap, "log_level": 2})


def set_config(site, topic, name, value):
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = admin_of(site)
    for done in admin.incremental_alter_configs([wanted]).values():
        done.result(10)


def delete(site, *names):
    admin = admin_of(site)
    for done in admin.delete_topics(list(names)).values():
        done.result(10)
    wait_for(lambda: not set(names) & set(admin.list_topics(timeout=5).topics), 10, "deletion")


def topics_check(site, code):
    return json.loads(check(site.cli("topics", "check", "--replication", "1", "--json"), code).stdout)


def test_topics__from_nothing_to_right(kafka):
    check(kafka.cli("topics", "check"), FAILED, "topics apply", stdout="")
    done = kafka.cli("topics", "apply")  # three copies on one broker
    check(done, FAILED, "eplication factor", "--replication 1")
    done = check(kafka.cli("topics", "apply", "--replication", "1"), OK)
    assert done.stdout.count(" created") == 13 and "trust bundle version 1 published" in done.stdout
    done = check(kafka.cli("topics", "apply", "--replication", "1", "--json"), OK)
    report = json.loads(done.stdout)
    assert report["bundle"] == {"version": 1, "outcome": "unchanged"} and report["differs"] is False
    assert {t["text"] for t in report["topics"]} == {"as it should be"}
    assert topics_check(kafka, OK)["differs"] is False


def test_topics__changed_setting__check_and_apply_say_both_values(kafka):
    check(kafka.cli("topics", "apply", "--replication", "1"), OK)
    set_config(kafka, "avow.evidence", "retention.ms", "1000")
    try:
        done = check(kafka.cli("topics", "check", "--replication", "1"), FAILED, "1 topic differs")
        line = next(x for x in done.stdout.splitlines() if x.startswith("avow.evidence"))
        assert "retention.ms is 1000, not 604800000" in line
        report = topics_check(kafka, FAILED)
        assert [t["topic"] for t in report["topics"] if t["differs"]] == ["avow.evidence"]
        check(kafka.cli("topics", "apply", "--replication", "1"), FAILED, "never changed")
    finally:
        set_config(kafka, "avow.evidence", "retention.ms", "604800000")


def test_topics__another_number_of_partitions__is_refused_by_readers(kafka):
    check(kafka.cli("topics", "apply", "--replication", "1"), OK)
    admin = admin_of(kafka)
    for done in admin.create_partitions([NewPartitions("avow.verdicts", 5)]).values():
        done.result(10)
    wait_for(lambda: len(admin.list_topics(timeout=5).topics["avow.verdicts"].partitions) == 5, 10, "partitions")
    check(kafka.cli("agent", "list"), USAGE, "avow.verdicts has 5 partitions, the bundle says 3", "topics check")
    done = check(kafka.cli("topics", "check", "--replication", "1"), FAILED)
    assert "has 5 partitions, not 3" in done.stdout
    delete(kafka, "avow.verdicts")


def test_topics__deleted__is_found_and_made_again(kafka):
    kafka.cli("topics", "apply", "--replication", "1")
    delete(kafka, "avow.payloads", "avow.verdicts")
    report = topics_check(kafka, FAILED)
    gone = [t for t in report["topics"] if t["differs"]]
    assert [t["topic"] for t in gone] == ["avow.verdicts", "avow.payloads"]
    assert all("does not exist" in t["text"] for t in gone)
    check(kafka.cli("agent", "list"), FAILED, "avow.verdicts does not exist", "topics apply")
    check(kafka.cli("topics", "apply", "--replication", "1"), OK)
    assert topics_check(kafka, OK)["differs"] is False


def test_policy_and_tails_on_kafka(kafka, tmp_path):
    kafka.cli("topics", "apply", "--replication", "1")
    path = policy_file(tmp_path, runtime_policy(GOOD))
    assert "published" in check(kafka.cli("policy", "push", "p", path), OK).stdout
    assert kafka.cli("policy", "get", "p").stdout == path.read_text()
    check(kafka.cli("agent", "list"), OK, "no agent is enrolled", stdout="")
    assert json.loads(kafka.cli("agent", "list", "--json").stdout) == []
    check(kafka.cli("verdict", "tail", "--exit"), OK, stdout="")
