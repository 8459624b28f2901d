"""What an attacker with the broker, or the host's disk and power button, does to a real agent (docs/ATTACKS.md)."""

import shutil
import signal
import time

import pytest
from avowtest.field import SoftHost, as_of, entries
from avowtest.forge import Signer, ToolsTpm

from conftest import GOOD

TWO = GOOD["/usr/bin/two"][0]


def full(field, agent):
    """How often the agent sent its list from entry 0."""
    return sum(b["ima_start"] == 0 and b["ima_count"] > 0 for _, _, b in field.evidence_of(agent))


def wait_full(field, agent, count, timeout=10):
    field.wait_evidence(agent, lambda r, b: full(field, agent) >= count, timeout, f"number {count} with the whole list")


@pytest.fixture
def host(field, request):
    """A real agent of this test's own; its name is the attack's."""
    name = request.node.name.split("_")[1]
    host = field.thread.host(name)
    field.thread.trusted(name)
    yield host
    if host.agent:
        host.agent.kill()
    field.site.avow("agent", "rm", name)


# --- Markers


def test_af8_marker_of_the_past__ignored_and_after_a_restart_no_trust_gained(field, host):
    records = [r for r in field.watch.all("avow.epochs") if r.partition == field.partition("af8")]
    old = next(r for r in records if field.genuine_marker(r))
    epoch = field.genuine_marker(old)["epoch"]
    field.put("epochs", "marker", old.value, old.partition)
    assert not field.agent_answers("af8", field.genuine_marker(old))
    # Restarted at a moment when the topic shows the old marker only.
    worker = field.site.workers["w1"]
    worker.signal(signal.SIGSTOP)
    try:
        host.agent.kill()
        before = field.states("af8")[-1]
        for _ in range(80):
            field.put("epochs", "marker", old.value, old.partition)
        host.start_agent()
        field.wait_evidence("af8", lambda r, b: b["epoch"] == epoch, 10, "that answers the old marker")
    finally:
        worker.signal(signal.SIGCONT)
    record = next(r for r, _, b in field.evidence_of("af8") if b["epoch"] == epoch)
    assert field.dead_letter(record.partition, record.offset)["reason"] == "replay"
    after = field.wait_state("af8", lambda s: as_of(s) > as_of(before), 15, "of later epochs")
    assert after["status"] == "trusted"
    epochs = [as_of(s) for s in field.states("af8")]
    assert epochs == sorted(epochs), "time went back"
    assert field.events("af8") == []


# --- Directives


def test_ad1_forged_resync__ignored(field):
    before = full(field, "bob")
    for signer in (None, field.tenant, field.old_worker, Signer.generate()):
        field.forge_resync("bob", signer)
    elsewhere = (field.partition("bob") + 1) % field.partitions
    field.forge_resync("bob", field.worker, partition=elsewhere)  # signed, but for another partition
    field.forge_resync("bob", field.worker, fleet=bytes(16))  # or another fleet
    seen = len(field.evidence_of("bob"))
    field.grow("bob")
    field.wait_evidence("bob", lambda r, b: len(field.evidence_of("bob")) > seen, 10, "of a grown list")
    assert full(field, "bob") == before
    assert "directive.refused" in field.site.hosts["bob"].agent.output()
    field.forge_resync("bob", field.worker)  # what a worker's key signs is obeyed
    wait_full(field, "bob", before + 1)


def test_ad2_replayed_resync__ignored_by_id_and_by_epoch(field):
    before = full(field, "carol")
    once = field.forge_resync("carol", field.worker)
    wait_full(field, "carol", before + 1)
    epoch = field.marker(field.partition("carol"))["epoch"]
    field.put("epochs", "carol", once, field.partition("carol"))
    field.forge_resync("carol", field.worker, epoch=epoch - 20)
    field.forge_resync("carol", field.worker, epoch=epoch + 20)
    seen = len(field.evidence_of("carol"))
    field.grow("carol")
    field.wait_evidence("carol", lambda r, b: len(field.evidence_of("carol")) > seen, 10, "of a grown list")
    assert full(field, "carol") == before + 1


