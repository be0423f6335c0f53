"""What a hostile client sends: whole requests with damaged content, and bytes that are hardly HTTP at all."""

import base64
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from tests.support.damage import damage
from tests.support.everything import columns, row_of

__all__ = ["ATTACKS", "Attack", "normal_request", "png"]

V1, V2 = "/v1/models/stays", "/v2/models/stays"
ROWS = [row_of(columns(8), place) for place in range(8)]
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Attack:
    """Bytes to send, and how."""

    chunks: tuple[bytes, ...]
    """Sent one after the other."""
    answers: int = 1
    """How many answers are waited for; less if the server hangs up."""
    pause: float = 0.0
    """Seconds between the chunks."""
    hold: float = 0.0
    """Seconds for which the connection is kept, though nothing is to come."""
    reset: bool = False
    """Whether the connection is torn down with its answers unread."""
    keeps: bool = False
    """Whether what is sent is whole HTTP, so that the connection may serve again."""


def request(target: str, body: bytes = b"", method: str = "POST", **headers: str) -> bytes:
    """Return a whole HTTP request."""
    told = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def documents() -> list[tuple[str, Any]]:
    """Return what every JSON door takes."""
    plain = [{name: value for name, value in row.items() if name != "photo"} for row in ROWS]
    photo = {"b64": base64.b64encode(png(16, 16)).decode()}
    rows = [{**row, "photo": photo} for row in plain]
    return [
        (f"{V1}:predict", {"instances": rows[:2]}),
        (f"{V1}:predict", {"inputs": {name: [row[name] for row in rows[:3]] for name in rows[0]}}),
        (f"{V1}:classify", {"examples": rows[:2], "context": {"price": 3}}),
        (f"{V1}:regress", {"examples": rows[:1]}),
        (f"{V2}/infer", {"id": "1", "inputs": tensors(rows[0]), "outputs": [{"name": "themes"}]}),
    ]


