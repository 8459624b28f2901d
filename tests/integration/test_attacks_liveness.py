"""Evidence that comes late, drips or stays away, and workers that are away (docs/ATTACKS.md, F, L, C), on a real Kafka.

Silence takes time, so that what falls silent does it side by side, once for all tests of this file.
"""

import time

import pytest
from avowtest.field import as_of
from avowtest.forge import sha256

BAD = sha256(b"something that no policy allows")


class Story:
    """Hosts, the marker that each of them answered last, and its silence."""

    def __init__(self, field):
        self.field, self.hosts, self.answered, self.silence = field, {}, {}, {}

    def wait_silent(self, name):
        _, record = self.field.view.wait_revocation(name, lambda r: r["class"] == "silent", 10, f"{name} silent")
        self.silence[name] = (record.timestamp_ms - self.answered[name]["issued_ms"]) / 1000


@pytest.fixture(scope="module")
def story(battle):
    story, field = Story(battle), battle
    story.hosts = {name: field.host(name) for name in ("late", "very-late", "drip", "clean", "bad")}
    field.soft.clear()  # they outlive the first test
    newest = max(field.marker(p)["epoch"] for p in range(field.partitions))
    held = {}
    for name, host in story.hosts.items():
        story.answered[name] = marker = field.marker(host.partition, newest)
        held[name] = [host.evidence(marker) for _ in range(12)]
        field.judged(name, host.send(held[name].pop(0)))
    start, drips, story.late = time.monotonic(), iter(held["drip"]), None
    while time.monotonic() - start < field.site.intervals.silent_after / 1000 + 2:
        story.hosts["drip"].send(next(drips))
        if not story.late and time.monotonic() - start > 5:
            story.late = field.judged("late", story.hosts["late"].send(held["late"][0]))
        time.sleep(1)
    for name in story.hosts:
        story.wait_silent(name)
    story.very_late = field.judged("very-late", story.hosts["very-late"].send(held["very-late"][0]))
    yield story
    for host in story.hosts.values():
        host.enrol(status="removed")


def at_the_right_time(story, name):
    """Silent when silent_after had passed since the marker that was answered, whenever that was delivered."""
    silent_after, epoch = story.field.site.intervals.silent_after / 1000, story.field.site.intervals.epoch / 1000
    print(f"{name}: silent after {story.silence[name]:.1f} s")
    # Looked at with each marker; the service clock may stand still for a moment, but never runs ahead.
    assert silent_after <= story.silence[name] <= silent_after + 4 * epoch


def test_af6_quote_held_and_delivered_before_it_counts_as_silent__as_of_its_own_epoch(field, story):
    assert story.late["status"] == "trusted" and as_of(story.late) == story.answered["late"]["epoch"]
    at_the_right_time(story, "late")
    field.expect_events("late", "silent")
    said = [v for v in field.view.verdicts("late") if v["status"] == "trusted"]
    assert all(v["trusted_until_ms"] == v["as_of_ms"] + field.site.intervals.validity for v in said)


def test_af6_quote_delivered_after_its_trust_ended__as_of_its_own_epoch_and_still_silent(field, story):
    assert story.very_late["status"] == "silent" and as_of(story.very_late) == story.answered["very-late"]["epoch"]
    at_the_right_time(story, "very-late")
    field.expect_events("very-late", "silent")
    verdict = field.view.verdicts("very-late")[-1]
    assert verdict["status"] != "trusted"


def test_al4_broker_drips_old_evidence__silent_once(field, story):
    at_the_right_time(story, "drip")
    field.expect_events("drip", "silent")


def test_al10_silent_host_returns_clean__one_recovery(field, story):
    host = story.hosts["clean"]
    host.expect_trusted(after=story.answered["clean"]["epoch"])
    field.view.wait_revocation("clean", lambda r: r["class"] == "recovery", 10, "recovery")
    host.expect_trusted()
    field.expect_events("clean", "silent", "recovery")


def test_al10_silent_host_returns_bad__untrusted(field, story):
    host = story.hosts["bad"]
    host.measure("/usr/bin/evil", BAD)
    assert host.attest(after=story.answered["bad"]["epoch"])["status"] == "untrusted"
    field.view.wait_revocation("bad", lambda r: r["class"] == "revocation", 10, "revocation")
    field.expect_events("bad", "silent", "revocation")


# --- No worker


@pytest.fixture(scope="module")
def outage(battle):
    """All workers are away for longer than silent_after and validity; one host dies meanwhile."""
    field = battle
    dead = field.host("dead")
    field.soft.clear()
    dead.expect_trusted()
    field.site.workers["w1"].kill()
    down = time.monotonic()
    longest = max(field.site.intervals.silent_after, field.site.intervals.validity) / 1000
    time.sleep(longest + 2)
    status = field.site.cli("agent", "status", "bob")
    field.start_worker("w1")
    up = time.monotonic()
    yield {"status": status, "down": down, "up": up, "dead": dead}
    dead.enrol(status="removed")


def test_ac2_no_newer_verdict_than_validity__cli_shows_expired(field, outage):
    assert outage["status"].returncode == 4, outage["status"].stdout
    assert "expired" in outage["status"].stdout


def test_al1_all_workers_away_for_longer_than_silent_after__nobody_is_silent(field, outage):
    for name in ("bob", "carol"):
        epoch = field.marker(field.partition(name))["epoch"]
        state = field.wait_state(name, lambda s: as_of(s) >= epoch, 20, "after the outage")
        assert state["status"] == "trusted"
    assert field.alarms("fleet.mass_silence") == []
    assert [r["class"] for r in field.view.revocations() if r["class"] == "silent" and r["key"] in ("bob", "carol")] == []


def test_al2_one_host_died_meanwhile__only_it_is_silent_by_service_time(field, outage):
    _, record = field.view.wait_revocation("dead", lambda r: r["class"] == "silent", 60, "silence")
    waited = record.seen - outage["up"]
    print(f"silent {waited:.1f} s after the workers were back")
    # What it had of its credit when they went away is less than two epochs; their absence froze the clock.
    assert waited >= (field.site.intervals.silent_after - 2 * field.site.intervals.epoch) / 1000
    field.unharmed("bob")
    field.unharmed("carol")
