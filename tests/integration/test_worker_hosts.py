"""avow-worker, and the clocks of every program, as an operator gets them wrong: one clear message with the next step, the
documented exit code, and nothing worse than no verdict."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from avowtest.proc import Proc
from avowtest.site import SUPPORT, Site, runtime_policy
from test_agent_hosts import SecureKafka, logins, tls_settings

from conftest import GOOD, Thread


@pytest.fixture(scope="module")
def shift(tmp_path_factory):
    """An environment in which the wall clock is wrong by so many seconds, and no other clock is."""
    library = tmp_path_factory.mktemp("clock") / "clockshift.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SUPPORT / "clockshift.c"], check=True)
    return lambda seconds: {"LD_PRELOAD": str(library), "AVOW_CLOCKSHIFT_S": str(seconds)}


# --- Mistakes


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, bin_dir):
    """An installation that no broker serves."""
    site = Site(tmp_path_factory.mktemp("worker-mistakes"), bin_dir, partitions=2)
    with site:
        site.broker = type("Nowhere", (), {"bootstrap": "127.0.0.1:1", "guarantee": "exactly_once", "stop": lambda self: None})()
        site.init()
        yield site


def run_worker(site, *sets: str, timeout: float = 40) -> tuple[int, list[str]]:
    words = [w for s in sets for w in ("--set", s)]
    done = subprocess.run(
        [site.bin / "avow-worker", "--config", site.dir / "conf" / "worker.conf", *words],
        capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).splitlines()


def copy_of_keys(site, tmp_path) -> Path:
    return Path(shutil.copytree(site.dir / "worker", tmp_path / "worker"))


@pytest.mark.parametrize("name", ["sign.pem", "mac.key"])
def test_key_is_missing__exit_1_names_it_and_the_setting(quiet, tmp_path, name):
    keys = copy_of_keys(quiet, tmp_path)
    (keys / name).unlink()
    code, lines = run_worker(quiet, f"worker.keys={keys}")
    assert code == 1 and len(lines) == 1, lines
    assert name in lines[0] and "worker.keys" in lines[0].split("next=")[1]


def test_mac_key_of_another_size__exit_1_says_what_it_has_to_be(quiet, tmp_path):
    keys = copy_of_keys(quiet, tmp_path)
    (keys / "mac.key").write_bytes(b"short")
    code, lines = run_worker(quiet, f"worker.keys={keys}")
    assert code == 1 and len(lines) == 1 and "mac.key" in lines[0] and "32 raw bytes" in lines[0], lines


def test_root_is_missing__exit_1_names_the_setting(quiet, tmp_path):
    code, lines = run_worker(quiet, f"worker.root={tmp_path / 'nowhere.pem'}")
    assert code == 1 and len(lines) == 1 and "nowhere.pem" in lines[0] and "worker.root" in lines[0].split("next=")[1], lines


def test_unreachable_broker__exit_3_after_a_while_with_the_next_step(quiet):
    code, lines = run_worker(quiet)
    errors = [line for line in lines if " error " in line]
    assert code == 3 and len(errors) == 1 and "127.0.0.1:1" in errors[0], lines
    assert "nothing listens there" in errors[0].split("next=")[1]


def test_ca_file_is_missing__exit_2(quiet):
    code, lines = run_worker(quiet, "kafka.security.protocol=ssl", "kafka.ssl.ca.location=/nowhere/ca.pem")
    errors = [line for line in lines if " error " in line]
    assert code == 2 and len(errors) == 1 and "ssl.ca.location" in errors[0], lines


# --- A Kafka that wants to know who one is


@pytest.fixture(scope="module")
def secure(tmp_path_factory, bin_dir):
    site = Site(tmp_path_factory.mktemp("worker-secure"), bin_dir, partitions=2)
    try:
        site.__enter__()
        site.broker = SecureKafka(site.folder / "kafka")
        for name in ("agent-tls", "nobody"):
            site.broker.call("cert", name)
        site.init()
        folder = site.dir / "conf" / "avow.conf.d"
        folder.mkdir()
        lines = [f"{k} = {v}" for k, v in tls_settings(site.broker, "admin").items()]
        (folder / "tls.conf").write_text("[kafka]\n" + "\n".join(lines) + "\n")
        site.apply_topics()
        yield site
    finally:
        site.close()


def login_words(site, login: str) -> list[str]:
    return [f"kafka.{k}={v}" for k, v in logins(site)[login].items()]


REFUSED = [
    ("wrong CA", "kafka.ssl.ca.location does not hold the CA"),
    ("no certificate", "set kafka.ssl.certificate.location and kafka.ssl.key.location"),
    ("certificate of another CA", "refused this program's certificate"),
    ("wrong password", "kafka.sasl.username, kafka.sasl.password"),
    ("unknown mechanism", "kafka.sasl.mechanism"),
    ("plain text", "kafka.security.protocol"),
]


@pytest.mark.parametrize("login,next_step", REFUSED)
def test_worker_is_refused__exit_3_with_the_next_step(secure, login, next_step):
    code, lines = run_worker(secure, *login_words(secure, login))
    errors = [line for line in lines if " error " in line]
    assert code == 3 and len(errors) == 1, lines
    assert next_step in errors[0].split("next=")[1], errors
    assert not any("right" in line for line in lines), "passwords stay out of the log"


@pytest.mark.parametrize("login,next_step", REFUSED)
def test_cli_is_refused__exit_3_with_the_next_step(secure, login, next_step):
    words = [w for s in login_words(secure, login) for w in ("--set", s)]
    no_drop_in = secure.dir / "conf" / "plain.conf"
    no_drop_in.write_text((secure.dir / "conf" / "avow.conf").read_text())
    done = subprocess.run(
        [secure.bin / "avow", "--config", no_drop_in, "agent", "list", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done
    assert next_step in done.stderr and done.stdout == "" and len(done.stderr.splitlines()) == 2, done.stderr


def test_worker_without_rights__waits_for_them_and_says_where_they_are_listed(secure):
    words = [w for s in login_words(secure, "no rights") for w in ("--set", s)]
    worker = secure.workers["rightless"] = Proc(
        "worker", [secure.bin / "avow-worker", "--config", secure.dir / "conf" / "worker.conf", *words], secure.folder / "rightless.log"
    )
    worker.wait_output("uthorization failed", 30)
    line = next(x for x in worker.output().splitlines() if "uthorization failed" in x)
    assert " warn " in line and "deploy/README.md" in line.split("next=")[1], line
    assert worker.stop() == 0


# --- Clocks


@pytest.fixture(scope="module")
def clocks(tmp_path_factory, bin_dir):
    site = Site(tmp_path_factory.mktemp("clocks"), bin_dir, kafka=True, partitions=1)
    with site:
        site.start_broker()
        site.init()
        site.apply_topics()
        site.start_registrar()
        worker = site.start_worker()
        worker.wait_output(" ready", 60)
        site.push_policy("good", runtime_policy(GOOD))
        thread = Thread(site)
        yield thread
        thread.close()


def start_worker_with(site, name: str, env: dict[str, str]) -> Proc:
    site.workers[name] = Proc(
        f"worker {name}",
        [site.bin / "avow-worker", "--config", site.dir / "conf" / "worker.conf", "--set", f"worker.instance={name}"],
        site.folder / f"worker-{name}.log", env=env,
    )  # fmt: skip
    return site.workers[name]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_af11_worker_an_hour_off__unhealthy_clock_no_marker_no_verdict_nobody_silent(clocks, shift, seconds):
    site, name = clocks.site, f"steady{'p' if seconds > 0 else 'm'}"
    clocks.host(name)
    epoch = clocks.trusted(name)["as_of_epoch"]
    site.workers["w1"].stop()
    wrong = start_worker_with(site, f"wrong-{name}", shift(seconds))
    wrong.wait_output("unhealthy cause=clock", 60)
    line = next(x for x in wrong.output().splitlines() if "unhealthy cause=clock" in x)
    assert " error " in line
    # Longer than silent_after of the test's bundle: the service clock stands still, so nobody is silent.
    before = len(clocks.view.verdicts(name))
    time.sleep(10)
    assert wrong.running()
    assert clocks.events(name) == [], "a worker's clock is never a host's fault"
    assert all(v["status"] == "trusted" for v in clocks.view.verdicts(name)[before:])
    assert wrong.stop() == 0
    site.start_worker().wait_output(" ready", 60)
    assert clocks.trusted(name, epoch, 60)["status"] == "trusted"
    assert clocks.events(name) == []
    site.hosts[name].agent.stop()


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_agent_an_hour_off__attests_all_the_same(clocks, shift, seconds):
    """Nothing of the protocol stands on a host's wall clock."""
    name = f"host{'p' if seconds > 0 else 'm'}"
    clocks.host(name, env=shift(seconds))
    epoch = clocks.trusted(name)["as_of_epoch"]
    clocks.trusted(name, epoch + 1)
    assert clocks.events(name) == []
    clocks.site.hosts[name].agent.stop()


def test_tenant_an_hour_ahead__is_told_that_it_is_the_clock(clocks, shift):
    name = "watched"
    clocks.host(name)
    clocks.trusted(name)
    command = [clocks.site.bin / "avow", "--config", clocks.site.dir / "conf" / "avow.conf"]
    done = subprocess.run([*command, "doctor"], capture_output=True, text=True, timeout=60, env={**os.environ, **shift(3600)})
    assert "clock" in done.stdout + done.stderr, done
    assert done.returncode == 1, done
    right = subprocess.run([*command, "agent", "status", name], capture_output=True, text=True, timeout=60)
    assert right.returncode == 0, right
    clocks.site.hosts[name].agent.stop()
