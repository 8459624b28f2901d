"""`avow verdict audit` and `avow policy test --against evidence` on a real Kafka: what workers said is said again by
whoever has the records, and what they would say of another policy before it is there (PROTOCOL R17)."""

import json

from avowtest.field import Field
from avowtest.forge import seal
from avowtest.site import runtime_policy

from conftest import GOOD, sha256

BAD = sha256(b"one, tampered")


def audit(thread, name: str, *options: str) -> tuple[int, dict, str]:
    done = thread.site.cli("verdict", "audit", name, "--json", *options)
    said = json.loads(done.stdout or "{}")
    print({k: v for k, v in said.items() if k != "results"}, *[r for r in said.get("results", []) if not r["same"]], sep="\n")
    return done.returncode, said, done.stderr


def test_trusted_and_tampered_hosts__the_same_is_found_again(thread):
    host = thread.host("audited")
    first = thread.trusted("audited")
    host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    thread.trusted("audited", first["as_of_epoch"] + 1)
    code, said, err = audit(thread, "audited")
    assert code == 0 and said["same"] >= 1 and said["different"] == 0, (said, err)
    assert said["appraised"] >= 2
    host.ima("add", "/usr/bin/one", BAD)
    thread.view.wait_revocation("audited", lambda r: r["class"] == "revocation", 30, "revocation")
    host.agent.stop()
    code, said, err = audit(thread, "audited")
    assert code == 0, (said, err)
    kinds = {r["kind"]: r for r in said["results"]}
    assert set(kinds) == {"verdict", "revocation"} and all(r["same"] for r in said["results"])
    assert "ima.digest_unknown" in kinds["revocation"]["again"] and "/usr/bin/one" in kinds["revocation"]["again"]
    text = thread.site.cli("verdict", "audit", "audited")
    assert text.returncode == 0 and "0 differ" in text.stdout, text.stdout + text.stderr


def test_result_that_evidence_does_not_give__differs(thread):
    """Whoever has a worker's key can say what he likes; the evidence does not."""
    host = thread.host("slandered")
    thread.trusted("slandered")
    host.agent.stop()
    field = Field(thread.site, thread.view)
    verdict = thread.view.verdicts("slandered")[-1]
    field.put("verdicts", "slandered", seal("verdict", {**verdict, "status": "untrusted", "seq": verdict["seq"] + 1}, field.worker))
    field.close()
    code, said, err = audit(thread, "slandered")
    assert code == 4 and said["different"] == 1, (said, err)
    text = thread.site.cli("verdict", "audit", "slandered")
    assert text.returncode == 4 and "recorded: untrusted" in text.stdout and "again:    trusted" in text.stdout, text.stdout


def test_agent_that_is_not_enrolled__not_found(thread):
    code, said, err = audit(thread, "nobody")
    assert code == 5 and said == {} and "not enrolled" in err


def test_duration_that_is_none__usage(thread):
    code, _, err = audit(thread, "nobody", "--since", "yesterday")
    assert code == 2 and "--since" in err


def test_results_that_are_older_than_asked_for__left_out(thread):
    thread.host("quiet")
    thread.trusted("quiet")
    code, said, err = audit(thread, "quiet", "--since", "1ms")
    assert code == 0 and said["results"] == [], (said, err)


def rehearse(thread, policy: dict, *options: str) -> tuple[int, dict, str]:
    path = thread.site.folder / "proposed.json"
    path.write_text(json.dumps(policy))
    done = thread.site.cli("policy", "test", path, "--against", "evidence", "--name", "rehearsed", "--json", *options)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_rehearsal__says_whom_a_policy_would_change_and_changes_nobody(thread):
    thread.site.push_policy("rehearsed", runtime_policy(GOOD))
    hosts = [thread.host(name, policy="rehearsed") for name in ("actor", "extra")]
    for name in ("actor", "extra"):
        thread.trusted(name)
    hosts[0].ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    thread.trusted("actor", thread.last_epoch("actor"))
    narrower = runtime_policy({"/usr/bin/one": GOOD["/usr/bin/one"]})
    code, said, err = rehearse(thread, narrower)
    assert (code, said["agents"], said["judged"], said["changed"]) == (4, 2, 2, 1), (said, err)
    by_name = {r["agent"]: r for r in said["results"]}
    assert (by_name["actor"]["now"], by_name["actor"]["proposed"]) == ("trusted", "untrusted")
    assert "/usr/bin/two" in by_name["actor"]["finding"]
    assert not by_name["extra"]["changes"]
    code, said, err = rehearse(thread, narrower, "--agent", "extra")
    assert (code, said["agents"], said["changed"]) == (0, 1, 0), (said, err)
    code, said, err = rehearse(thread, runtime_policy({**GOOD, "/usr/bin/three": [sha256(b"three")]}))
    assert (code, said["changed"]) == (0, 0), (said, err)
    # Nobody was asked or told anything.
    assert thread.events("actor") == thread.events("extra") == []
    assert thread.trusted("actor", thread.last_epoch("actor"))


def test_rehearsal_of_what_nobody_names__not_found(thread):
    path = thread.site.folder / "unused.json"
    path.write_text(json.dumps(runtime_policy(GOOD)))
    done = thread.site.cli("policy", "test", path, "--against", "evidence", "--name", "unused")
    assert done.returncode == 5 and "names the policy unused" in done.stderr, done.stderr


def test_rehearsal_of_what_is_no_policy__its_error(thread):
    path = thread.site.folder / "broken.json"
    path.write_text("{}")
    done = thread.site.cli("policy", "test", path, "--against", "evidence", "--name", "good")
    assert done.returncode == 1 and "broken.json" in done.stderr, done.stderr
