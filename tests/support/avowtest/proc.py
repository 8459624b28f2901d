"""Processes that a test starts, watches and ends; never anything else."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proc:
    def __init__(self, name: str, args: list[str], log: Path, env: dict[str, str] | None = None):
        self.name, self.args, self.log = name, [str(a) for a in args], log
        self._env = {**os.environ, **(env or {})}
        self._offset = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as out:
            self._p = subprocess.Popen(
                self.args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._p.pid

    def running(self) -> bool:
        return self._p.poll() is None

    def output(self) -> str:
        """What it wrote since it was started."""
        with open(self.log, "rb") as f:
            f.seek(self._offset)
            return f.read().decode(errors="replace")

    def wait_output(self, text: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.output():
            if not self.running():
                raise RuntimeError(f"{self.name} ended with {self._p.returncode}: {self.output()[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not write {text!r} within {timeout:g} s: {self.output()[-2000:]}")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        self._p.send_signal(number)

    def stop(self, timeout: float = 15) -> int:
        """SIGTERM, and its exit code; SIGKILL and an exception if it does not end."""
        if self.running():
            self._p.send_signal(signal.SIGTERM)
            try:
                self._p.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise TimeoutError(f"{self.name} did not end within {timeout:g} s of SIGTERM") from None
        return self._p.returncode

    def kill(self) -> None:
        if self.running():
            self._p.kill()
        self._p.wait()

    def wait(self, timeout: float) -> int:
        return self._p.wait(timeout)
