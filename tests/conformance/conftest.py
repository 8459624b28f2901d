"""Conformance: the offline tools against Keylime's vectors and captures of real machines, judged by code that is not ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))


WITHOUT_VECTORS = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    """Without Keylime's vectors, which are not ours to give away, what needs them is left out, and that is said."""
    if os.environ.get("AVOW_KEYLIME_VECTORS"):
        return
    without = [i for i in items if "keylime_data" in i.fixturenames]
    items[:] = [i for i in items if "keylime_data" not in i.fixturenames]
    config.hook.pytest_deselected(items=without)
    config.stash[WITHOUT_VECTORS] = len(without)


def pytest_terminal_summary(terminalreporter, config):
    if n := config.stash.get(WITHOUT_VECTORS, 0):
        terminalreporter.write_line(f"AVOW_KEYLIME_VECTORS is not set: {n} tests of Keylime's vectors were not run")


class Avow:
    """Runs `avow`; what a program that crashed prints is no result."""

    def __init__(self, program: Path):
        self.program = program

    def run(self, *args) -> subprocess.CompletedProcess:
        done = subprocess.run([self.program, *map(str, args)], capture_output=True, text=True, timeout=60)
        assert done.returncode in range(6), f"avow {args}: {done.returncode}\n{done.stderr}"
        return done

    def json(self, *args) -> tuple[int, dict]:
        done = self.run(*args, "--json")
        assert done.stdout, f"avow {args}: nothing but\n{done.stderr}"
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="session")
def avow() -> Avow:
    path = Path(os.environ.get("AVOW_BIN", ROOT / "build" / "release" / "bin")) / "avow"
    if not path.exists():
        pytest.fail(f"there is no {path}: build it, or set AVOW_BIN")
    return Avow(path)


@pytest.fixture(scope="session")
def keylime_data() -> Path:
    """The folder of Keylime's vectors, which are not part of this repository."""
    folder = os.environ["AVOW_KEYLIME_VECTORS"]
    path = Path(folder)
    if not (path / "vectors" / "ima_matrix.json").exists():
        pytest.fail(f"AVOW_KEYLIME_VECTORS: {folder} has no vectors/ima_matrix.json")
    return path


class Keylime:
    """Keylime's own code, in a process of its own environment."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def judge(self, lines: list[str], policy: dict | None, keyring: str | None = None, pcr10: str | None = None) -> dict:
        """{"events", "pcr10", "learned"}. `keyring`: Keylime's form; "" is a keyring without keys, None is no keyring at all,
        and then no signature is looked at. `pcr10`: what was quoted, in SHA-256."""
        request = {"lines": lines, "policy": policy, "keyring": keyring, "pcr10": pcr10}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="session")
def keylime():
    done = subprocess.run([ROOT / "tests" / "support" / "keylime-venv.sh"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.fail(f"Keylime cannot be installed:\n{done.stderr[-2000:]}")
    process = subprocess.Popen(
        [Path(done.stdout.strip()) / "bin" / "python", Path(__file__).with_name("keylime_oracle.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    yield Keylime(process)
    process.stdin.close()
    process.wait(30)
