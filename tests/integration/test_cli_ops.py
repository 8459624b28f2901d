"""What an operator does after the first day: changed demands, new keys, a look at everything, unattended enrolment."""

import json
import re
import signal

import pytest
from avowtest import records, topics
from avowtest.site import Site, runtime_policy, wait_for

from conftest import GOOD, ROOT, started
from test_cli import FAILED, NOTFOUND, OK, UNTRUSTED, USAGE, Quiet, Tail, avow, check, options_in, private_key, seal  # noqa: F401

COMMANDS = ["agent update", "agent reaccept", "agent attest", "doctor", "enroll"]
COMMANDS += [f"keys {x}" for x in ("list", "worker", "tenant", "root", "resign", "retire", "revoke")]


@pytest.fixture(scope="module")
def ops(tmp_path_factory, bin_dir):
    """A whole installation on the embedded broker, with one trusted host."""
    site = Site(tmp_path_factory.mktemp("ops"), bin_dir, kafka=False)
    try:
        t = started(site)
        site.push_policy("strict", runtime_policy({"/usr/bin/one": GOOD["/usr/bin/one"]}))
        t.host("ann")
        yield t
        t.close()
    finally:
        site.close()


def newest(site, agent):
    """The enrolment that the CLI signed last, out of its ledger."""
    folder = site.dir / "ledger" / "enrollments" / agent
    path = max(folder.glob("*.avro"), key=lambda p: int(p.stem))
    return records.decode(path.read_bytes())[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_manual__names_the_command_and_its_options(avow, command):  # noqa: F811
    page = (ROOT / "docs" / "man" / "avow.1").read_text()
    done = avow(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (OK, "")
    assert done.stdout.startswith(f"usage: avow {command}")
    assert re.search(rf"^\.It .*Cm {command}\b", page, re.M)
    for option in options_in(done.stdout):
        assert re.search(rf"Fl {option[2:]}\b", page.replace("\n", " ")), option


# --- agent update, attest, reaccept


def test_update__changes_what_is_named_and_waits_for_its_generation(ops):
    before = newest(ops.site, "ann")
    done = check(ops.site.cli("agent", "update", "ann", "--metadata", "rack 9", "--json"), OK)
    after = newest(ops.site, "ann")
    shown = json.loads(done.stdout)
    assert after["generation"] == before["generation"] + 1 == shown["generation"]
    assert shown["verdict"]["enrollment_generation"] >= after["generation"]
    changed = {k for k in after if after[k] != before[k]}
    assert changed == {"generation", "issued_ms", "metadata", "proof"}
    assert after["metadata"] == "rack 9"


def test_update__that_is_so_already__publishes_nothing(ops):
    check(ops.site.cli("agent", "update", "ann", "--metadata", "rack 10"), OK)
    before = newest(ops.site, "ann")
    done = check(ops.site.cli("agent", "update", "ann", "--metadata", "rack 10", "--no-allow-padded"), OK)
    assert "is so already" in done.stdout
    assert newest(ops.site, "ann") == before


@pytest.mark.parametrize(
    "args, text",
    (
        ((), "nothing to change"),
        (("--allow-padded", "--no-allow-padded"), "--no- form"),
        (("--recovery", "maybe"), "not auto or operator"),
        (("--silent-after-ms", "1000"), "with the fleet's other intervals"),
        (("--allow", "kexec,odd"), "'odd' is none of padded, kexec"),
        (("--disallow", "all"), "'all' is none of"),
        (("--tpm-policy", "{}", "--no-tpm-policy"), "--no- form"),
        (("--tpm-policy", "{}"), "no PCR is named"),
        (("--tpm-policy", '{"24": ["00"]}'), "'24' is no PCR"),
        (("--tpm-policy", '{"7": []}'), "PCR 7: a value or a list"),
        (("--tpm-policy", '{"7": ["0g"]}'), "PCR 7: a value is text of 40, 64"),
        (("--tpm-policy", '{"7": "%s"}' % ("0g" * 32)), "PCR 7: not hex"),
        (("--tpm-policy", '{"7": "%s", "mask": "0x1"}' % ("00" * 32)), "mask 0x1 lacks PCRs"),
        (("--tpm-policy", '{"7": "00", "7": "00"}'), "duplicate"),
    ),
)
def test_update__with_mistakes__is_a_usage_error(ops, args, text):
    check(ops.site.cli("agent", "update", "ann", *args), USAGE, text)


def test_tpm_policy_and_allowed_deviations__are_what_the_host_is_judged_by(ops):
    """PCR 7 of a software TPM that no firmware used is zeros. A host of its own, because an agent rests after it sent its whole list three times."""
    zeros, other = "00" * 32, "11" * 32
    ops.host("pat")

    def update(*args):
        return ops.site.cli("agent", "update", "pat", *args)

    done = check(update("--tpm-policy", json.dumps({"7": [other, zeros], "14": zeros, "mask": "0x4080"})), OK)
    assert "pat is trusted" in done.stdout
    rules = {(r["index"], r["bank"]): r["digests"] for r in newest(ops.site, "pat")["pcrs"]}
    assert rules == {(7, "sha256"): [bytes.fromhex(other), bytes(32)], (14, "sha256"): [bytes(32)]}
    same = check(update("--tpm-policy", json.dumps({"7": [other, zeros], "14": zeros})), OK)
    assert "is so already" in same.stdout
    ops.trusted("pat", ops.last_epoch("pat"))  # a second whole list within an epoch waits a minute
    file = ops.site.folder / "pcrs.json"
    file.write_text(json.dumps({"7": other}))
    done = check(update("--tpm-policy", str(file)), UNTRUSTED)
    assert "pcr.mismatch" in done.stdout and "PCR 7" in done.stdout and zeros in done.stdout
    check(update("--no-wait", "--no-tpm-policy", "--allow", "kexec,hibernate", "--allow", "tomtou"), OK)
    flags = newest(ops.site, "pat")["flags"]
    assert {k for k, v in flags.items() if v} == {"allow_kexec", "allow_hibernate", "allow_tomtou"}
    check(update("--no-wait", "--disallow", "kexec,hibernate,tomtou"), OK)
    assert not any(newest(ops.site, "pat")["flags"].values()) and newest(ops.site, "pat")["pcrs"] == []
    ops.site.hosts["pat"].agent.stop()


def test_update__of_unknown_agent_or_policy__is_not_found(ops):
    check(ops.site.cli("agent", "update", "nobody", "--metadata", "x"), NOTFOUND, "not enrolled", "hint:")
    check(ops.site.cli("agent", "update", "ann", "--runtime-policy", "none"), NOTFOUND, "no policy 'none'")


def test_attest__asks_for_evidence_and_waits_for_its_verdict(ops):
    epoch = ops.last_epoch("ann")
    before = newest(ops.site, "ann")
    done = check(ops.site.cli("agent", "attest", "ann", "--json"), OK)
    shown = json.loads(done.stdout)
    assert shown["status"] == "trusted" and shown["verdict"]["as_of_epoch"] >= epoch
    after = newest(ops.site, "ann")
    assert {k for k in after if after[k] != before[k]} == {"generation", "issued_ms", "proof"}
    assert ops.events("ann") in ([], ["recovery"]), "asking for evidence is no revocation"


def test_reaccept__without_a_reason__is_refused(ops):
    before = newest(ops.site, "ann")
    check(ops.site.cli("agent", "reaccept", "ann"), FAILED, "nothing to accept", "hint:")
    assert newest(ops.site, "ann") == before
    check(ops.site.cli("agent", "reaccept", "ann", "--force"), OK, "EK certificate serial")
    assert newest(ops.site, "ann")["generation"] == before["generation"] + 1


def test_old_view_of_the_topic__is_not_built_upon(ops):
    folder = ops.site.dir / "ledger" / "enrollments" / "ann"
    last = max(int(p.stem) for p in folder.glob("*.avro"))
    ahead = folder / f"{last + 5}.avro"
    ahead.write_bytes((folder / f"{last}.avro").read_bytes())
    try:
        check(ops.site.cli("agent", "attest", "ann"), UNTRUSTED, "bus.rollback", f"signed {last + 5}")
        assert max(int(p.stem) for p in folder.glob("*.avro")) == last + 5, "nothing was signed"
    finally:
        ahead.unlink()


def test_findings__attest_refuses_and_reaccept_starts_afresh(ops):
    """Recovery `operator`: trust lost is not earned back by clean evidence, and not by asking for evidence."""
    host = ops.host("olga", enrol=False)
    ops.site.enrol("olga", "--runtime-policy", "strict", "--recovery", "operator")
    host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    ops.view.wait_verdict("olga", lambda v: v["status"] == "untrusted", 20, "olga untrusted")
    before = newest(ops.site, "olga")
    check(ops.site.cli("agent", "attest", "olga"), FAILED, "would forget", "agent reaccept olga")
    assert newest(ops.site, "olga") == before
    done = check(ops.site.cli("agent", "reaccept", "olga"), UNTRUSTED, "EK certificate serial")
    assert "/usr/bin/two" in done.stdout, "the host was judged anew, from its first entry"
    assert newest(ops.site, "olga")["generation"] == before["generation"] + 1


def test_new_attestation_key__is_shown_and_pinned(ops):
    """The agent lost its state: another AK in the same TPM."""
    host = ops.host("nina")
    before = newest(ops.site, "nina")
    host.agent.stop()
    for path in sorted((host.folder / "state").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    host.start_agent()
    host.agent.wait_output("registered", 30)
    if not wait_for(lambda: "AK:" in ops.site.cli("agent", "reaccept", "nina").stderr, 20, "another AK"):
        pytest.fail("no other AK")
    after = newest(ops.site, "nina")
    assert after["ak_public"] != before["ak_public"]
    assert after["ek_name"] == before["ek_name"]
    ops.trusted("nina")


# --- keys


@pytest.fixture
def fresh(tmp_path_factory, bin_dir):
    q = Quiet(tmp_path_factory.mktemp("keys"), bin_dir)
    yield q
    q.close()


def keys(q, *args):
    shown = json.loads(check(q.cli("keys", "list", "--json", *args), OK).stdout)
    return shown["version"], {k["id"]: k for k in shown["keys"]}


def of_role(listed, role, status="active"):
    return [k["id"] for k in listed.values() if role in k["roles"] and k["status"] == status]


def test_keys_worker__adds_keys_beside_the_old_ones(fresh):
    new = fresh.site.dir / "worker2"
    _, before = keys(fresh)
    done = check(fresh.cli("keys", "worker", "new", str(new), "--publish", "--json"), OK)
    shown = json.loads(done.stdout)
    assert shown["bundle_version"] == 2 and shown["published"] and "keys retire --role worker --old" in shown["next"]
    version, after = keys(fresh)
    assert version == 2
    assert {k: after[k] for k in before} == before
    assert len(of_role(after, "worker")) == len(of_role(after, "worker_kex")) == 2
    assert (new / "mac.prev").read_bytes() == (fresh.site.dir / "worker" / "mac.key").read_bytes()
    assert (new / "mac.key").read_bytes() != (new / "mac.prev").read_bytes()
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in new.iterdir()} == dict.fromkeys(
        ("sign.pem", "kex.pem", "mac.key", "mac.prev"), "0o600"
    )
    check(fresh.cli("keys", "worker", "new", str(new)), FAILED, "keys are never replaced", "hint:")
    assert keys(fresh)[0] == 2, "a refusal signs nothing"


def test_keys_without_publish__change_the_file_only(fresh):
    done = check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2")), OK)
    assert "avow topics apply" in done.stdout
    assert keys(fresh)[0] == 1
    check(fresh.cli("topics", "apply"), OK)
    assert keys(fresh)[0] == 2


def test_keys_without_root_key__says_so_and_writes_nothing(fresh):
    root = fresh.site.dir / "root" / "root.key"
    away = fresh.site.dir / "offline.key"
    root.rename(away)
    before = (fresh.site.dir / "root" / "bundle.avro").read_bytes()
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2")), USAGE, "root key", "offline")
    assert not (fresh.site.dir / "w2").exists()
    assert (fresh.site.dir / "root" / "bundle.avro").read_bytes() == before
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2"), "--root-key", str(away)), OK)


def test_keys_on_an_old_file__are_refused(fresh):
    """Two bundles of one version would be a split view."""
    bundle = fresh.site.dir / "root" / "bundle.avro"
    old = bundle.read_bytes()
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2"), "--publish"), OK)
    bundle.write_bytes(old)
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w3")), UNTRUSTED, "version 2 is known", "hint:")
    assert not (fresh.site.dir / "w3").exists()


def test_keys_tenant__resign_then_retire(fresh):
    for agent in ("a1", "a2"):
        fresh.enrol(agent)
    fresh.enrol("gone", generation=3, status="removed")
    fresh.site.push_policy("good", runtime_policy(GOOD))
    _, listed = keys(fresh)
    (old,) = of_role(listed, "enroll")
    path = fresh.site.dir / "tenant" / "sign2.pem"
    done = check(fresh.cli("keys", "tenant", "new", str(path), "--publish"), OK)
    assert f"keys retire {old}" in done.stdout
    check(fresh.cli("keys", "retire", old), FAILED, "still signs", "keys resign")
    new_key = ("--set", f"cli.tenant_key={path}")
    shown = json.loads(check(fresh.cli("keys", "resign", "--json", *new_key), OK).stdout)
    assert (shown["enrollments"], shown["policies"], shown["failed"]) == (3, 1, 0)
    shown = json.loads(check(fresh.cli("keys", "resign", "--json", *new_key), OK).stdout)
    assert (shown["enrollments"], shown["policies"], shown["unchanged"]) == (0, 0, 4)
    check(fresh.cli("keys", "retire", old, "--publish", *new_key), OK)
    _, listed = keys(fresh)
    assert of_role(listed, "enroll", "verify_only") == [old]
    agents = json.loads(check(fresh.cli("agent", "list", "--json"), OK).stdout)
    assert len(agents) == 2, agents
    check(fresh.cli("policy", "get", "good"), OK)
    check(fresh.cli("policy", "push", "good", str(fresh.site.folder / "policy-good.json")), OK)
    check(fresh.cli("keys", "retire", old), FAILED, "verify_only already")


def test_keys_retire__leaves_no_role_without_a_key(fresh):
    _, listed = keys(fresh)
    (worker,) = of_role(listed, "worker")
    check(fresh.cli("keys", "retire", worker), FAILED, "no active key with role worker", "--force")
    check(fresh.cli("keys", "retire", "--role", "worker", "--old"), NOTFOUND, "no older one")
    check(fresh.cli("keys", "retire", "--role", "king", "--old"), USAGE, "'king' is no role")
    check(fresh.cli("keys", "retire"), USAGE, "needs ID")
    check(fresh.cli("keys", "retire", "00" * 8), NOTFOUND, "keys list")
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2"), "--publish"), OK)
    check(fresh.cli("keys", "revoke", worker, "--publish"), OK)
    assert of_role(keys(fresh)[1], "worker", "revoked") == [worker]


def test_keys_root__two_keys_then_the_new_one(fresh):
    folder = fresh.site.dir / "root2"
    check(fresh.cli("keys", "root", "new", str(folder)), OK)
    both, alone = (folder / "root.pem").read_text(), (folder / "root-new.pem").read_text()
    assert both.count("BEGIN PUBLIC KEY") == 2 and alone.count("BEGIN PUBLIC KEY") == 1
    sign = ("keys", "root", "sign", "--root-key", str(folder / "root.key"), "--publish")
    check(fresh.cli(*sign), USAGE, "nobody here would accept", "root.pem with two keys")
    assert keys(fresh)[0] == 1
    check(fresh.cli(*sign, "--set", f"cli.root={folder / 'root.pem'}"), OK)
    assert keys(fresh, "--set", f"cli.root={folder / 'root-new.pem'}")[0] == 2
    check(fresh.cli("keys", "list"), OK, "not in the root file")  # the old one still stands there, uncompacted


def new_bundle(t):
    """The outsider reads the bundle again; what a key of the past signed is history to him."""
    site = t.site
    values = [r.value for r in topics.read(site.broker.bootstrap, "avow.trust") if r.key == b"bundle" and r.value]
    t.view.trust, t.view.strict = records.Trust(values[-1], site.dir / "root" / "root.pem"), False


def test_rotation_on_kafka__with_a_running_agent__no_silence_and_no_drop(new_site):
    """Worker and tenant keys, one after the other, under an agent that attests all the time."""
    t = new_site(partitions=1)
    site = t.site
    t.host("rosa")
    before = t.trusted("rosa")
    started_at = before["as_of_epoch"]
    site.avow("keys", "worker", "new", str(site.dir / "worker2"), "--publish")
    t.trusted("rosa", t.last_epoch("rosa") + 2)  # everybody has the bundle
    site.workers["w1"].stop()
    new_keys = {"worker__keys": str(site.dir / "worker2")}
    site.start_worker("w2", **new_keys)
    new_bundle(t)
    t.trusted("rosa", t.last_epoch("rosa") + 1, timeout=40)
    site.avow("keys", "retire", "--role", "worker", "--old", "--publish")
    path = site.dir / "tenant" / "sign2.pem"
    old = json.loads(site.avow("keys", "list", "--json"))["keys"][0]["id"]
    site.avow("keys", "tenant", "new", str(path), "--publish")
    new_key = ("--set", f"cli.tenant_key={path}")
    site.avow("keys", "resign", *new_key)
    site.avow("keys", "retire", old, "--publish", *new_key)
    new_bundle(t)
    after = t.trusted("rosa", t.last_epoch("rosa") + 2, timeout=40)
    assert after["as_of_epoch"] > started_at
    events = [records.decode(r.value)[1]["class"] for r in t.view.follower.all("avow.revocations")]
    assert "silent" not in events and "revocation" not in events, events
    assert sum(d["count"] for d in after["dropped"]) == sum(d["count"] for d in before["dropped"])
    assert after["appraised"] > before["appraised"], "the state went on, it did not begin anew"


# --- doctor


def doctor(site, code, *args):
    done = check(site.cli("doctor", "--json", "--replication", "1", *args), code)
    shown = json.loads(done.stdout)
    bad = {c["check"]: c for c in shown["checks"] if not c["ok"]}
    assert shown["problems"] == len([c for c in shown["checks"] if not c["ok"]])
    assert all(c["next"] for c in bad.values()), "every problem has a next step"
    return bad


def test_doctor__healthy_installation__has_no_problem(ops):
    ops.trusted("ann")
    assert doctor(ops.site, OK) == {}
    shown = check(ops.site.cli("doctor", "--replication", "1"), OK).stdout
    for name in ("broker", "trust bundle", "bundle file", "tenant key", "topics", "workers", "states", "enrolments"):
        assert re.search(rf"^ok +{name} ", shown, re.M), shown


def test_doctor__without_broker__says_what_to_do(bin_dir, ops):
    bad = doctor(ops.site, FAILED, "--set", "kafka.bootstrap.servers=127.0.0.1:1")
    assert "bootstrap.servers" in bad["broker"]["next"]


def test_doctor__finds_what_is_wrong(fresh):
    assert set(doctor(fresh.site, FAILED)) == {"workers"}
    fresh.enrol("back", generation=2)
    ledger = fresh.site.dir / "ledger" / "enrollments" / "back"
    ledger.mkdir(parents=True)
    (ledger / "7.avro").write_bytes(b"")
    bad = doctor(fresh.site, FAILED)
    assert "back" in bad["enrolments"]["text"] and "rollback" in bad["enrolments"]["next"]
    assert "back" in bad["verdicts"]["text"]
    (ledger / "7.avro").unlink()
    fresh.put("verdicts", "back", fresh.verdict("back", enrollment_generation=9))
    bad = doctor(fresh.site, FAILED)
    assert "newer enrolment than stands" in bad["verdicts"]["text"]
    fresh.put("verdicts", "back", fresh.verdict("back", seq=2, lasts_ms=-1, enrollment_generation=2))
    bad = doctor(fresh.site, FAILED)
    assert set(bad) == {"workers", "trust"} and "back" in bad["trust"]["text"]
    (fresh.site.dir / "tenant" / "sign.pem").chmod(0o644)
    check(fresh.cli("keys", "worker", "new", str(fresh.site.dir / "w2")), OK)
    bad = doctor(fresh.site, FAILED)
    assert "644" in bad["tenant key"]["text"]
    assert "topics apply" in bad["bundle file"]["next"]


# --- enroll


def profile(site, text, name="web.conf"):
    path = site.folder / name
    path.write_text("[profile]\n" + text)
    return str(path)


def test_enroll_watch__enrols_who_comes_and_nobody_twice(ops):
    site = ops.site
    path = profile(site, "id = web-*\nruntime_policy = good\nmetadata = rack 1\n")
    ops.host("web-1", enrol=False)
    tail = Tail(site, "enroll", "--watch", "--profile", path)
    tail.wait("web-1 enrolled")
    ops.host("other", enrol=False)
    ops.host("web-2", enrol=False)
    tail.wait("web-2 enrolled")
    assert tail.end(signal.SIGTERM) == OK, tail.errors
    assert not any("other" in line for line in tail.lines)
    ops.trusted("web-1")
    ops.trusted("web-2")
    e = newest(site, "web-2")
    assert (e["metadata"], e["runtime_policy"]["name"], e["generation"]) == ("rack 1", "good", 1)
    check(site.cli("agent", "rm", "web-1"), OK)
    done = check(site.cli("enroll", "--once", "--profile", path), OK, "0 enrolled, 0 refused, 2 known before")
    assert done.stdout == "", "a restart enrols nobody again, and nobody who was removed"


def test_enroll_once__refuses_a_tpm_of_an_unknown_vendor(ops):
    site = ops.site
    ops.host("db-1", enrol=False)
    path = profile(site, "id = db-*\n")
    empty = site.folder / "no-ca"
    empty.mkdir()
    other = ("--set", f"cli.ek_cert_store={empty}")
    wait_for(lambda: site.cli("enroll", "--once", "--profile", path, *other).returncode == UNTRUSTED, 15, "its identity")
    assert not (site.dir / "ledger" / "enrollments" / "db-1").exists()
    done = check(site.cli("enroll", "--once", "--profile", path, "--json"), OK)
    assert json.loads(done.stdout) == {"agent": "db-1", "enrolled": True, "generation": 1, "reason": None}


def test_enroll__after_an_end_between_ledger_and_topic__publishes_what_was_signed(ops):
    site = ops.site
    ops.host("mid-1", enrol=False)
    path = profile(site, "id = mid-*\n")
    folder = site.dir / "ledger" / "enrollments" / "mid-1"
    folder.mkdir()
    _, fields = records.decode((site.dir / "ledger" / "enrollments" / "ann" / "1.avro").read_bytes())
    kept = seal("enrollment", {**fields, "key": "mid-1", "generation": 4}, private_key(site.dir / "tenant" / "sign.pem"))
    (folder / "4.avro").write_bytes(kept)
    wait_for(lambda: "generation 4" in site.cli("enroll", "--once", "--profile", path).stderr, 15, "its identity")
    values = [r.value for r in topics.read(site.broker.bootstrap, "avow.enrollments") if r.key == b"mid-1"]
    assert values == [kept]
    assert [p.name for p in folder.glob("*.avro")] == ["4.avro"]


@pytest.mark.parametrize(
    "text, code, says",
    (
        ("runtime_policy = good\n", USAGE, "has no id"),
        ("id = *\nruntime_polcy = good\n", USAGE, "runtime_polcy"),
        ("id = *\nruntime_policy = missing\n", NOTFOUND, "no policy 'missing'"),
        ("id = *\nsilent_after = 1s\n", USAGE, "other intervals"),
    ),
)
def test_enroll__with_a_bad_profile__says_where(ops, text, code, says):
    check(ops.site.cli("enroll", "--once", "--profile", profile(ops.site, text, "bad.conf")), code, says)
    check(ops.site.cli("enroll", "--once"), USAGE, "--profile FILE")
