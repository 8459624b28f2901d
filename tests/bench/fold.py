"""P2: bench_fold.c beside bare digests, and P2.keylime: the same rate beside that of Keylime's own
process_measurement_list, on a list of as many files judged by as many, in the same run."""

import hashlib
import json
import subprocess

import keylime_rate
from results import Run

IDS = ["P2", "P2.small", "P2.keylime"]
FILES = 20000
ENTRIES = 4000
BY_HAND = 1e9 / 82600  # entries a second, as measured once on two cores
GOAL = 20


def path_of(i: int) -> str:
    return f"/usr/lib/x86_64-linux-gnu/package-{i}.so"


def write_list(folder) -> None:
    """As the kernel shows it, the value that PCR 10 of the SHA-256 bank then has, and the policy."""
    digests = {path_of(i): hashlib.sha256(path_of(i).encode()).hexdigest() for i in range(FILES)}
    pcr10, lines = bytes(32), []
    for i in range(ENTRIES):
        path = path_of(i * 7919 % FILES)
        fields = (b"sha256:\0" + bytes.fromhex(digests[path]), path.encode() + b"\0")
        data = b"".join(len(f).to_bytes(4, "little") + f for f in fields)
        pcr10 = hashlib.sha256(pcr10 + hashlib.sha256(data).digest()).digest()
        lines.append(f"10 {hashlib.sha1(data).hexdigest()} ima-ng sha256:{digests[path]} {path}\n")
    policy = {
        "meta": {"version": 1, "generator": 0},
        "release": 0,
        "digests": {path: [digest] for path, digest in digests.items()},
        "excludes": [],
        "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
        "ima-buf": {},
        "verification-keys": "",
    }
    (folder / "list").write_text("".join(lines))
    (folder / "pcr10").write_text(pcr10.hex())
    (folder / "policy.json").write_text(json.dumps(policy))


def keylimes(r: Run) -> tuple[float, str]:
    if not r.quick:
        try:
            write_list(r.folder)
            return keylime_rate.measure("ima", r.folder, 9), "Keylime's own process_measurement_list, per entry"
        except (OSError, subprocess.SubprocessError, ValueError) as e:
            r.note(f"P2: Keylime cannot be run here: {e}")
    return BY_HAND, "Keylime's 82,600 entries a second, measured elsewhere, not in this run"


def run(r: Run) -> list[dict]:
    # P2.keylime needs P2, which is measured between the two: a machine that gets slower changes both.
    theirs, how = keylimes(r)
    wanted = ["P2" if i == "P2.keylime" else i for i in r.ids]
    command = [r.build / "bench" / "bench_fold", *(["--quick"] if r.quick else []), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    r.note(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"bench_fold: exit {done.returncode}: {done.stderr[-500:]}")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    rate = next((x["value"] for x in results if x["id"] == "P2"), None)
    if rate is None:
        return results
    ratio = rate * theirs / 1e9
    return [
        *results,
        {
            "id": "P2.keylime",
            "what": "the rate of P2",
            "value": rate,
            "unit": "1/s per core",
            "baseline": round(1e9 / theirs),
            "baseline_what": how,
            "ratio": round(ratio, 2),
            "goal": f"ratio >= {GOAL}",
            "met": ratio >= GOAL,
        },
    ]