def test_ad3_thousand_valid_resyncs__three_are_obeyed_and_the_agent_goes_on(field, host):
    before, start = full(field, "ad3"), len(field.evidence_of("ad3"))
    for _ in range(12):  # one by one: each could be obeyed by an evidence of its own
        field.forge_resync("ad3", field.worker)
        time.sleep(0.3)
    for _ in range(988):
        field.forge_resync("ad3", field.worker)
    field.grow("ad3")
    epoch = field.marker(field.partition("ad3"))["epoch"]
    state = field.wait_state("ad3", lambda s: as_of(s) > epoch, 10, "of a later epoch")
    assert state["status"] == "trusted"
    obeyed = full(field, "ad3") - before
    print(f"{obeyed} of 1000 obeyed; {len(field.evidence_of('ad3')) - start} evidences meanwhile")
    assert 1 <= obeyed <= 3, "the bucket holds three; workers may have used one"


# --- The host's power button and disk


def test_ar10_killed_between_quote_and_produce__accepted_after_the_restart_without_a_gap(field, host):
    host.ima("add", "/usr/bin/two", TWO)
    field.wait_state("ar10", lambda s: entries(s) == 3, 10, "of three entries")
    field.site.broker.call("pause", "1")
    try:
        host.ima("add", "/usr/bin/two", TWO)
        time.sleep(1)  # it quotes, and waits for the broker
        host.agent.kill()
    finally:
        field.site.broker.call("resume", "1")
    host.ima("add", "/usr/bin/two", TWO)
    host.start_agent()
    state = field.wait_state("ar10", lambda s: entries(s) == 5, 20, "of five entries")
    assert state["status"] == "trusted" and field.events("ar10") == []


def test_ar11_disk_restored_from_a_backup__no_effect(field, host):
    for folder in ("state", "run"):
        shutil.copytree(host.folder / folder, host.folder / f"{folder}.backup")
    for _ in range(3):
        field.grow("ar11")
        before = entries(field.states("ar11")[-1])
        field.wait_state("ar11", lambda s: entries(s) > before, 10, "of a grown list")
    assert host.agent.stop() == 0
    for folder in ("state", "run"):
        shutil.rmtree(host.folder / folder)
        shutil.move(host.folder / f"{folder}.backup", host.folder / folder)
    epoch = as_of(field.states("ar11")[-1])
    host.start_agent()
    state = field.wait_state("ar11", lambda s: as_of(s) > epoch, 15, "after the restore")
    assert state["status"] == "trusted" and entries(state) == 5
    assert field.events("ar11") == []


def test_ar13_vm_and_vtpm_snapshot_reverted__tpm_counters_regressed(field, tmp_path):
    folder, ca = tmp_path / "tpm", field.site.folder / "tpm-ca"

    def power_on(host=None):
        tcti = field.site.swtpm("start", folder, ca)
        if not host:
            return SoftHost(field, "ar13", ToolsTpm(tcti, tmp_path / "work"), "good")
        host.tpm.make_ak()
        host.boot_id = bytes([host.boot_id[0] ^ 1]) + host.boot_id[1:]
        host.start_list()
        return host

    try:
        host = power_on()
        field.join(host)
        field.site.swtpm("stop", folder)
        shutil.copytree(folder / "state", tmp_path / "snapshot")
        for _ in range(2):
            power_on(host)
            host.expect_trusted()
            field.site.swtpm("stop", folder)
        shutil.rmtree(folder / "state")
        shutil.move(tmp_path / "snapshot", folder / "state")
        power_on(host)
        state = host.attest(after=field.states("ar13")[-1]["epoch"])
        assert [f["id"] for f in state["findings"]] == ["tpm.counters_regressed"]
        field.expect_events("ar13", "revocation")
    finally:
        field.site.swtpm("stop", folder)
