"""Enrolments, policies, bundles, identities, states and verdicts that nobody with authority wrote, or that are old
(docs/ATTACKS.md, E, S, I, C), on a real Kafka."""

import json
import time

import pytest
from avowtest import records, topics
from avowtest.field import SoftHost, as_of, entries
from avowtest.forge import Signer, SoftTpm, seal, sha256
from avowtest.site import runtime_policy

from conftest import GOOD

BAD = sha256(b"something that no policy allows")


# --- Enrolments


def test_ae1_null_by_a_kafka_admin__still_attested_and_an_alarm(field):
    host = field.host("ae1")
    field.put("enrollments", "ae1", None)
    assert field.wait_alarm("enrollment.unsigned_delete", key="ae1")
    assert host.expect_trusted()["enrollment_generation"] == 1
    assert field.events("ae1") == []


def test_ae2_signed_removal_then_null__forgotten_quietly(field):
    host = field.host("ae2")
    host.enrol(status="removed")
    gone = field.view.wait_verdict("ae2", lambda v: v["enrollment_generation"] == 2, 10, "verdict of the removal")[0]
    assert gone["status"] == "pending"
    field.put("enrollments", "ae2", None)
    field.expect_drop("unenrolled", "ae2", host.evidence(field.marker(host.partition)))
    assert field.view.revocations("ae2") == []
    field.soft.remove(host)


def test_ae3_older_generation__ignored(field):
    host = field.host("ae3")
    old = field.newest_enrolment("ae3")
    host.renew(metadata="the second")
    assert host.expect_trusted()["enrollment_generation"] == 2
    other = field.host(field.name_in(host.partition, "ae3-other"))
    field.put("enrollments", "ae3", old)
    host.forge_enrolment(field.tenant, generation=1)
    other.renew()  # is read after them
    assert host.expect_trusted()["enrollment_generation"] == 2
    host.renew(metadata="the third")
    assert host.expect_trusted()["enrollment_generation"] == 3
    assert field.events("ae3") == []


def test_ae4_equal_generation_other_content__enrollment_conflict(field):
    host = field.host("ae4")
    host.forge_enrolment(field.tenant)
    assert field.wait_alarm("enrollment.conflict", key="ae4")
    assert host.expect_trusted()["enrollment_generation"] == 1
    assert field.events("ae4") == []


def test_ae5_enrolment_of_another_agent__ignored(field):
    host = field.host(field.name_in(field.partition("bob"), "ae5"))
    asked = len(field.directives("bob"))
    host.forge_enrolment(field.tenant, key="bob", generation=99)
    host.renew()  # of the same partition: read after it
    host.expect_trusted()
    assert len(field.directives("bob")) == asked, "bob was asked to attest under it"
    field.grow("bob")
    grown = entries(field.states("bob")[-1]) + 1
    state = field.wait_state("bob", lambda s: entries(s) >= grown, 10, "of a grown list")
    assert state["enrollment_generation"] == 1
    field.unharmed("bob")


@pytest.mark.parametrize("who", ["worker", "registrar", "policies_only", "old_worker", "old_tenant", "stranger", "nobody"])
def test_ae6_enrolment_by_a_key_without_the_role__ignored(field, who):
    host = field.host("ae6-" + who.replace("_", "-"))
    signer = {"stranger": Signer.generate(), "nobody": None}.get(who) or getattr(field, who, None)
    host.forge_enrolment(signer, generation=9)
    host.renew()  # of generation 2: it would be refused if the forged one had been accepted
    assert host.expect_trusted()["enrollment_generation"] == 2
    assert field.events(host.name) == []


def test_ae7_enrolment_of_the_staging_fleet__ignored(field):
    host = field.host("ae7")
    host.forge_enrolment(field.tenant, generation=9, fleet=sha256(b"staging")[:16])
    host.renew()
    assert host.expect_trusted()["enrollment_generation"] == 2
    assert field.events("ae7") == []


# --- Policies


class Policy:
    """A policy in two chunks, as `avow policy push` writes it, but chunk by chunk."""

    def __init__(self, field, name):
        self.field, self.name = field, name
        self.text = json.dumps(runtime_policy({**GOOD, f"/usr/bin/{name}": GOOD["/usr/bin/one"]})).encode()
        self.halves = self.split(self.text)
        # Another policy, as long as this one.
        self.evil = self.split(self.text.replace(GOOD["/usr/bin/two"][0].encode(), BAD.hex().encode()))

    @staticmethod
    def split(text):
        half = len(text) // 2
        return [text[:half], text[half:]]

    def head(self, generation=1, signer=None, **changes):
        head = {
            "fleet": self.field.fleet,
            "key": f"head/{self.name}",
            "generation": generation,
            "kind": "runtime",
            "sha256": sha256(self.text),
            "bytes": len(self.text),
            "chunks": 2,
            "require_dsse": False,
            "issued_ms": int(time.time() * 1000),
            **changes,
        }
        self.field.put("policies", head["key"], seal("policy_head", head, signer or self.field.tenant), 0)

    def chunk(self, index, data, count=2):
        value = records.encode("policy_chunk", {"index": index, "count": count, "bytes": data})
        self.field.put("policies", f"blob/{sha256(self.text).hex()}/{index}", value, 0)

    def genuine(self):
        for index, data in enumerate(self.halves):
            self.chunk(index, data)


