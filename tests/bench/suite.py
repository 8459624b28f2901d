"""The benchmarks: which there are, how they are run, and the table and list that come out. See docs/BENCHMARKS.md."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boot
import fold
import footprint
import latency
import policies
import registrar
from results import Run

ROOT = Path(__file__).resolve().parents[2]


def program(name):
    """Benchmarks in C print a line of JSON for each result."""

    def run(r: Run) -> list[dict]:
        command = [r.build / "bench" / name, *(["--quick"] if r.quick else []), *r.ids]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=3600)
        r.note(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(f"{name}: exit {done.returncode}: {done.stderr[-500:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


SIDES = ["", ".worker", ".cold", ".worker.cold", ".verify.cold", ".allocations", ".worker.allocations"]
GROUPS = [
    ([k + s for k in ("P1", "P1e") for s in SIDES], program("bench_appraise")),
    (fold.IDS, fold.run),
    (boot.IDS, boot.run),
    (policies.IDS, policies.run),
    (latency.KAFKA, latency.on_kafka),
    (latency.EMBEDDED, latency.on_embedded),
    (footprint.IDS, footprint.run),
    (registrar.IDS, registrar.run),
]


def wants(ids: list[str], name: str) -> bool:
    return not ids or any(name == i or name.startswith(i + ".") for i in ids)


def output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def load() -> str:
    pressure = Path("/proc/pressure/cpu")
    line = pressure.read_text().splitlines()[0] if pressure.exists() else ""
    waiting = next((w.split("=")[1] for w in line.split() if w.startswith("avg10=")), "?")
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, somebody waits for a CPU {waiting} % of the time"


def machine() -> list[str]:
    cpu = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return [
        f"{cpu}, {os.cpu_count()} cores, Linux {os.uname().release}; {output('openssl', 'version')[:40]},"
        f" librdkafka {output('pkg-config', '--modversion', 'rdkafka')}, {output('gcc', '--version').splitlines()[0]}",
        f"commit {output('git', 'rev-parse', '--short', 'HEAD')}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}",
        f"before: {load()}{', but we come first (real-time priority)' if os.sched_getscheduler(0) else ''}",
    ]


def number(value) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(results: list[dict]) -> str:
    rows = [["id", "value", "unit", "baseline", "ratio", "goal", "met"]]
    for x in results:
        has_goal = not x["goal"].startswith("none")
        rows.append(
            [x["id"], number(x["value"]), x["unit"], number(x["baseline"]), number(x["ratio"])]
            + [x["goal"] if has_goal else "-", ("yes" if x["met"] else "NO") if has_goal else "-"]
        )
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="tests/bench/run", description="runs benchmarks beside their baselines")
    p.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the results as a JSON list")
    p.add_argument("--quick", action="store_true", help="tiny runs, whose values mean nothing")
    p.add_argument("--realtime", action="store_true", help="before everything else on this machine")
    p.add_argument("--list", action="store_true", help="the ids")
    p.add_argument("ids", nargs="*", metavar="ID", help="these and their variants; all without any")
    return p.parse_args()


def main() -> int:
    args = arguments()
    known = [i for ids, _ in GROUPS for i in ids]
    if args.list:
        print("\n".join(known))
        return 0
    unknown = [i for i in args.ids if not any(wants([i], k) for k in known)]
    if unknown:
        print(f"tests/bench/run: no benchmark {' '.join(unknown)}; --list shows the ids", file=sys.stderr)
        return 2
    results, failed = [], 0
    for line in machine():
        print(line)
    for ids, run in GROUPS:
        if not any(wants(args.ids, i) for i in ids):
            continue
        with tempfile.TemporaryDirectory(prefix="avow-bench-") as folder:
            r = Run(build=args.build.resolve(), folder=Path(folder), quick=args.quick, ids=args.ids)
            try:
                results += [x for x in run(r) if wants(args.ids, x["id"])]
            except Exception as e:  # the other benchmarks still run; the exit code tells
                failed += 1
                print(f"tests/bench/run: {ids[0]}: {e}", file=sys.stderr)
    print(f"after:  {load()}\n")
    for x in results:
        print(f"{x['id']}: {x['what']}; baseline: {x['baseline_what']}")
    print(f"\n{table(results)}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    missed = [x["id"] for x in results if not x["met"]]
    if missed:
        print(f"goals missed: {' '.join(missed)}" + (" (a quick run: means nothing)" if args.quick else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
