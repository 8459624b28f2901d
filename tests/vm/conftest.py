"""End-to-end tests on virtual machines: firmware, a kernel's own IMA, the installed agent, a real Apache Kafka."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from vmrig import Fleet  # noqa: E402


@pytest.fixture(scope="session")
def bin_dir() -> Path:
    path = Path(os.environ.get("AVOW_BIN", ROOT / "build" / "release" / "bin"))
    if not (path / "avow-worker").exists():
        pytest.fail(f"no programs in {path}: build them, or set AVOW_BIN")
    return path


@pytest.fixture(scope="session")
def fleet(tmp_path_factory, bin_dir):
    made = Fleet(tmp_path_factory.mktemp("fleet"), bin_dir)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what machines and services said."""
    report = yield
    made = item.funcargs.get("fleet")
    if report.failed and made:
        report.sections += made.logs()
    return report
