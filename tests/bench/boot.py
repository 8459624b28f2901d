"""P3: a firmware log of a real machine (UEFI, shim, GRUB, Secure Boot), parsed, replayed, bound and judged; beside
Keylime's own parser and example policy on the same log in the same run. P3: with our policy, made of the log.
P3.refstate: with the reference state that Keylime makes of the log."""

import json
import subprocess

import keylime_rate
from results import Run

IDS = ["P3", "P3.refstate"]
LOG = keylime_rate.ROOT / "tests" / "vectors" / "captures" / "m2-grub-sb" / "binary_bios_measurements"
BY_HAND = 1e9 / 11  # logs a second through its verifier, as measured once on two cores
GOAL = 500 * 11


def keylimes(r: Run, refstate) -> tuple[float, str]:
    if not r.quick:
        try:
            return keylime_rate.measure("boot", LOG, refstate, 5), "Keylime's own parser and example policy, per log"
        except (OSError, subprocess.SubprocessError, ValueError) as e:
            r.note(f"P3: Keylime cannot be run here: {e}")
    return BY_HAND, "Keylime's 11 logs a second, measured elsewhere, not in this run"


def ours(r: Run, policy) -> dict:
    command = [r.build / "bench" / "bench_boot", LOG, policy, str(3 if r.quick else 101)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"bench_boot: {done.stderr[-500:]}")
    x = json.loads(done.stdout)
    r.note(
        f"P3: {x['events']} events: parse {x['parse'] / 1e3:.1f} us, replay {x['replay'] / 1e3:.1f}, "
        f"bind {x['bind'] / 1e3:.1f}, judge {x['judge'] / 1e3:.1f}"
    )
    return x


def run(r: Run) -> list[dict]:
    refstate = r.folder / "refstate.json"
    theirs, how = keylimes(r, refstate)
    results = []
    policies = {"P3": ("-", "our policy")}
    if r.quick:  # without Keylime there is no reference state; the form of the output is all that counts
        policies["P3.refstate"] = ("-", "our policy again")
    elif refstate.exists():
        policies["P3.refstate"] = (refstate, "Keylime's reference state")
    for name, (policy, what) in policies.items():
        x = ours(r, policy)
        rate = 1e9 / x["ns"]
        results.append(
            {
                "id": name,
                "what": f"firmware logs of {x['events']} events, parsed, replayed, bound and judged by {what}",
                "value": round(rate, 1),
                "unit": "1/s per core",
                "baseline": round(1e9 / theirs, 2),
                "baseline_what": how,
                "ratio": round(rate * theirs / 1e9, 1),
                "goal": f">= {GOAL} (500 x 11)",
                "met": rate >= GOAL,
            }
        )
    return results
