"""Images with everything in them that cameras, editors and phones write beside the picture."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, ImageCms, ImageDraw

CANARY = b"52.5163N-13.3777E"
"""Stands for a place, a name, a comment: bytes that must not leave the sender's device."""


def marked(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A picture whose four corners differ, in blocks that survive lossy encoding."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    wide, high = size[0] // 2, size[1] // 2
    draw.rectangle((0, 0, wide - 1, high - 1), fill="red")
    draw.rectangle((wide, 0, size[0], high - 1), fill="green")
    draw.rectangle((0, high, wide - 1, size[1]), fill="blue")
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    """What a viewer sees of the first frame."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.size, image.convert("RGBA").tobytes()


def exif(orientation: int = 1, order: str = "<") -> bytes:
    """EXIF data with an orientation, a description and a place, in either order of bytes."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    text = CANARY + b"\0"
    behind = 8 + 2 + 3 * 12 + 4
    gps = behind + len(text)
    entries = (
        struct.pack(order + "HHII", 0x010E, 2, len(text), behind)
        + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
        + struct.pack(order + "HHII", 0x8825, 4, 1, gps)
    )
    directory = struct.pack(order + "H", 3) + entries + struct.pack(order + "I", 0)
    place = struct.pack(order + "HHHI4sI", 1, 0x001B, 7, 4, CANARY[:4], 0)
    return mark + struct.pack(order + "I", 8) + directory + text + place + CANARY


def xmp() -> bytes:
    """An XMP packet."""
    return b"<?xpacket?><x:xmpmeta xmlns:x='adobe:ns:meta/'>" + CANARY + b"</x:xmpmeta>"


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes((marker,)) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def riff(kind: bytes, body: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def foreign_profile() -> bytes:
    """A colour profile that is not sRGB: red and green change places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        at = 132 + 12 * number
        kind = bytes(profile[at : at + 4])
        if kind in (b"rXYZ", b"gXYZ"):
            profile[at : at + 4] = b"gXYZ" if kind == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))


def srgb_profile() -> bytes:
    """The ordinary colour profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def jpeg_with(*parts: bytes, image: Image.Image | None = None, behind: bytes = b"") -> bytes:
    """A JPEG with segments behind its start, and more behind its end."""
    whole = saved(image or marked(), "JPEG")
    return whole[:2] + b"".join(parts) + whole[2:] + behind


def png_with(*parts: bytes, image: Image.Image | None = None, behind: bytes = b"") -> bytes:
    """A PNG with chunks behind its header, and more behind its end."""
    whole = saved(image or marked(), "PNG")
    return whole[:33] + b"".join(parts) + whole[33:] + behind


def webp_with(*parts: bytes, image: Image.Image | None = None, flags: int = 0x0C) -> bytes:
    """A WebP in its extended form with chunks behind the picture."""
    image = image or marked()
    plain = saved(image, "WEBP", lossless=True)
    sides = b"".join((side - 1).to_bytes(3, "little") for side in image.size)
    header = riff(b"VP8X", bytes((flags, 0, 0, 0)) + sides)
    return riff(b"RIFF", b"WEBP" + header + plain[12:] + b"".join(parts))


def gif_with(*parts: bytes, image: Image.Image | None = None, behind: bytes = b"") -> bytes:
    """A GIF with extensions before its first picture."""
    whole = saved(image or marked(mode="P"), "GIF")
    head = 13 + (3 * 2 ** ((whole[10] & 7) + 1) if whole[10] & 0x80 else 0)
    return b"GIF89a" + whole[6:head] + b"".join(parts) + whole[head:] + behind


def extension(label: int, *blocks: bytes) -> bytes:
    """An extension of a GIF."""
    return b"!" + bytes((label,)) + b"".join(bytes((len(b),)) + b for b in blocks) + b"\0"
