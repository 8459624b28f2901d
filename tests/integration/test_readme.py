"""The README's tour, run as it is printed: what a newcomer types must work."""

import json
import os
import re
import signal
import subprocess

import pytest
from avowtest.site import ROOT, SUPPORT, KafkaBroker, runtime_policy

from conftest import GOOD


def tour() -> str:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## A tour in ten lines\n.*?```sh\n(.*?)```", text, re.S)[1]
    assert len(block.strip().splitlines()) == 10
    return block


@pytest.fixture
def kafka(tmp_path):
    broker = KafkaBroker(tmp_path / "kafka", port=9092)
    yield broker
    broker.stop()


def swtpm(*args) -> str:
    done = subprocess.run([SUPPORT / "swtpm.sh", *map(str, args)], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_readme_tour__ends_with_a_trusted_host(kafka, tmp_path, bin_dir):
    tcti = swtpm("start", tmp_path / "tpm", tmp_path / "tpm-ca")
    swtpm("store", tmp_path / "tpm-ca", tmp_path / "vendor-ca")
    ima = tmp_path / "ima"
    emulator = [bin_dir / "avow-ima-emulator", "--tcti", tcti, "--list", ima]
    subprocess.run([*emulator, "init"], check=True, timeout=30)
    subprocess.run([*emulator, "add", "/usr/bin/one", GOOD["/usr/bin/one"][0]], check=True, timeout=30)
    (tmp_path / "policy.json").write_text(json.dumps(runtime_policy(GOOD)))
    # The first line builds: done by whoever runs the tests, so only its effect on PATH is kept.
    lines = tour().splitlines()
    lines[0] = f'export PATH={bin_dir.resolve()}:$PATH'
    env = {
        **os.environ,
        "VENDOR_CA": str(tmp_path / "vendor-ca"),
        # What a real host has and this one has not.
        "AVOW_TPM_TCTI": tcti,
        "AVOW_AGENT_IMA_LOG": str(ima),
        "AVOW_AGENT_UEFI_LOG": "",
        "AVOW_AGENT_STATE_DIR": str(tmp_path / "state"),
        "AVOW_AGENT_RUN_DIR": str(tmp_path / "run"),
    }
    (tmp_path / "run").mkdir()
    log = tmp_path / "tour.log"
    with log.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(120)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            swtpm("stop", tmp_path / "tpm")
    text = log.read_text()
    assert code == 0, text
    assert "trusted" in text
