"""Detection of truncated audio files from their container, which libsndfile does not check."""

import struct
from pathlib import Path
from typing import BinaryIO

from torchsep.audio.formats import one_line

__all__ = ["check_complete"]

_STREAMED = (0, 2**31 - 4096, 2**31 - 1, 2**31, 2**32 - 1)  # placeholder sizes of encoders that write to a pipe


def check_complete(path: Path, stream: BinaryIO) -> None:
    """Raise if the container declares more bytes than the file has; libsndfile silently reads the remainder."""
    size = path.stat().st_size
    head = stream.read(12).ljust(12, b"\0")
    complete = True
    if head[:4] in (b"RIFF", b"RF64", b"RIFX", b"FORM"):
        complete = _chunks_complete(path, stream, size, head[:4])
    elif head[:4] == b"OggS":
        stream.seek(max(0, size - 2**17))
        tail = stream.read()
        page = tail[max(0, tail.rfind(b"OggS")) :]
        table = page[27 : 27 + page[26]] if len(page) > 26 else b""
        # Bit 4 marks the last page of a stream.
        complete = bool(table) and len(page) >= 27 + page[26] + sum(table) and bool(page[5] & 4)
    elif head[:3] == b"ID3" or head[:1] == b"\xff":
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
        start = start + 10 * (head[5] >> 4 & 1) if head[:3] == b"ID3" else 0
        stream.seek(start)
        frame = stream.read(64).ljust(64, b"\0")
        tag = max(frame.find(b"Xing", 0, 44), frame.find(b"Info", 0, 44))
        if tag > 0 and frame[tag + 7] & 2:  # the tag contains the number of bytes
            at = tag + 8 + 4 * (frame[tag + 7] & 1)
            complete = size - start >= struct.unpack(">I", frame[at : at + 4])[0]
    if not complete:
        raise ValueError(one_line(path, f"is cut short: its {size} bytes are fewer than declared"))


def _chunks_complete(path: Path, stream: BinaryIO, size: int, magic: bytes) -> bool:
    order = ">" if magic in (b"RIFX", b"FORM") else "<"
    position, length64 = 12, 0
    while position + 8 <= size:
        stream.seek(position)
        name, length, body = struct.unpack(f"{order}4sI16s", stream.read(24).ljust(24, b"\0"))
        position += 8
        if name in (b"fmt ", b"COMM") and body[:4][slice(2, 4) if name == b"fmt " else slice(0, 2)] == b"\0\0":
            raise ValueError(one_line(path, "has zero channels; its header is damaged, export it again"))
        if name == b"ds64":
            length64 = struct.unpack("<8xQ", body)[0]
        if name in (b"data", b"SSND"):
            length = length64 if magic == b"RF64" and length == 2**32 - 1 else length
            return length in _STREAMED or position + length <= size
        position += length + length % 2
    return True  # no samples found: libsndfile raises an error
