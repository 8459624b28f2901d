"""What a host, its broker or its operator's mail may do to one appraisal, one thing at a time.

An operator makes a changed case of a good one and names the findings that tell it: one of them has to be there, or, with
`only`, nothing else may be. Those in HARMLESS change nothing that a TPM covers or a policy asks for, and have to pass; each
says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import imalog
import machines
import uefilog


class DoesNotApply(Exception):
    """This machine or quote has nothing that the operator could change."""


@dataclass(eq=False)
class Subject:
    """A case that passes, and what operators take from elsewhere."""

    capture: machines.Capture
    quote: machines.Quote
    case: machines.Case
    state: Path | None  # of kind replay: after this case; of kind news: after the moment before
    others: list[machines.Capture]
    policy_file: Callable[[dict], Path]  # a runtime policy, written

    @cached_property
    def entries(self) -> list[imalog.Entry]:
        return self.capture.entries

    @cached_property
    def covered(self) -> int:
        return self.capture.covered(self.quote)

    @cached_property
    def files(self) -> list[int]:
        """Indices of entries of files, boot_aggregate excepted, that the quote covers."""
        return [
            i
            for i, e in enumerate(self.entries[: self.covered])
            if i and e.template != "ima-buf" and not e.violation and e.path != "boot_aggregate"
        ]

    def file(self, where: float = 0.5) -> int:
        return self.files[int(where * (len(self.files) - 1))]

    def with_list(self, entries: list[imalog.Entry]) -> machines.Case:
        return self.case.change(ima=imalog.encode(entries))

    def with_entry(self, i: int, e: imalog.Entry) -> machines.Case:
        return self.with_list(self.entries[:i] + [e] + self.entries[i + 1 :])

    def allowed(self, entries: list[imalog.Entry]) -> machines.Case:
        """The policy allows whatever this list has, so that nothing but the TPM tells."""
        return self.with_list(entries).change(policy=self.policy_file(imalog.policy_of(entries)))

    @property
    def strangers(self) -> list[machines.Capture]:
        """Captures of other machines."""
        return [c for c in self.others if c.machine != self.capture.machine]

    @property
    def other_boots(self) -> list[machines.Capture]:
        return [c for c in self.others if c.machine == self.capture.machine and c.run != self.capture.run]

    @property
    def moments_before(self) -> list[machines.Capture]:
        """Of the same boot, the last one first."""
        return [c for c in self.others if c.run == self.capture.run and c.name < self.capture.name][::-1]

    def with_events(self, events: list[uefilog.Event]) -> machines.Case:
        return self.case.change(boot=self.capture.events.change(events).encode())

    @property
    def boot_pcrs(self) -> set[int]:
        return set.intersection(*(set(p) for p in self.quote.selected.values()))


@dataclass(frozen=True)
class Operator:
    kind: str  # which quotes it is applied to: quote, values, list, boot, replay, news
    change: Callable[[Subject], machines.Case]
    found: frozenset[str]
    only: bool


OPERATORS: dict[str, Operator] = {}
HARMLESS: dict[str, tuple[str, Callable[[Subject], machines.Case]]] = {}


def operator(kind: str, *found: str, only: bool = False):
    def add(change):
        name = change.__name__.replace("_", "-")
        assert name not in OPERATORS, name
        OPERATORS[name] = Operator(kind, change, frozenset(found), only)
        return change

    return add


def harmless(kind: str):
    """The reason is the function's docstring."""

    def add(change):
        assert change.__doc__
        HARMLESS[change.__name__.replace("_", "-")] = (kind, change)
        return change

    return add


def first(found, why: str):
    for one in found:
        return one
    raise DoesNotApply(why)


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def other(value: bytes) -> bytes:
    return (b"\x5a" * 64)[: len(value)]
