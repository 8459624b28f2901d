"""Integration tests: the real programs, a real Apache Kafka, software TPMs. A part that cannot be had fails the test."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from avowtest.field import Bundle, Field  # noqa: E402
from avowtest.forge import Signer  # noqa: E402
from avowtest.site import Site, runtime_policy  # noqa: E402
from avowtest.topics import View  # noqa: E402


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


GOOD = {"/usr/bin/one": [sha256(b"one")], "/usr/bin/two": [sha256(b"two")]}


class Thread:
    """An installation with a worker, and the helpers that every test needs."""

    def __init__(self, site: Site, strict: bool = True):
        self.site = site
        self.view = View(site.broker.bootstrap, "avow.", site.dir / "root" / "root.pem", strict)

    def host(self, name: str, enrol: bool = True, policy: str = "good", **settings):
        host = self.site.add_host(name)
        host.ima("add", "/usr/bin/one", GOOD["/usr/bin/one"][0])
        host.start_agent(**settings)
        host.agent.wait_output("registered", 30)
        if enrol:
            self.site.enrol(name, "--runtime-policy", policy)
        return host

    def trusted(self, name: str, after_epoch: int = 0, timeout: float = 30):
        return self.view.wait_verdict(
            name,
            lambda v: v["status"] == "trusted" and v["as_of_epoch"] > after_epoch and not v["flags"]["stale"],
            timeout,
            f"{name} trusted after epoch {after_epoch}",
        )[0]

    def last_epoch(self, name: str) -> int:
        return max(v["as_of_epoch"] for v in self.view.verdicts(name))

    def events(self, name: str) -> list[str]:
        return [r["class"] for r in self.view.revocations(name)]

    def close(self):
        self.view.close()


@pytest.fixture(scope="session")
def bin_dir() -> Path:
    path = Path(os.environ.get("AVOW_BIN", ROOT / "build" / "release" / "bin"))
    if not (path / "avow-worker").exists():
        pytest.fail(f"no programs in {path}: build them, or set AVOW_BIN")
    return path


def site_maker(tmp_path_factory, bin_dir):
    made = []

    def make(**kw) -> Thread:
        site = Site(tmp_path_factory.mktemp("site"), bin_dir, **kw)
        made.append(site)
        return started(site)

    yield make
    for site in made:
        site.close()


@pytest.fixture
def new_site(tmp_path_factory, bin_dir):
    """Makes an installation on a Kafka of its own: new_site(nodes=3)."""
    yield from site_maker(tmp_path_factory, bin_dir)


@pytest.fixture(scope="module")
def module_site(tmp_path_factory, bin_dir):
    """As new_site, for the tests of a file."""
    yield from site_maker(tmp_path_factory, bin_dir)


def started(site: Site, before_topics=None, strict: bool = True) -> Thread:
    site.__enter__()
    site.start_broker()
    site.init()
    if before_topics:
        before_topics()
    site.apply_topics()
    site.start_registrar()
    site.start_worker()
    site.push_policy("good", runtime_policy(GOOD))
    return Thread(site, strict)


@pytest.fixture(scope="session")
def thread(tmp_path_factory, bin_dir):
    """One installation that the tests share; each uses hosts of its own names."""
    site = Site(tmp_path_factory.mktemp("thread"), bin_dir)
    try:
        t = started(site)
        yield t
        t.close()
    finally:
        site.close()


@pytest.fixture(scope="session")
def battle(tmp_path_factory, bin_dir):
    """One installation under attack: a victim and a bystander with software TPMs, and whoever the attacker is.

    Its bundle has keys of the past and keys for other purposes, which the attacker has, too.
    """
    site = Site(tmp_path_factory.mktemp("battle"), bin_dir)
    old_worker, old_tenant, policies_only = (Signer.generate() for _ in range(3))

    def more_keys():
        bundle = Bundle(site.dir)
        bundle.add(old_worker, "worker", status="verify_only")
        bundle.add(old_tenant, "enroll", "policy", status="verify_only")
        bundle.add(policies_only, "policy")
        bundle.save()

    field = None
    try:
        t = started(site, more_keys, strict=False)
        field = Field(site, t.view)
        field.thread = t
        field.old_worker, field.old_tenant, field.policies_only = old_worker, old_tenant, policies_only
        for name in ("bob", "carol"):
            t.host(name)
        for name in ("bob", "carol"):
            t.trusted(name)
        yield field
    finally:
        if field:
            field.close()
            field.view.close()
        site.close()


@pytest.fixture
def field(battle):
    """The battle field, and after the test a look at the victim and the bystander."""
    yield battle
    battle.retire()
    battle.unharmed("bob")
    battle.unharmed("carol")
