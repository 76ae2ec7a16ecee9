"""TensorFlow's record files of ``Example`` messages, read without TensorFlow.

A file is a row of records: length (8 bytes), checksum (4), content, checksum (4). The content is a
protocol buffer: ``Example { Features { map<string, Feature> } }``, a ``Feature`` being a list of
byte strings, 32-bit floats or integers. The checksums are not compared.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from dtsvibe_cli.errors import DataError

Feature = list[bytes] | np.ndarray

_BYTES, _FLOATS, _INTS = 1, 2, 3
_MAX_RECORD_BYTES: Final = 2**31


def read_examples(path: Path) -> Iterator[dict[str, Feature]]:
    """The examples of a file, one after the other: lists of byte strings, or arrays of numbers.

    Raises:
        DataError: It is missing, cut off, or holds something else.
    """
    try:
        with path.open("rb") as file:
            while header := file.read(12):
                length = int.from_bytes(header[:8], "little")
                if length > _MAX_RECORD_BYTES:
                    raise DataError(f"{path} is no file of TensorFlow's records.")
                content = file.read(length + 4)
                if len(header) < 12 or len(content) < length + 4:
                    raise DataError(f"{path} is cut off.")
                yield _example(content[:length])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} holds a record that is no Example ({error}).") from error


def _example(content: bytes) -> dict[str, Feature]:
    features = {}
    for _, block in _fields(content):
        for _, entry in _fields(_message(block)):
            parts = dict(_fields(_message(entry)))
            name = _message(parts.get(1, b"")).decode("utf-8")
            features[name] = _feature(_message(parts.get(2, b"")))
    return features


def _feature(content: bytes) -> Feature:
    for kind, inner in _fields(content):
        values = [value for number, value in _fields(_message(inner)) if number == 1]
        if kind == _BYTES:
            return [_message(value) for value in values]
        if kind == _FLOATS:  # packed, or one by one: four bytes each
            return np.frombuffer(b"".join(map(_message, values)), "<f4").astype(np.float64)
        if kind == _INTS:
            numbers = [n for v in values for n in (_varints(v) if isinstance(v, bytes) else [v])]
            return np.array(numbers, np.uint64).astype(np.int64)
    return []


def _message(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message was expected")  # noqa: TRY004 (it is the file's)
    return value


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of a message's fields; fixed-width numbers as their bytes."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the kind {kind}")
        if at + length > len(content):
            raise ValueError("a field beyond its message")
        yield tag >> 3, content[at : at + length]
        at += length


def _varints(content: bytes) -> list[int]:
    at, numbers = 0, []
    while at < len(content):
        number, at = _varint(content, at)
        numbers.append(number)
    return numbers


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (2**64 - 1), at
    raise ValueError("a number that does not end")
