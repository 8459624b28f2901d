"""P5: a runtime policy of 100,000 digests and 1,000 excludes, loaded; beside Python's json.load and Keylime's own
validation of it, from PyPI and in the same run. Where Keylime cannot be run, the same rules by hand, which are faster
than its library: a harder baseline. P5.memory: the loaded policy beside the raw bytes of its paths and digests."""

import json
import subprocess
import sys
from pathlib import Path

from results import Run

ROOT = Path(__file__).resolve().parents[2]
IDS = ["P5", "P5.memory"]
BY_KEYLIME = "from keylime.ima.ima import validate_runtime_policy as check"
BY_HAND = r"""
import re
digest = re.compile("^[0-9a-f]{40,128}$")
def check(doc):
    for section in ("digests", "keyrings", "ima-buf"):
        for values in doc[section].values():
            if not values or not all(isinstance(v, str) and digest.match(v) for v in values):
                raise ValueError(section)
"""
MEASURE = """
import json, sys, time
times = []
for _ in range(int(sys.argv[2])):
    start = time.process_time_ns()
    with open(sys.argv[1]) as f:
        check(json.load(f))
    times.append(time.process_time_ns() - start)
print(sorted(times)[len(times) // 2])
"""


def policy(digests: int, excludes: int) -> tuple[str, int]:
    paths = {f"/usr/lib/x86_64-linux-gnu/package-{i // 40}/libfile-{i}.so": [f"{i:064x}"] for i in range(digests)}
    doc = {
        "meta": {"version": 1, "generator": 3},
        "release": 0,
        "digests": paths,
        "excludes": [f"/var/lib/service-{i}/.*" if i % 2 else f"/run/[a-z]+-{i}/x" for i in range(excludes)],
        "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
        "ima-buf": {},
        "verification-keys": "",
    }
    return json.dumps(doc), sum(len(p) + 32 for p in paths)


def python_ns(r: Run, path: Path, rounds: int) -> tuple[float, str]:
    def run(python, check):
        command = [str(python), "-c", check + MEASURE, str(path), str(rounds)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout)

    if not r.quick:
        try:
            venv = subprocess.run(
                [ROOT / "tests" / "support" / "keylime-venv.sh", "registrar"],
                check=True, stdout=subprocess.PIPE, text=True,
            ).stdout.strip()  # fmt: skip
            return run(Path(venv) / "bin" / "python", BY_KEYLIME), "Python's json.load and Keylime's own validation"
        except (OSError, subprocess.SubprocessError, ValueError) as e:
            r.note(f"P5: Keylime cannot be run here: {e}")
    return run(sys.executable, BY_HAND), "Python's json.load and Keylime's rules by hand"


def run(r: Run) -> list[dict]:
    digests, excludes, rounds = (1000, 10, 1) if r.quick else (100_000, 1000, 3)
    text, raw = policy(digests, excludes)
    path = r.folder / "policy.json"
    path.write_text(text)
    command = [r.build / "bench" / "bench_policy", path, str(5 * rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    ours = json.loads(done.stdout)
    if (ours["digests"], ours["excludes"]) != (digests, excludes):
        raise RuntimeError(f"loaded {ours}")
    theirs, how = python_ns(r, path, rounds)
    speed, size = theirs / ours["ns"], ours["memory"] / raw
    return [
        {
            "id": "P5",
            "what": f"CPU time to load a policy of {digests} digests and {excludes} excludes, {len(text) / 1e6:.1f} MB",
            "value": round(ours["ns"] / 1e6, 3),
            "unit": "ms",
            "baseline": round(theirs / 1e6, 3),
            "baseline_what": how,
            "ratio": round(speed, 2),
            "goal": "ratio >= 10",
            "met": speed >= 10,
        },
        {
            "id": "P5.memory",
            "what": "the loaded policy, without compiled expressions",
            "value": ours["memory"],
            "unit": "B",
            "baseline": raw,
            "baseline_what": "raw bytes of its paths and digests",
            "ratio": round(size, 3),
            "goal": "ratio <= 1.3",
            "met": size <= 1.3,
        },
    ]