def tensors(row: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {"price": "FP64", "distance": "FP64", "guests": "INT64", "member": "BOOL", "taste": "FP32"}
    found = []
    for name, value in row.items():
        shape = {"taste": [1, 4, 4], "wishes": [1, len(row["wishes"])]}.get(name, [1])
        data = value["b64"] if isinstance(value, dict) else value
        found.append({"name": name, "datatype": kinds.get(name, "BYTES"), "shape": shape, "data": [data]})
    return found


def png(width: int, height: int, pixels: bytes | None = None) -> bytes:
    """Return a PNG file of these pixels, or of one colour."""
    stream = io.BytesIO()
    size = (width, height)
    picture = Image.new("RGB", size, (9, 99, 200)) if pixels is None else Image.frombytes("RGB", size, pixels)
    picture.save(stream, "PNG")
    return stream.getvalue()


DOCUMENTS = documents()
NORMAL = request(DOCUMENTS[0][0], json.dumps(DOCUMENTS[0][1]).encode())
_BOMB = gzip.compress(bytes(64 << 20), 9)
_PICTURES = [png(16, 16), png(3000, 3000), png(16, 16)[:60], b"\x89PNG\r\n\x1a\n" + bytes(64), b"\xff\xd8\xff\xe0" * 40]


def normal_request() -> bytes:
    """Return a request that is answered."""
    return NORMAL


def json_damaged(chance: random.Random) -> Attack:
    """A document with one place changed, now and then with bytes changed too."""
    target, document = chance.choice(DOCUMENTS)
    body = json.dumps(damage(document, chance), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        changed = bytearray(body)
        for _ in range(chance.randrange(1, 9)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        body = bytes(changed)
    if chance.random() < 0.1:
        body = body[: chance.randrange(len(body))]
    return Attack((request(target, body),), keeps=True)


def json_extreme(chance: random.Random) -> Attack:
    """Depth, length, numbers that are none."""
    size = chance.choice([100, 10_000, 1_000_000])
    body = chance.choice(
        [
            b"[" * size,
            b'{"instances":' + b"[" * size + b"NaN",
            b'{"a":' * (size // 5) + b"1" + b"}" * (size // 5),
            b'{"instances": [{"price": ' + b"9" * size + b"}]}",
            b'{"instances": [{"price": NaN, "guests": ' + b"9" * size + b"}]}",
            b'{"instances": [{"price": Infinity, "country": "nl"}]}',
            b'{"instances": [{"price": 1, "country": "' + b"x" * size + b'"}]}',
            b'{"instances": [{"price": 1, "' + b"x" * size + b'": 1}]}',
            b'{"instances": [' + b"{}," * (size // 4) + b"{}]}",
            b'{"instances": [{"price": 1, "wishes": [' + b'"sea",' * (size // 6) + b'"sea"]}]}',
            b'{"inputs": {' + b",".join(b'"f%d": [1]' % place for place in range(size // 50)) + b"}}",
            b'{"inputs": [' + b'{"name":"price","shape":[1],"datatype":"FP64","data":[1]},' * (size // 60) + b"{}]}",
            b"\x00" * size,
            b"\xff\xfe" * (size // 2),
        ]
    )
    return Attack((request(chance.choice(DOCUMENTS)[0], body),), keeps=True)


def binary(chance: random.Random) -> Attack:
    """Tensors whose sizes and shapes lie."""
    huge = chance.choice([[1 << 30], [2147483647, 2147483647], [1 << 30, 1 << 30, 1 << 30], [0], [0, 1 << 30], [1] * 8])
    data = chance.randbytes(chance.choice([0, 1, 8, 64, 4096]))
    told = chance.choice([len(data), -1, 0, 1 << 62, len(data) + 1, "8", None, 1.5, [8]])
    kind = chance.choice(["FP64", "BYTES", "BOOL", "FP16", "INT8", "UINT64", "", None, 7])
    name = chance.choice(["price", "taste", "photo", "country", "wishes", "", "price\x00"])
    shape = chance.choice([huge, [1], [len(data) // 8], [-1], ["1"], None, 3, []])
    tensor = {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": told}}
    if name == "country" and chance.random() < 0.5:
        data = struct.pack("<I", chance.choice([0, 3, 1 << 31, 0xFFFFFFFF])) + data
    head = json.dumps({"inputs": [tensor] * chance.choice([1, 1, 2, 50])}).encode()
    length = chance.choice([str(len(head)), str(len(head)), "0", "-1", "1e3", "9" * 30, "²", str(len(head) - 1), " "])
    body = request(f"{V2}/infer", head + data, Inference_Header_Content_Length=length.encode().decode("latin-1"))
    return Attack((body,), keeps=True)


def query(chance: random.Random) -> Attack:
    """Parameters that are odd, many or long."""
    text = chance.choice(
        ["", "price=%ff", "price=1&price=2", "&&&=", "price=1e400", "%00=1", "price=" + "9" * 6000, "price=1&guests=-0",
         "wishes=sea&" * 300, "taste=" + ",".join("1" * 16), "taste=" + "," * 3000, "photo=" + "A" * 7000,
         "price=nan", "price=\uff11\uff12", "a" * 9000, "price=1;country=nl", "price=0x10", "price=1_0", "=" * 500]
    )  # fmt: skip
    path = chance.choice(
        [f"{V1}:predict", f"{V1}/labels/latest:predict", "/", "/openapi.json", "/%2e%2e/etc/passwd", "//"]
    )
    sent = f"GET {path}?{text} HTTP/1.1\r\nHost: x\r\n".encode()
    headers = chance.choice([b"", b"If-None-Match: *\r\n", b'If-None-Match: "' + b"a" * 4000 + b'"\r\n'])
    deadline = chance.choice([b"", b"", b"nan", b"inf", b"-1", b"1e-30", b"\xb2", b"9" * 400])
    told = b"x-modelyard-deadline-ms: " + deadline + b"\r\n" if deadline else b""
    return Attack((sent + headers + told + b"\r\n",))


def pictures(chance: random.Random) -> Attack:
    """Files that are no pictures, or more than they seem."""
    row = {**ROWS[0], "photo": {"b64": base64.b64encode(chance.choice(_PICTURES)).decode()}}
    return Attack((request(f"{V1}:predict", json.dumps({"instances": [row]}).encode()),), keeps=True)


def compressed(chance: random.Random) -> Attack:
    """Bodies that say they are compressed: small ones that unpack to much, damaged ones, unknown ways."""
    target, document = chance.choice(DOCUMENTS)
    plain = json.dumps(document).encode()
    way = chance.choice(["gzip", "deflate", "br", "zstd", "x", "gzip, gzip"])
    body = chance.choice([gzip.compress(plain), zlib.compress(plain), plain, gzip.compress(plain)[:-9], _BOMB])
    return Attack((request(target, body, Content_Encoding=way),))


def lengths(chance: random.Random) -> Attack:
    """A Content-Length that lies, twice, or beside chunks."""
    target, document = chance.choice(DOCUMENTS)
    body = json.dumps(document).encode()
    length = chance.choice([str(len(body) - 5), "-1", "0x10", "1e3", "99999999999999999999", "", "+3", "3, 3", "0"])
    more = chance.choice(["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: x\r\n"])
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()
    return Attack((head + body,))


def chunks(chance: random.Random) -> Attack:
    """Chunked bodies: right ones in tiny pieces, and all ways to get them wrong."""
    target, document = chance.choice(DOCUMENTS)
    body = json.dumps(document).encode()[:3000]
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    tiny = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    whole = b"%x\r\n%s\r\n" % (len(body), body)
    tail = chance.choice(
        [
            tiny,
            whole + b"0\r\n\r\n",
            whole + b"0\r\nX: y\r\n\r\n",
            whole + b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
            b"%x;%s\r\n" % (len(body), b"e" * chance.choice([10, 20_000])) + body + b"\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n" + body,
            b"-1\r\n" + body,
            b"xyz\r\n" + body,
            whole[:-5] + b"0\r\n\r\n",
            b"0" * 5000 + whole + b"0\r\n\r\n",
            b"1\n{\n0\n\n",
            b"1\r\n{\r\n" * 20_000,
        ]
    )
    return Attack((head + tail,))


def pipelined(chance: random.Random) -> Attack:
    """Many requests at once, good and bad."""
    count = chance.choice([2, 5, 20, 60])
    good, bad = NORMAL, request(f"{V1}:predict", b"{")
    get = b"GET /v1/models/stays HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = b"".join(chance.choice([good, bad, get]) for _ in range(count))
    cut = chance.randrange(len(sent))
    return Attack((sent[:cut], sent[cut:]), count, keeps=True)


def slow(chance: random.Random) -> Attack:
    """Heads and bodies in pieces that come late, or never to an end."""
    sent = chance.choice([NORMAL, NORMAL[:-10], NORMAL.partition(_END)[0], b"GET / HTTP/1.1\r\n", b"P", b""])
    size = max(1, len(sent) // chance.choice([1, 3, 10]))
    pieces = tuple(sent[start : start + size] for start in range(0, len(sent), size)) or (b"",)
    return Attack(pieces, pause=chance.choice([0.0, 0.01, 0.05]), hold=chance.choice([0.0, 0.5, 2.0]))


def gone(chance: random.Random) -> Attack:
    """A client that asks for much and does not read, or goes at once."""
    sent = NORMAL * chance.choice([1, 10]) if chance.random() < 0.7 else NORMAL[: chance.randrange(len(NORMAL))]
    return Attack((sent,), answers=0, reset=chance.random() < 0.7, hold=chance.choice([0.0, 0.0, 0.05]))


def noise(chance: random.Random) -> Attack:
    """Whatever is no HTTP/1.1 request for a door."""
    sent = chance.choice(
        [
            chance.randbytes(chance.choice([1, 50, 5000])),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chance.randbytes(40),
            b"GET /\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x/v2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" + chance.randbytes(30),
            b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
            b"GET /v2 HTTP/1.1\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nA\x00: b\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
            b"G\xc3\x84T /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST "
            + V1.encode()
            + b":predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
            b"POST " + V1.encode() + b":predict HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n{}",
            b"DELETE " + V1.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\n" * 2000 + b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
    )
    return Attack((sent,))


#: Each kind with its share of all attacks.
ATTACKS: dict[Callable[[random.Random], Attack], float] = {
    json_damaged: 0.30,
    binary: 0.16,
    query: 0.12,
    noise: 0.10,
    lengths: 0.06,
    chunks: 0.06,
    pipelined: 0.05,
    json_extreme: 0.05,
    slow: 0.04,
    gone: 0.03,
    compressed: 0.02,
    pictures: 0.01,
}
