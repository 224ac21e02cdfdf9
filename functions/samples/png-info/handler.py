"""Reads a posted PNG: size, colour type, every chunk with its check sum, text, and whether the pixels are all there."""

import zlib

from apus import Response

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {0: ("greyscale", 1), 2: ("truecolour", 3), 3: ("palette", 1), 4: ("greyscale with alpha", 2), 6: ("truecolour with alpha", 4)}
PIXEL_BYTES_MOST = 64 * 1024 * 1024


class NotPNG(Exception):
    pass


def chunks_of(data):
    if not data.startswith(SIGNATURE):
        raise NotPNG("the signature is missing")
    at = len(SIGNATURE)
    while at < len(data):
        if len(data) - at < 12:
            raise NotPNG(f"cut off inside a chunk at byte {at}")
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise NotPNG(f"chunk {kind!r} at byte {at} is longer than the file")
        if zlib.crc32(kind + body) != int.from_bytes(check, "big"):
            raise NotPNG(f"chunk {kind.decode('latin-1')} at byte {at}: the check sum is wrong")
        yield kind.decode("latin-1"), body
        at += 12 + length


def expected_bytes(width, height, bits, channels, interlaced):
    """Bytes of the unpacked pixels, a filter byte before each line."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    total = 0
    for x, y, dx, dy in passes:
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * channels // 8))
    return total


def inspect(data):
    found, text, packed, header = [], {}, [], None
    for kind, body in chunks_of(data):
        found.append({"type": kind, "bytes": len(body)})
        if kind == "IHDR":
            header = body
        elif kind == "IDAT":
            packed.append(body)
        elif kind == "tEXt":
            name, _, value = body.partition(b"\0")
            text[name.decode("latin-1")] = value.decode("latin-1")
    if header is None or len(header) != 13 or found[0]["type"] != "IHDR":
        raise NotPNG("the header chunk is missing")
    if found[-1]["type"] != "IEND":
        raise NotPNG("the end chunk is missing")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, colour, interlaced = header[8], header[9], header[12] == 1
    if colour not in COLOURS or not width or not height:
        raise NotPNG("the header makes no sense")
    name, channels = COLOURS[colour]
    wanted = expected_bytes(width, height, bits, channels, interlaced)
    if wanted > PIXEL_BYTES_MOST:
        raise NotPNG(f"the pixels would take {wanted} bytes")
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(b"".join(packed), wanted + 1)
    except zlib.error as error:
        raise NotPNG(f"the pixels cannot be unpacked: {error}") from None
    if len(pixels) != wanted:
        raise NotPNG("the pixels are not as many as the header says")
    return {
        "width": width, "height": height, "bitDepth": bits, "colourType": name, "interlaced": interlaced,
        "pixelBytes": wanted, "text": text, "chunks": found,
    }


def handle(event, context):
    if event.method not in ("POST", "PUT"):
        return Response({"error": "post a PNG"}, status=405, headers={"Allow": "POST, PUT"})
    try:
        info = inspect(event.body)
    except NotPNG as error:
        context.log.warn("not a PNG", reason=str(error), bytes=len(event.body))
        return Response({"error": str(error)}, status=422)
    context.log.info("inspected", width=info["width"], height=info["height"])
    return info
