"""Captures of booted machines, as tests/vectors/machines has them: MACHINE/RUN/CAPTURE.

A run has `keys/AK.tpm2b_public`; a capture has `binary_bios_measurements`, `ima_after/binary_runtime_measurements` and
`quotes/`, with `quotes.txt` (name, AK, selection, hash, nonce) and NAME.msg, NAME.sig, NAME.pcrs (a file of tpm2-tools).
"""

import struct
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import imalog
import tpmbytes
import uefilog

HOME = Path(__file__).resolve().parents[1] / "vectors" / "machines"


@dataclass(frozen=True)
class Quote:
    name: str
    ak: str
    nonce: str
    files: Path  # without ending

    def read(self, ending: str) -> bytes:
        return Path(f"{self.files}.{ending}").read_bytes()

    @cached_property
    def attest(self) -> tpmbytes.Attest:
        return tpmbytes.Attest.parse(self.read("msg"))

    @cached_property
    def selected(self) -> dict[str, list[int]]:
        """PCRs by bank, in the order of the quote."""
        return {tpmbytes.NAMES[bank]: tpmbytes.pcrs_of(bits) for bank, bits in self.attest.selections if any(bits)}

    @property
    def values(self) -> list[bytes]:
        return tpmbytes.values_of_tools_file(self.read("pcrs"))

    def value(self, bank: str, pcr: int) -> bytes:
        order = [(b, p) for b, pcrs in self.selected.items() for p in pcrs]
        return self.values[order.index((bank, pcr))]

    @property
    def is_whole(self) -> bool:
        return all(set(range(11)) <= set(pcrs) for pcrs in self.selected.values()) and bool(self.selected)


@dataclass(frozen=True, eq=False)
class Capture:
    folder: Path
    quotes: list[Quote] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "-".join(self.folder.parts[-3:])

    @property
    def run(self) -> Path:
        return self.folder.parent

    @property
    def machine(self) -> Path:
        return self.folder.parents[1]

    @cached_property
    def ima(self) -> bytes:
        return (self.folder / "ima_after" / "binary_runtime_measurements").read_bytes()

    @cached_property
    def entries(self) -> list[imalog.Entry]:
        return imalog.parse(self.ima)

    @cached_property
    def boot(self) -> bytes:
        return (self.folder / "binary_bios_measurements").read_bytes()

    @cached_property
    def events(self) -> uefilog.Log:
        return uefilog.parse(self.boot)

    def ak(self, name: str) -> bytes:
        return (self.run / "keys" / f"{name}.tpm2b_public").read_bytes()

    def is_padded(self, quote: Quote) -> bool:
        """A bank that kernels without its hash extend with SHA-1 and zeros."""
        large = [bank for bank in quote.selected if bank in ("sha384", "sha512") and 10 in quote.selected[bank]]
        return any(quote.value(bank, 10) != imalog.replay(self.entries[: self.covered(quote)], bank) for bank in large)

    def covered(self, quote: Quote) -> int:
        """How many entries lead to the quoted PCR 10."""
        bank = next(b for b, pcrs in quote.selected.items() if 10 in pcrs)
        want = quote.value(bank, 10)
        for padded in (False, True):
            value = bytes(len(want))
            for n, e in enumerate(self.entries):
                value = imalog.extend(value, bank, e, padded)
                if value == want:
                    return n + 1
        raise AssertionError(f"{self.name} {quote.name}: PCR 10 is not explained")


def quotes_of(folder: Path) -> list[Quote]:
    out = []
    for line in (folder / "quotes" / "quotes.txt").read_text().splitlines():
        name, ak, _, _, nonce = line.split()[:5]
        files = folder / "quotes" / name
        if files.with_name(name + ".msg").exists():
            out.append(Quote(name, ak, nonce, files))
    return out


def captures(home: Path) -> list[Capture]:
    return [Capture(p.parents[1], quotes_of(p.parents[1])) for p in sorted(home.glob("*/*/*/quotes/quotes.txt"))]


@dataclass(frozen=True)
class Case:
    """What `avow appraise` is given. None: not given."""

    attest: bytes
    signature: bytes
    ak: bytes
    nonce: str
    pcrs: bytes | None
    ima: bytes | None
    boot: bytes | None
    policy: Path | None = None
    state: Path | None = None
    options: tuple[str, ...] = ()

    def change(self, **changes) -> "Case":
        return replace(self, **changes)

    FILES = {
        "attest": "--attest",
        "signature": "--signature",
        "ak": "--ak",
        "pcrs": "--pcrs",
        "ima": "--ima-log",
        "boot": "--uefi-log",
    }

    def arguments(self, folder: Path) -> list[str]:
        """Writes the files."""
        out = ["appraise", "--nonce", self.nonce, *self.options]
        for name, option in self.FILES.items():
            data = getattr(self, name)
            if data is not None:
                (folder / name).write_bytes(data)
                out += [option, str(folder / name)]
        if self.policy:
            out += ["--runtime-policy", str(self.policy)]
        if self.state:
            out += ["--state-in", str(self.state)]
        return out


def case_of(capture: Capture, quote: Quote, **more) -> Case:
    made = Case(
        quote.read("msg"),
        quote.read("sig"),
        capture.ak(quote.ak),
        quote.nonce,
        quote.read("pcrs"),
        capture.ima,
        capture.boot,
        options=("--accept-hash", "sha1,sha256,sha384,sha512"),
    )
    return made.change(**more)


def plain_signature(data: bytes) -> bytes:
    """TPMT_SIGNATURE around bytes of RSASSA with SHA-256."""
    return struct.pack(">HH", tpmbytes.RSASSA, tpmbytes.BANKS["sha256"]) + tpmbytes.sized(data)
