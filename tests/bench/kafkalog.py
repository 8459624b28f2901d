"""Reads the segments of a Kafka broker's log from its folder: what a record takes, as it is stored.

Format: Kafka's record batch, magic 2 (https://kafka.apache.org/documentation/#recordbatch).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

BATCH_HEAD = 61  # with offset and length
CONTROL = 0x20
COMPRESSION = 0x07


@dataclass
class Stored:
    size: int  # of its batch, when it is alone in it
    key: bytes
    value: bytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    shift = number = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), at


def _first_record(batch: bytes) -> tuple[bytes, bytes]:
    _, at = _varint(batch, BATCH_HEAD)  # length
    _, at = _varint(batch, at + 1)  # attributes; timestamp
    _, at = _varint(batch, at)  # offset
    length, at = _varint(batch, at)
    key = batch[at : at + max(length, 0)]
    length, at = _varint(batch, at + max(length, 0))
    return key, batch[at : at + max(length, 0)]


def single_records(data: Path, topic: str) -> list[Stored]:
    """Records of all partitions, in order, that have a batch of their own."""
    out = []
    for path in sorted(data.glob(f"{topic}-*/*.log")):
        log, at = path.read_bytes(), 0
        while at + BATCH_HEAD <= len(log):
            size = 12 + struct.unpack_from(">i", log, at + 8)[0]
            if size <= BATCH_HEAD or at + size > len(log):
                break  # preallocated or being written
            attributes = struct.unpack_from(">h", log, at + 21)[0]
            count = struct.unpack_from(">i", log, at + 57)[0]
            if count == 1 and not attributes & (CONTROL | COMPRESSION):
                out.append(Stored(size, *_first_record(log[at : at + size])))
            at += size
    return out
