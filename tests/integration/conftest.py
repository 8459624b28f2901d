"""Integration tests: the real programs, a real Apache Kafka, software TPMs. A part that cannot be had fails the test."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from avowtest.site import Site, runtime_policy  # noqa: E402
from avowtest.topics import View  # noqa: E402


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


GOOD = {"/usr/bin/one": [sha256(b"one")], "/usr/bin/two": [sha256(b"two")]}


class Thread:
    """An installation with a worker, and the helpers that every test needs."""

    def __init__(self, site: Site):
        self.site = site
        self.view = View(site.broker.bootstrap, "avow.", site.dir / "root" / "root.pem")

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


@pytest.fixture
def new_site(tmp_path_factory, bin_dir):
    """Makes an installation on a Kafka of its own: new_site(nodes=3)."""
    made = []

    def make(**kw) -> Thread:
        site = Site(tmp_path_factory.mktemp("site"), bin_dir, **kw)
        made.append(site)
        return started(site)

    yield make
    for site in made:
        site.close()


def started(site: Site) -> Thread:
    site.__enter__()
    site.start_broker()
    site.init()
    site.apply_topics()
    site.start_registrar()
    site.start_worker()
    site.push_policy("good", runtime_policy(GOOD))
    return Thread(site)


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
