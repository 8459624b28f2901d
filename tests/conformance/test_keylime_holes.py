"""Holes of Keylime in how it reads and applies runtime policies, by the numbers of docs/KEYLIME.md: closed here."""

import json

import imalog
import pytest

DIGEST = bytes(range(32))


def files(tmp_path, policy: dict, *paths: bytes) -> tuple:
    """A policy, and a list of files that have one digest."""
    entries = [imalog.new_entry("ima-ng", path, DIGEST) for path in paths]
    document, log = tmp_path / "policy.json", tmp_path / "list"
    document.write_text(json.dumps(policy))
    log.write_bytes(imalog.encode(entries))
    return document, log


def judged(avow, files: tuple, *options) -> list[str]:
    """The paths that are refused."""
    code, got = avow.json("policy", "test", files[0], "--ima-log", files[1], *options)
    assert (code == 4) == bool(got["refused"])
    return [r["path"] for r in got["refused"]]


@pytest.mark.parametrize("generator", [0, 1, 2, 3])
def test_s12_a_policy_of_any_generator_is_enforced(avow, tmp_path, generator):
    known = imalog.policy_of([imalog.new_entry("ima-ng", b"/a", DIGEST)], meta={"version": 1, "generator": generator})
    assert judged(avow, files(tmp_path, known, b"/a")) == []
    assert judged(avow, files(tmp_path, known, b"/a", b"/b")) == ["/b"]


def test_s20_an_exclude_of_a_folder_does_not_cover_its_siblings(avow, tmp_path):
    """Keylime's documents mean prefixes, and are judged so; --strict-excludes judges whole paths."""
    made = files(tmp_path, imalog.policy_of([], excludes=["/tmp", "/run/.*"]), b"/tmp", b"/tmpevil", b"/run/x")
    assert judged(avow, made) == []
    assert judged(avow, made, "--strict-excludes") == ["/tmpevil"]


def test_s20_one_bad_expression_refuses_the_policy(avow, tmp_path):
    """Keylime drops all excludes then, and says so in a log."""
    made = files(tmp_path, imalog.policy_of([], excludes=["/run/.*", "/tmp/("]), b"/run/x")
    done = avow.run("policy", "test", made[0], "--ima-log", made[1])
    assert done.returncode == 1
    assert "excludes" in done.stderr and "[1]" in done.stderr


def test_s23_one_list_leaves_nothing_in_the_policy_for_the_next(avow, tmp_path):
    made = files(tmp_path, imalog.policy_of([]), b"/a")
    before = made[0].read_bytes()
    assert judged(avow, made) == ["/a"] == judged(avow, made)
    assert made[0].read_bytes() == before
