"""Each benchmark once, tiny: that it runs, and the form of what it writes. Its values mean nothing here."""

import json
import os
import subprocess

from conftest import ROOT

RUN = ROOT / "tests" / "bench" / "run"
TYPES = {
    "id": str,
    "what": str,
    "value": (int, float),
    "unit": str,
    "baseline": (int, float, type(None)),
    "baseline_what": str,
    "ratio": (int, float, type(None)),
    "goal": str,
    "met": bool,
}


def bench(bin_dir, *args, timeout=60):
    return subprocess.run(
        [RUN, *args],
        env={**os.environ, "AVOW_BENCH_BUILD": str(bin_dir.parent)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )


def test_bench_quick__every_id__has_the_documented_form(bin_dir, tmp_path):
    listed = bench(bin_dir, "--list").stdout.split()
    done = bench(bin_dir, "--quick", "--json", str(tmp_path / "bench.json"), timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "bench.json").read_text())
    assert [r["id"] for r in results] == listed
    for r in results:
        assert set(r) == set(TYPES), r
        for name, kind in TYPES.items():
            assert isinstance(r[name], kind), (name, r)
        assert r["value"] > 0 and r["what"] and r["unit"] and r["baseline_what"], r
        assert (r["baseline"] is None) == (r["ratio"] is None), r


def test_bench_id__selects_it_and_its_variants(bin_dir, tmp_path):
    done = bench(bin_dir, "--quick", "--json", str(tmp_path / "bench.json"), "P1e.worker")
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [r["id"] for r in json.loads((tmp_path / "bench.json").read_text())]
    assert ids == ["P1e.worker", "P1e.worker.cold", "P1e.worker.allocations"]


def test_bench_unknown_id__is_usage(bin_dir):
    done = bench(bin_dir, "P999")
    assert done.returncode == 2 and "P999" in done.stderr
