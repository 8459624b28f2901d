"""Runs keylime_side.py in the environment of Keylime's package from PyPI, which is made when it is not there."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def measure(subject: str, *arguments) -> float:
    """CPU nanoseconds. OSError, SubprocessError or ValueError where Keylime cannot be run."""
    made = subprocess.run(
        [ROOT / "tests" / "support" / "keylime-venv.sh", "registrar"], check=True, stdout=subprocess.PIPE, text=True
    )
    python = Path(made.stdout.strip()) / "bin" / "python"
    command = [python, Path(__file__).with_name("keylime_side.py"), subject, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise ValueError(f"exit {done.returncode}: {done.stderr[-300:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["ns"])