CHUNKS = {
    "replaced": lambda p: (p.chunk(0, p.evil[0]), p.chunk(1, p.evil[1])),
    "swapped": lambda p: (p.chunk(0, p.halves[1]), p.chunk(1, p.halves[0])),
    "missing": lambda p: (p.chunk(0, p.halves[0]),),
    "count": lambda p: (p.chunk(0, p.text, count=1),),
}


@pytest.mark.parametrize("how", CHUNKS)
def test_ae9_chunk_tampered__policy_unavailable_no_verdict_no_pass(field, how):
    name = f"ae9-{how}"
    policy = Policy(field, name)
    CHUNKS[how](policy)
    policy.head()
    host = SoftHost(field, name, SoftTpm(), name)
    field.soft.append(host)
    host.enrol()
    field.wait_state(name, lambda s: True, 15, "of an enrolled host")
    state = host.attest()
    assert state["status"] == "pending" and as_of(state) == -1 and not state["findings"]
    assert field.wait_alarm("policy.unavailable", accept=lambda r: name in str(r) or sha256(policy.text).hex()[:16] in str(r))
    policy.genuine()
    host.resync()
    host.expect_trusted()  # nothing but the policy was missing
    assert field.events(name) == []


# --- Bundles


def judged_under(host, version):
    """Attests until the worker judges by this bundle."""
    deadline = time.monotonic() + 15
    while host.expect_trusted()["bundle_version"] != version:
        assert time.monotonic() < deadline, f"bundle {version} is not used"
        time.sleep(0.1)


def test_ae11_bundle_rolled_back__alarm_and_the_newer_one_stays(field):
    host = field.host("ae11")
    newer = field.bundle.value(version=2)
    field.put("trust", "bundle", newer, 0)
    judged_under(host, 2)
    try:
        field.put("trust", "bundle", field.bundle.value(version=1), 0)
        field.wait_alarm("bus.rollback")
        assert host.expect_trusted()["bundle_version"] == 2
    finally:
        field.put("trust", "bundle", newer, 0)  # what compaction leaves in the end


def test_ae12_bundle_by_a_root_that_nobody_knows__ignored(field):
    host = field.host("ae12")
    field.put("trust", "bundle", field.bundle.value(Signer.generate(), version=99), 0)
    field.put("trust", "bundle", field.bundle.value(field.tenant, version=99), 0)
    field.put("trust", "bundle", field.bundle.value(version=3), 0)  # the control comes after it
    judged_under(host, 3)
    field.site.hosts["bob"].agent.wait_output("bundle.refused", 5)
    field.site.workers["w1"].wait_output("bundle_refused", 5)


# --- Identities


def test_ai6_stolen_registrar_key_publishes_another_ak__workers_unaffected(field):
    genuine = [r for r in topics.read(field.site.broker.bootstrap, "avow.identities") if r.key == b"bob"][-1]
    mallory = SoftTpm()
    identity = {**records.decode(genuine.value)[1], "ak_public": mallory.ak_public}
    field.put("identities", "bob", seal("identity", identity, field.registrar))
    host = SoftHost(field, "bob", mallory, "good")
    # Not even of the algorithm that bob is enrolled with; and with it, not of his key.
    field.expect_drop("algorithm", "bob", host.evidence(field.marker(host.partition)))
    field.put("identities", "bob", genuine.value)


# --- Verdicts


def forged_verdict(field, agent, signer, **changes):
    verdict = field.view.verdicts("bob")[-1]
    field.put("verdicts", agent, seal("verdict", {**verdict, "key": agent, "seq": 2**40, **changes}, signer))


def test_ac1_verdict_by_the_tenant_or_a_stranger__cli_exits_4(field):
    name = "ac1"
    host = SoftHost(field, name, SoftTpm(), "good")
    field.soft.append(host)
    host.enrol()
    field.view.wait_verdict(name, lambda v: v["status"] == "pending", 10, "first verdict")
    for signer in (field.tenant, Signer.generate(), field.old_worker, None):
        forged_verdict(field, name, signer)
    status = field.site.cli("agent", "status", name)
    assert status.returncode == 4 and "pending" in status.stdout, status.stdout + status.stderr
    tail = field.site.cli("verdict", "tail", name, "--exit", "--json")
    assert tail.returncode == 4 and tail.stderr.count("refused") >= 4, tail.stdout + tail.stderr
    assert [json.loads(line)["status"] for line in tail.stdout.splitlines()] == ["pending"]


