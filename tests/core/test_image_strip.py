"""What is not picture is gone, and the picture stays as it was."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.image_exif import orientation
from core.image_strip import MAX_PROFILE_BYTES, Malformed, Stripped, strip
from tests.core.image_kit import (
    CANARY,
    chunk,
    exif,
    extension,
    gif_with,
    jpeg_with,
    marked,
    pixels,
    png_with,
    riff,
    saved,
    segment,
    srgb_profile,
    webp_with,
    xmp,
)

SPOILED = {
    "jpeg exif": ("image/jpeg", jpeg_with(segment(0xE1, b"Exif\0\0" + exif()))),
    "jpeg xmp": ("image/jpeg", jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()))),
    "jpeg iptc": ("image/jpeg", jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM" + CANARY))),
    "jpeg comment": ("image/jpeg", jpeg_with(segment(0xFE, CANARY))),
    "jpeg preview": ("image/jpeg", jpeg_with(segment(0xE0, b"JFXX\0\x10" + CANARY))),
    "jpeg depth": ("image/jpeg", jpeg_with(segment(0xEB, CANARY), segment(0xEF, CANARY))),
    "jpeg behind": ("image/jpeg", jpeg_with(behind=CANARY + jpeg_with(segment(0xFE, CANARY)))),
    "png exif": ("image/png", png_with(chunk(b"eXIf", exif()))),
    "png text": ("image/png", png_with(chunk(b"tEXt", b"Comment\0" + CANARY))),
    "png itxt": ("image/png", png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp()))),
    "png time": (
        "image/png",
        png_with(chunk(b"tIME", b"\x07\xe8\1\1\0\0\0"), chunk(b"prVt", CANARY)),
    ),
    "png behind": ("image/png", png_with(behind=CANARY)),
    "webp exif": ("image/webp", webp_with(riff(b"EXIF", exif()))),
    "webp xmp": ("image/webp", webp_with(riff(b"XMP ", xmp()), riff(b"NOTE", CANARY))),
    "webp behind": ("image/webp", webp_with() + CANARY),
    "gif comment": ("image/gif", gif_with(extension(0xFE, CANARY))),
    "gif xmp": ("image/gif", gif_with(extension(0xFF, b"XMP DataXMP", CANARY), b"\0")),
    "gif text": ("image/gif", gif_with(extension(0x01, bytes(12), CANARY))),
    "gif behind": ("image/gif", gif_with(behind=CANARY)),
}


@pytest.mark.parametrize("name", SPOILED)
def test_nothing_but_the_picture_is_left(name: str) -> None:
    """Place and comments are gone, every pixel is as it was, and once is enough."""
    media_type, data = SPOILED[name]
    assert CANARY in data
    stripped = strip(media_type, data).data
    assert CANARY not in stripped
    assert CANARY[:4] not in stripped
    assert pixels(stripped) == pixels(data)
    assert strip(media_type, stripped) == Stripped(data=stripped)


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.builds(
            segment,
            st.sampled_from([0xE0, 0xE1, 0xE2, 0xE3, 0xED, 0xEE, 0xFE]),
            st.binary(max_size=40).map(lambda junk: b"Note\0" + junk + CANARY),
        ),
        max_size=4,
    ),
    progressive=st.booleans(),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    restarts=st.integers(0, 2),
)
def test_any_jpeg_keeps_its_pixels(
    parts: list[bytes], *, progressive: bool, mode: str, restarts: int
) -> None:
    """Whatever its colours, its scans and its restarts, and whatever lies between them."""
    plain = saved(
        marked(mode=mode), "JPEG", progressive=progressive, restart_marker_blocks=restarts
    )
    data = plain[:2] + b"".join(parts) + plain[2:]
    stripped = strip("image/jpeg", data).data
    assert CANARY not in stripped
    assert pixels(stripped) == pixels(plain)
    assert strip("image/jpeg", stripped).data == stripped


def test_bytes_between_the_segments_of_a_jpeg_go_too() -> None:
    """A decoder skips them; so does whoever copies what a decoder reads."""
    junk = jpeg_with(b"\0" + CANARY, b"\xff\xd0" + CANARY, b"\xff\xff\xff")
    assert strip("image/jpeg", junk).data == strip("image/jpeg", jpeg_with()).data


def test_segments_between_scans_go_too() -> None:
    """A progressive JPEG has pieces between its scans, and so may have comments."""
    plain = saved(marked(), "JPEG", progressive=True)
    last = plain.rfind(b"\xff\xda")
    data = plain[:last] + segment(0xFE, CANARY) + plain[last:]
    assert strip("image/jpeg", data).data == strip("image/jpeg", plain).data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_any_png_keeps_its_pixels(mode: str) -> None:
    """Palettes, transparency and 16 bits are picture."""
    image = Image.new("I;16", (8, 8), 40_000) if mode == "I;16" else marked(mode=mode)
    options = {"transparency": 0} if mode in ("P", "L") else {}
    plain = saved(image, "PNG", **options)
    stripped = strip("image/png", plain[:33] + chunk(b"tEXt", b"a\0" + CANARY) + plain[33:]).data
    assert stripped == strip("image/png", plain).data
    assert pixels(stripped) == pixels(plain)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_any_webp_keeps_its_pixels(mode: str, *, lossless: bool) -> None:
    """Transparency of a lossy picture is a chunk of its own, which stays."""
    image = marked(mode=mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    plain = saved(image, "WEBP", lossless=lossless, exif=exif(), xmp=xmp())
    stripped = strip("image/webp", plain).data
    assert CANARY in plain
    assert CANARY not in stripped
    assert pixels(stripped) == pixels(plain)
    assert strip("image/webp", stripped).data == stripped


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_kept(kind: str) -> None:
    """A still image is left, with the pixels of the first frame."""
    first, second = marked(mode="RGBA"), marked(mode="RGBA").rotate(90)
    plain = saved(first, kind, save_all=True, append_images=[second], duration=70)
    stripped = strip(f"image/{kind.lower()}", plain).data
    assert pixels(stripped)[1:] == pixels(plain)[1:]
    with Image.open(io.BytesIO(stripped)) as image:
        assert getattr(image, "n_frames", 1) == 1
    assert strip(f"image/{kind.lower()}", stripped).data == stripped


def test_the_transparent_colour_of_a_gif_stays() -> None:
    """Its control block is picture; its delay is not."""
    image = marked(mode="RGBA")
    image.putalpha(marked(mode="L").point(lambda value: 255 if value > 100 else 0))
    plain = saved(image, "GIF", duration=70, comment=CANARY)
    stripped = strip("image/gif", plain).data
    with Image.open(io.BytesIO(stripped)) as still:
        assert "transparency" in still.info
        assert still.info["duration"] == 0
    assert pixels(stripped) == pixels(plain)
    assert pixels(stripped)[2].count(b"\0") > 0


@pytest.mark.parametrize("name", SPOILED)
@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 0.999), junk=st.binary(max_size=6), cut=st.booleans())
def test_whatever_comes_there_is_an_answer(
    name: str, place: float, junk: bytes, *, cut: bool
) -> None:
    """A broken file is stripped, and then stays as it is, or is called malformed."""
    media_type, data = SPOILED[name]
    at = int(place * len(data))
    data = data[:at] + junk + (b"" if cut else data[at + len(junk) :])
    try:
        stripped = strip(media_type, data).data
    except Malformed:
        return
    assert strip(media_type, stripped).data == stripped


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_read_from_every_format(turn: int, order: str) -> None:
    """It is the one thing of the metadata that changes how the picture looks."""
    data = exif(turn, order)
    files = {
        "image/jpeg": jpeg_with(segment(0xE1, b"Exif\0\0" + data)),
        "image/png": png_with(chunk(b"eXIf", data)),
        "image/webp": webp_with(riff(b"EXIF", data)),
    }
    assert {strip(kind, file).orientation for kind, file in files.items()} == {turn}


@given(st.binary(max_size=60))
def test_orientation_of_junk_is_upright_or_real(junk: bytes) -> None:
    """Nothing in the metadata is a reason to refuse a picture."""
    assert 1 <= orientation(b"Exif\0\0II*\0\x08\0\0\0" + junk) <= 8
    assert orientation(junk) == 1 or junk[:4] in (b"II*\0", b"MM\0*")


@pytest.mark.parametrize("turn", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(turn: int) -> None:
    """Eight are defined."""
    assert orientation(exif(turn)) == 1


def test_the_colour_profile_is_handed_out() -> None:
    """It is no part of the stripped file; a JPEG has it in pieces, in any order."""
    profile = srgb_profile()
    half = len(profile) // 2
    pieces = [
        segment(0xE2, b"ICC_PROFILE\0\x02\x02" + profile[half:]),
        segment(0xE2, b"ICC_PROFILE\0\x01\x02" + profile[:half]),
    ]
    assert strip("image/jpeg", jpeg_with(*pieces)).profile == profile
    packed = chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))
    assert strip("image/png", png_with(packed)).profile == profile
    assert strip("image/webp", webp_with(riff(b"ICCP", profile))).profile == profile


def test_a_profile_that_is_a_bomb_is_dropped() -> None:
    """It is unpacked up to its limit only; one that is damaged is dropped too."""
    bomb = zlib.compress(bytes(MAX_PROFILE_BYTES * 50))
    for packed in (bomb, b"nothing", b""):
        assert not strip("image/png", png_with(chunk(b"iCCP", b"n\0\0" + packed))).profile


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/jpeg", b"\xff\xd8\xff\xd8\xff\xd9"),
        ("image/jpeg", b"\xff\xd8\xff\xe1\0\0\xff\xd9"),
        ("image/png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31) + b"IDAT"),
        ("image/webp", b"RIFF\x04\0\0\0WEBP"),
        ("image/webp", riff(b"RIFF", b"WEBP" + riff(b"ALPH", b"a") + riff(b"VP8 ", bytes(12)))),
        ("image/gif", b"GIF89a"),
        ("image/gif", b"GIF89a" + bytes(7) + b";"),
    ],
)
def test_what_has_no_picture_is_malformed(media_type: str, data: bytes) -> None:
    """There is nothing to take out."""
    with pytest.raises(Malformed):
        strip(media_type, data)
