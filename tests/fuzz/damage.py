"""Ways to damage bytes that know nothing of what the bytes mean, or only that some of them are text.

Each takes the source of randomness and the content, and gives the damaged content; the same randomness gives
the same damage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from random import Random

Damage = Callable[[Random, bytes], bytes]

HEAD = 2000  # bytes from the start that are worth most of the damage: headers, and whole small files

_OCTETS = (0, 1, 2, 0x0A, 0x20, 0x22, 0x28, 0x2D, 0x7F, 0x80, 0xFE, 0xFF)
_WHOLE = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    -(2**31),
    2**32,
    2**63 - 1,
    -(2**63),
)
_REAL = (0.0, -0.0, 1.0, -1.0, 1e-38, 1e-45, 3e38, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
_TOKEN = re.compile(rb"[\w.+-]+")
_WORDS = (
    b"", b"0", b"-1", b"1", b"2", b"3", b"1.5", b"4", b"16", b"255", b"65536", b"4294967296",
    b"99999999999999999999",
    b"9" * 5000, b"1e400", b"-1e400", b"nan", b"inf", b"none", b"None", b"True", b"False", b"0x10",
    b"../../etc/passwd",
    b"/etc/passwd", b"LOCAL", b"LIST", b"raw", b"gzip", b"bzip2", b"hex", b"ascii", b"double", b"block",
    b"MET_FLOAT",
    b"(" * 900, b"-" * 4000 + b"1", b"[" * 90, b"'", b'"', b"\\", b"\0", b"\r", b"\x85", b"\xff\xfe",
    b"%s%n", b"x" * 4000,
    b"(1,0,0)", b"(nan,nan,nan)", b"a\nb", b":=", b": ", b"= ", b"|O", b"<f8", b">i8", b"<M8[s]", b"<U9",
    b"V1000000", b"b1",
)  # fmt: skip


def octets(random: Random, content: bytes) -> bytes:
    """Some bytes replaced, most of them in the header, by ones that mean something in many formats."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        changed[_place(random, content)] = random.choice((*_OCTETS, random.randrange(256)))
    return bytes(changed)


def bits(random: Random, content: bytes) -> bytes:
    """Some bits flipped."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 12)):
        changed[_place(random, content)] ^= 1 << random.randrange(8)
    return bytes(changed)


def number(random: Random, content: bytes) -> bytes:
    """A binary number of the header, wherever one may lie, replaced by an extreme one."""
    order = random.choice("<>")
    if random.random() < 0.5:
        form = random.choice("bhiq")
        size = struct.calcsize(form)
        value: int = random.choice(_WHOLE) % 256**size
        packed = value.to_bytes(size, "little" if order == "<" else "big")
    else:
        packed = _packed_real(order + random.choice("fd"), random.choice(_REAL))
    start = _place(random, content) // 2 * 2
    return content[:start] + packed + content[start + len(packed) :]


def cut(random: Random, content: bytes) -> bytes:
    """The end is missing."""
    return content[: _place(random, content)]


def inserted(random: Random, content: bytes) -> bytes:
    """Bytes that were not there, or some of its own again."""
    start = _place(random, content)
    own = content[start : start + random.choice((1, 2, 4, 64, 5000))]
    new = random.choice((own, own * 20, random.randbytes(random.randint(1, 64)), bytes(1000)))
    return content[:start] + new + content[start:]


def removed(random: Random, content: bytes) -> bytes:
    """Bytes taken out."""
    start = _place(random, content)
    return content[:start] + content[start + random.choice((1, 2, 4, 64, 5000)) :]


def followed(random: Random, content: bytes) -> bytes:
    """More behind the end than belongs there."""
    return content + random.choice((content, bytes(1 << 21), random.randbytes(3000)))


def token(random: Random, content: bytes) -> bytes:
    """A few words of a header that is text replaced by words that are wrong there."""
    for _ in range(random.randint(1, 3)):
        words = list(_TOKEN.finditer(content[:HEAD]))
        if not words:
            return content
        word = random.choice(words)
        content = content[: word.start()] + random.choice(_WORDS) + content[word.end() :]
    return content


def line(random: Random, content: bytes) -> bytes:
    """A line of a header that is text left out, doubled or moved."""
    lines = content[:HEAD].splitlines(keepends=True)
    if not lines:
        return content
    taken = lines.pop(random.randrange(len(lines)))
    for _ in range(random.choice((0, 1, 2, 400))):
        lines.insert(random.randint(0, len(lines)), taken)
    return b"".join(lines) + content[HEAD:]


ANY: tuple[Damage, ...] = (octets, octets, bits, number, number, cut, inserted, removed, followed)
TEXT: tuple[Damage, ...] = (token, token, token, line)


def _place(random: Random, content: bytes) -> int:
    """An offset into `content`, which must not be empty."""
    return random.randrange(min(len(content), HEAD) if random.random() < 0.8 else len(content))


def _packed_real(form: str, value: float) -> bytes:
    try:
        return struct.pack(form, value)
    except OverflowError:
        return struct.pack(form, float("inf"))
