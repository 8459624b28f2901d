"""What benchmarks share: how they are told what to do, the form of a result, processes as the kernel sees them."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Run:
    build: Path
    folder: Path  # empty, removed at the end
    quick: bool
    ids: list[str]

    @property
    def bin(self) -> Path:
        return self.build / "bin"

    def note(self, text: str) -> None:
        if text:
            print(text, file=sys.stderr)


def result(name: str, what: str, value: float, unit: str, baseline=None, baseline_what="none", most=None) -> dict:
    """`most`: the goal, if there is one, is to stay at or below it. The ratio is the value in units of the baseline."""
    return {
        "id": name,
        "what": what,
        "value": round(value, 4),
        "unit": unit,
        "baseline": None if baseline is None else round(baseline, 4),
        "baseline_what": baseline_what,
        "ratio": round(value / baseline, 4) if baseline else None,
        "goal": f"<= {most:g} {unit}" if most is not None else "none, reported only",
        "met": value <= most if most is not None else True,
    }


@dataclass
class Memory:
    rss: float  # MB of 10^6 bytes
    pss: float
    private_dirty: float


def memory(pid: int) -> Memory:
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            kib[words[0].rstrip(":")] = int(words[1])
    return Memory(*(kib[k] * 1024 / 1e6 for k in ("Rss", "Pss", "Private_Dirty")))


def cpu_seconds(pid: int) -> float:
    """Of all threads that still live, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
