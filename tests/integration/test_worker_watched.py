"""What a worker shows to monitoring, and what it does with records that kill it (docs/MONITORING.md; ATTACKS AX7)."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from avowtest import records
from avowtest.field import Field
from avowtest.forge import sha256
from avowtest.proc import free_port

from conftest import GOOD, ROOT


class Metrics(dict):
    """Samples by name and labels, as Prometheus would read them."""

    SAMPLE = re.compile(r'^([a-z_]+)(?:\{([a-z]+)="([^"]*)"\})? (\S+)$')

    def __init__(self, text: str):
        self.types, helped = {}, set()
        for line in text.splitlines():
            if line.startswith("# HELP "):
                helped.add(line.split()[2])
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name in helped and name not in self.types, f"{name} is described twice, or not"
                self.types[name] = kind
            else:
                name, label, value, number = self.SAMPLE.match(line).groups()
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                assert name in self.types or self.types.get(base) == "histogram", line
                assert (name, value) not in self or label == "le", line
                self[name, value] = float(number)


class Watched:
    def __init__(self, port: int):
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self) -> Metrics:
        status, text = self.get("/metrics")
        assert status == 200
        return Metrics(text)

    def wait(self, accept, what: str, timeout: float = 20) -> Metrics:
        deadline = time.monotonic() + timeout
        while not accept(m := self.metrics()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {m}")
            time.sleep(0.1)
        return m


@pytest.fixture(scope="module")
def field(module_site, tmp_path_factory):
    t = module_site()
    field = Field(t.site, t.view)
    field.thread = t
    field.scratch = tmp_path_factory.mktemp("scratch")
    field.stop_worker()
    yield field
    field.close()


@pytest.fixture
def watched(field):
    """A worker that can be asked, and that keeps a book of poison."""
    w = Watched(free_port())
    start_worker(field, w).wait_output("ready", 30)
    yield w
    field.stop_worker()


def start_worker(field, w: Watched, env=None):
    return field.site.start_worker(
        "w1", env, metrics__listen=f"127.0.0.1:{w.port}", worker__scratch_dir=str(field.scratch)
    )


def test_metrics__a_good_and_a_bad_host__counted_by_status_and_finding(field, watched):
    host = field.host("watched-good")
    bad = field.host("watched-bad")
    bad.measure("/usr/bin/evil", sha256(b"evil"))
    assert bad.attest()["status"] == "untrusted"
    field.settled(bad.partition)
    m = watched.wait(lambda m: m["avow_worker_agents", "untrusted"] == 1, "the bad host")
    assert m["avow_worker_agents", "trusted"] >= 1
    assert m["avow_worker_revocations_total", "revocation"] == 1
    assert m["avow_worker_findings_total", "ima.digest_unknown"] >= 1
    assert m["avow_worker_partitions_assigned", None] == field.partitions
    assert m["avow_worker_evidence_to_verdict_seconds_count", None] == m["avow_worker_evidence_appraised_total", None]
    assert 0 < m["avow_worker_evidence_to_verdict_seconds_sum", None] < 60
    assert m["avow_worker_transactions_total", "committed"] >= 1
    watched.wait(lambda m: ("avow_worker_partition_lag_records", str(host.partition)) in m, "a look at the end")
    bad.renew(recovery="operator")


def test_metrics__names__are_those_that_are_documented(field, watched):
    text = (ROOT / "docs" / "MONITORING.md").read_text()
    documented = set(re.findall(r"^\| `(avow_worker_[a-z_]+)`", text, re.MULTILINE))
    assert set(watched.metrics().types) == documented


def test_alert_rules__metrics_and_labels__are_those_of_the_worker(field, watched):
    text = (ROOT / "deploy" / "prometheus" / "avow.rules.yml").read_text()
    used = set(re.findall(r"avow_worker_[a-z_]+", text))
    assert len(used) > 5
    m = watched.wait(lambda m: used <= {name for name, _ in m}, f"samples of {used}")
    for name, value in re.findall(r'(avow_worker_[a-z_]+)\{[a-z]+!?="([^"]*)"', text):
        assert (name, value) in m, (name, value)


def test_readyz__no_broker_to_restore_from__503_then_200(field):
    w = Watched(free_port())
    proc = field.site.start_worker("w1", metrics__listen=f"127.0.0.1:{w.port}", topic__prefix="elsewhere.")
    proc.wait_output("metrics", 20)
    assert w.get("/healthz")[0] == 200
    status, text = w.get("/readyz")
    assert status == 503 and "waits for a trust bundle" in text
    assert proc.stop() == 0
    start_worker(field, w).wait_output("ready", 30)
    status, text = w.get("/readyz")
    assert (status, text) == (200, f"thread 0 serves {field.partitions} of {field.partitions} partitions\n")
    field.stop_worker()


def test_readyz__two_threads__all_partitions_between_them(field):
    w = Watched(free_port())
    proc = field.site.start_worker("w1", metrics__listen=f"127.0.0.1:{w.port}", worker__threads="2")
    proc.wait_output("metrics", 20)
    deadline = time.monotonic() + 40
    while w.get("/readyz")[0] != 200 or w.metrics()["avow_worker_partitions_assigned", None] != field.partitions:
        assert time.monotonic() < deadline, proc.output()[-1500:]
        time.sleep(0.2)
    m = w.metrics()
    assert m["avow_worker_threads", None] == 2
    assert sum(v for (n, _), v in m.items() if n == "avow_worker_partition_serving") == field.partitions
    field.stop_worker()


@pytest.fixture(scope="module")
def poison(tmp_path_factory):
    """Environment of a worker that dies whenever it looks at this evidence."""
    folder = tmp_path_factory.mktemp("poison")
    library = folder / "poison.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, ROOT / "tests" / "support" / "poison.c"],
        check=True,
    )

    def make(value: bytes) -> dict[str, str]:
        content = folder / "attest"
        content.write_bytes(records.decode(value)[1]["attest"])
        return {
            "LD_PRELOAD": str(library),
            "AVOW_POISON": str(content),
            "ASAN_OPTIONS": "verify_asan_link_order=0",
        }

    return make


def died(proc, timeout: float = 40) -> int:
    try:
        return proc.wait(timeout)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"still alive: {proc.output()[-1500:]}") from None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_ax7_record_that_kills_the_process__skipped_at_the_third_start(field, watched, poison, place):
    """At each place of three: the neighbours are judged, and the killer has its own as soon as it answers again."""
    partition = 1
    hosts = [field.host(field.name_in(partition, f"ax7-{place}-{i}")) for i in range(3)]
    epoch = field.marker(partition)
    values = [h.evidence(epoch) for h in hosts]
    field.stop_worker()
    offsets = [h.send(v) for h, v in zip(hosts, values)]
    env = poison(values[place])
    for _ in range(2):
        assert died(start_worker(field, watched, env)) == -signal.SIGKILL
    start_worker(field, watched, env).wait_output("ready", 30)
    letter = field.dead_letter(partition, offsets[place])
    assert letter["reason"] == "poison"
    assert letter["sha256"] == sha256(values[place]) and values[place].startswith(letter["excerpt"])
    alarm = field.wait_alarm("evidence.poison", accept=lambda r: r["key"] == hosts[place].name)
    assert f"offset {offsets[place]}" in alarm["findings"][0]["detail"]
    for i in {0, 1, 2} - {place}:
        state = field.judged(hosts[i].name, offsets[i])
        assert state["status"] == "trusted" and state["epoch"] == epoch["epoch"]
    m = watched.wait(lambda m: m["avow_worker_evidence_dropped_total", "poison"] == 1, "the skip")
    assert m["avow_worker_dead_letters_total", None] == 1
    hosts[place].resync()
    hosts[place].expect_trusted()
    for h in hosts:
        assert field.events(h.name) == []
    field.retire()


def test_ax7_killed_by_others_at_random__nothing_is_skipped(field, watched):
    """A SIGKILL from outside finds no record in hand, or once only."""
    host = field.host("ax7-random")
    for _ in range(4):
        value = host.evidence(field.marker(host.partition))
        field.site.workers["w1"].kill()
        offset = host.send(value)
        start_worker(field, watched).wait_output("ready", 40)
        assert field.judged(host.name, offset)["status"] == "trusted"
    assert [d for d in field.dead_letters([host.name]) if d["reason"] == "poison"] == []
    field.retire()
