"""What runs in Keylime's own environment: one subject, its CPU nanoseconds in a line of JSON. Children count: Keylime
starts tpm2_eventlog for each firmware log."""

import argparse
import base64
import json
import logging
import resource
import sys


def cpu_ns() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) * 1e9


def median(rounds: int, work) -> float:
    times = []
    for _ in range(rounds):
        start = cpu_ns()
        work()
        times.append(cpu_ns() - start)
    return sorted(times)[len(times) // 2]


def ima(folder: str, rounds: int) -> dict:
    """The list and the policy in `folder`, judged as the verifier does."""
    from keylime.common.algorithms import Hash
    from keylime.ima.ima import process_measurement_list

    with open(f"{folder}/list") as f:
        lines = f.read().splitlines()
    with open(f"{folder}/policy.json") as f:
        policy = json.load(f)
    with open(f"{folder}/pcr10") as f:
        pcr10 = f.read().strip()

    def work():
        _, failure = process_measurement_list(None, lines, policy, pcr10, None, None, Hash.SHA256)
        if failure:
            raise RuntimeError(f"a genuine list failed: {[e.event_id for e in failure.events]}")

    work()
    return {"ns": median(rounds, work) / len(lines)}


def boot(log: str, refstate: str, rounds: int) -> dict:
    """A firmware log, parsed and judged by the policy that Keylime ships, with its own reference state for that log."""
    from keylime.mba.elchecking import example, policies  # noqa: F401 - it registers itself
    from keylime.mba.elparsing import tpm2_tools_elparser
    from keylime.policy import create_mb_policy

    arguments = argparse.Namespace(eventlog_file=log, without_secureboot=False, output=refstate)
    state = create_mb_policy.create_mb_refstate(arguments)
    with open(log, "rb") as f:
        text = base64.b64encode(f.read()).decode()

    def work():
        _, _, data, failure = tpm2_tools_elparser.bootlog_parse(text, "sha256")
        why = "not parsed" if failure else policies.evaluate("example", state, data)
        if why:
            raise RuntimeError(f"a genuine log failed: {why}")

    work()
    return {"ns": median(rounds, work)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    subject, *rest, count = sys.argv[1:]
    print(json.dumps({"ima": ima, "boot": boot}[subject](*rest, int(count))))