def test_ac3_older_verdict_again__ignored_by_seq(field):
    host = field.host("ac3")
    trusted = field.view.wait_verdict("ac3", lambda v: v["status"] == "trusted", 10, "trusted")[1]
    host.measure("/usr/bin/evil", BAD)
    host.attest()
    field.view.wait_verdict("ac3", lambda v: v["status"] == "untrusted", 10, "untrusted")
    field.put("verdicts", "ac3", trusted.value)
    status = field.site.cli("agent", "status", "ac3")
    assert status.returncode == 4 and "untrusted" in status.stdout, status.stdout + status.stderr
    tail = field.site.cli("verdict", "tail", "ac3", "--exit", "--json")
    seqs = [json.loads(line)["seq"] for line in tail.stdout.splitlines()]
    assert seqs == sorted(set(seqs)) and len(seqs) >= 2
    assert "bus.rollback" in tail.stderr


# --- State: what an attacker does while no worker is there, seen after the next start


@pytest.fixture(scope="module")
def tampered(battle):
    """Hosts whose states were tampered with between two workers; what was there before, by name."""
    field = battle
    names = {n: f"{n}-host" for n in ("as1", "as2", "as3", "as4", "control")}
    names["as2b"] = field.name_in(field.partition(names["as2"]), "as2b")
    # Older than a minute, so that workers do not take an absent state for that of a host that is new.
    issued = int(time.time() * 1000) - 3_600_000
    hosts = {n: field.host(name, issued_ms=issued) for n, name in names.items()}
    field.soft.clear()  # they outlive the first test
    before = {n: field.newest("state", names[n]).value for n in hosts}
    # AS4: a violation whose state is then taken back, and whose evidence is played again.
    hosts["as4"].measure("/usr/bin/evil", BAD)
    marker = field.marker(hosts["as4"].partition)
    evil = hosts["as4"].evidence(marker)
    field.judged(names["as4"], hosts["as4"].send(evil))
    revocation = field.view.wait_revocation(names["as4"], lambda r: r["class"] == "revocation", 10, "revocation")[0]
    field.stop_worker()
    flipped = bytearray(field.newest("state", names["as1"]).value)
    flipped[len(flipped) // 2] ^= 1
    field.put("state", names["as1"], bytes(flipped))
    field.put("state", names["as2b"], field.newest("state", names["as2"]).value)
    field.put("state", names["as2"], before["as2"], (hosts["as2"].partition + 1) % field.partitions)
    field.put("state", names["as3"], None)
    field.put("state", names["as4"], before["as4"])
    asked = {n: len(field.directives(names[n])) for n in hosts}
    field.start_worker()
    yield {"hosts": hosts, "before": before, "evil": evil, "revocation": revocation, "asked": asked}
    for host in hosts.values():
        host.enrol(status="removed")


def starts_anew(field, tampered, n):
    """The worker asks for everything, the host sends it and is trusted again, and there is no event."""
    host = tampered["hosts"][n]
    deadline = time.monotonic() + 15
    while len(field.directives(host.name)) == tampered["asked"][n]:
        assert time.monotonic() < deadline, "no resync was asked for"
        time.sleep(0.05)
    assert field.directives(host.name)[-1]["kind"]["ima_from"] == 0
    state = host.expect_trusted()
    assert state["ima"]["proven_count"] == 1 and field.events(host.name) == []
    old = records.decode(tampered["before"][n])[1]
    assert state["seq"] > old["seq"], "consumers keep the highest"


def test_as1_state_with_a_flipped_bit__as_absent_resync_and_alarm(field, tampered):
    starts_anew(field, tampered, "as1")
    assert field.wait_alarm("state.rejected")


def test_as2_state_copied_to_another_agent_or_partition__refused(field, tampered):
    starts_anew(field, tampered, "as2b")
    host = tampered["hosts"]["as2"]
    assert len(field.directives(host.name)) == tampered["asked"]["as2"], "its own state was good"
    host.expect_trusted()


def test_as3_null_on_state__resync_and_no_event(field, tampered):
    starts_anew(field, tampered, "as3")


def test_as4_older_valid_state__no_later_as_of_and_the_same_revocation_id(field, tampered):
    host, first = tampered["hosts"]["as4"], tampered["revocation"]
    state = field.judged(host.name, host.send(tampered["evil"]))
    assert state["status"] == "untrusted"
    again = [r for r in field.view.revocations(host.name) if r["class"] == "revocation"]
    assert {r["id"] for r in again} == {first["id"]}
    assert as_of(state) == max(as_of(s) for s in field.states(host.name))
    host.resync()
    assert [f["id"] for f in host.attest()["findings"]] == ["ima.digest_unknown"], "found again by the resync"


def test_untampered_state_over_the_same_restart__trusted_without_a_resync(field, tampered):
    host = tampered["hosts"]["control"]
    assert host.expect_trusted()["ima"]["proven_count"] == 1
    assert len(field.directives(host.name)) == tampered["asked"]["control"]
