"""Images as they are stored: upright, not larger than is sent, in the usual colours, and clean."""

from __future__ import annotations

import io
import itertools
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.attachments import check_attachments
from core.errors import BadAttachment
from core.image_clean import (
    MAX_IMAGE_PIXELS,
    MAX_SENT_BYTES,
    MAX_WEBP_PIXELS,
    SENT_SIDE,
    CleanImage,
    clean_image,
)
from core.messages import Attachment
from tests.core.image_kit import (
    CANARY,
    chunk,
    exif,
    foreign_profile,
    jpeg_with,
    marked,
    pixels,
    png_with,
    riff,
    saved,
    segment,
    srgb_profile,
    webp_with,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def cleaned(data: bytes, media_type: str = "image/png") -> CleanImage:
    """What becomes of a file; to clean it twice is to clean it once, and it is taken again."""
    clean = clean_image("a", media_type, data)
    assert clean_image("a", media_type, data) == clean
    assert clean_image("a", clean.media_type, clean.data) == clean
    (again,) = check_attachments([Attachment(name="a", media_type="x", data=clean.data)])
    assert (again.media_type, again.data) == (clean.media_type, clean.data)
    return clean


def opened(clean: CleanImage) -> Image.Image:
    """The picture as a viewer reads it, which says the format that we say."""
    image = Image.open(io.BytesIO(clean.data))
    assert clean.media_type == f"image/{str(image.format).lower()}"
    image.load()
    return image


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """The colours near the four corners, by rows, as the nearest of those we paint."""
    wide, high = image.size
    near = []
    for x, y in ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)):
        colour = image.convert("RGB").getpixel((int(wide * x), int(high * y)))
        assert isinstance(colour, tuple)
        near.append(
            min(
                (RED, GREEN, BLUE, WHITE),
                key=lambda one: sum(abs(a - b) for a, b in zip(one, colour, strict=True)),
            )
        )
    return near


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A picture that no encoder makes small."""
    depth = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(1).randbytes(size[0] * size[1] * depth))


TURNED = {
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_stored_upright(turn: int) -> None:
    """What a viewer turns by its EXIF data is turned; the data goes, with the place in it."""
    data = exif(turn, ">")
    files = {
        "image/jpeg": jpeg_with(segment(0xE1, b"Exif\0\0" + data)),
        "image/png": png_with(chunk(b"eXIf", data)),
        "image/webp": webp_with(riff(b"EXIF", data)),
    }
    for media_type, file in files.items():
        clean = cleaned(file, media_type)
        assert CANARY not in clean.data
        assert clean.media_type == media_type
        image = opened(clean)
        assert image.size == ((48, 32) if turn < 5 else (32, 48))
        assert corners(image) == TURNED[turn]
        assert not image.getexif()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("side", [SENT_SIDE, SENT_SIDE + 1])
def test_a_picture_is_scaled_from_the_limit_on(kind: str, side: int) -> None:
    """At the limit no pixel changes, above it the longer side has exactly the limit."""
    size = (side, 40)
    data = saved(marked(size, "P" if kind == "GIF" else "RGB"), kind)
    clean = cleaned(data, f"image/{kind.lower()}")
    image = opened(clean)
    assert image.size == (SENT_SIDE, 40 if side == SENT_SIDE else 39)
    assert corners(image) == TURNED[1]
    if side == SENT_SIDE:
        assert pixels(clean.data) == pixels(data)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(2, 8000), st.integers(2, 60)),
    tall=st.booleans(),
    made=st.sampled_from(
        [
            *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
            *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
            *(("WEBP", mode) for mode in ("RGB", "RGBA")),
            *(("GIF", mode) for mode in ("L", "P")),
        ]
    ),
    turn=st.integers(1, 8),
)
def test_any_shape_and_mode_can_be_sent(
    *, size: tuple[int, int], tall: bool, made: tuple[str, str], turn: int
) -> None:
    """The longer side is at most the limit, the other keeps the proportion and has a pixel."""
    wide, high = size[::-1] if tall else size
    kind, mode = made
    image = Image.new(mode, (wide, high), 9) if mode == "I;16" else marked((wide, high), mode)
    data = saved(image, kind, **({} if kind == "GIF" else {"exif": exif(turn)}))
    result = opened(cleaned(data, f"image/{kind.lower()}"))
    longer, shorter = sorted((wide, high), reverse=True)
    assert max(result.size) == min(longer, SENT_SIDE)
    assert min(result.size) == max(1, shorter * min(longer, SENT_SIDE) // longer)
    assert result.mode != "CMYK"


def test_a_large_picture_is_scaled_evenly() -> None:
    """In bands and in steps: no seam, no row twice, whatever does not divide."""
    grey = Image.linear_gradient("L").resize((300, 7993)).convert("RGB")
    image = opened(cleaned(saved(grey, "PNG")))
    assert image.size == (75, SENT_SIDE)
    column = [image.getpixel((30, row)) for row in range(SENT_SIDE)]
    levels = [pixel[0] for pixel in column if isinstance(pixel, tuple)]
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert len(levels) == SENT_SIDE
    assert min(steps) >= 0
    assert max(steps) <= 1
    assert (levels[0], levels[-1]) == (0, 255)


def test_transparency_survives_scaling() -> None:
    """And what is transparent lends no colour to its neighbours."""
    image = Image.new("RGBA", (4001, 40), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 2003, 40))
    small = opened(cleaned(saved(image, "PNG"))).convert("RGBA")
    assert small.getpixel((10, 5)) == (0, 0, 255, 255)
    last = small.getpixel((SENT_SIDE - 10, 5))
    assert isinstance(last, tuple)
    assert last[3] == 0
    edge = small.getpixel((1001, 5))
    assert isinstance(edge, tuple)
    assert edge[0] < 10 or edge[3] == 0


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_survives_scaling(mode: str) -> None:
    """Of a PNG that names one colour as the transparent one."""
    image = marked((4000, 20), mode)
    colour = image.getpixel((5, 5))
    assert colour is not None
    small = opened(cleaned(saved(image, "PNG", transparency=colour)))
    first = small.getpixel((5, 2))
    assert isinstance(first, tuple)
    assert first[3] == 0


def test_sixteen_bits_become_eight() -> None:
    """A scaled picture of 16 bits keeps its greys."""
    small = opened(cleaned(saved(Image.new("I;16", (4000, 10), 32_768), "PNG")))
    assert small.getpixel((5, 2)) == 128


def test_an_image_is_small_enough_to_be_sent() -> None:
    """One that has few pixels and many bytes is encoded anew, with transparency as WebP."""
    opaque, clear = noise((1200, 1100)), noise((1000, 990), "RGBA")
    for image, expected in ((opaque, "image/jpeg"), (clear, "image/webp")):
        data = saved(image, "PNG", compress_level=1)
        assert len(data) > MAX_SENT_BYTES
        clean = clean_image("a", "image/png", data)
        assert clean_image("a", clean.media_type, clean.data) == clean
        assert clean.media_type == expected
        assert opened(clean).size == image.size
        assert len(clean.data) * 4 / 3 < 5 * 1024 * 1024


def test_the_name_follows_the_format() -> None:
    """A large GIF is sent as a PNG, and a client sees a name that says so."""
    data = saved(marked((3000, 20), "P"), "GIF")
    (checked,) = check_attachments([Attachment(name="a.gif", media_type="x", data=data)])
    assert (checked.name, checked.media_type) == ("a.gif.png", "image/png")


def test_colours_of_another_space_become_the_usual_ones() -> None:
    """Without its profile a picture would be shown in wrong colours; sRGB needs none."""
    foreign, usual = foreign_profile(), srgb_profile()

    def files(profile: bytes) -> dict[str, bytes]:
        pieces = segment(0xE2, b"ICC_PROFILE\0\1\1" + profile)
        return {
            "image/jpeg": jpeg_with(pieces, image=marked((64, 64))),
            "image/png": png_with(chunk(b"iCCP", b"n\0\0" + zlib.compress(profile))),
            "image/webp": webp_with(riff(b"ICCP", profile), flags=0x20),
        }

    for media_type, data in files(foreign).items():
        red, green, *_ = (
            opened(cleaned(data, media_type)).convert("RGB").getpixel(place)
            for place in ((5, 5), (40, 5))
        )
        assert isinstance(red, tuple)
        assert isinstance(green, tuple)
        assert red[0] < 60
        assert red[1] > 200
        assert green[0] > green[1]
    for profile in (usual, b"no profile", usual[:200]):
        for media_type, data in files(profile).items():
            assert pixels(cleaned(data, media_type).data)[2] == pixels(data)[2]


def test_print_colours_become_those_of_a_screen() -> None:
    """A CMYK JPEG is no format that every model reads."""
    image = opened(cleaned(saved(marked(mode="CMYK"), "JPEG"), "image/jpeg"))
    assert image.mode == "RGB"
    assert corners(image) == TURNED[1]


def test_the_largest_image_is_taken() -> None:
    """Its pixels are just as many as are taken, and one row more is refused."""
    wide, high = 8000, MAX_IMAGE_PIXELS // 8000
    assert opened(cleaned(saved(Image.new("1", (wide, high)), "PNG"))).size == (SENT_SIDE, 1250)
    with pytest.raises(BadAttachment, match=r"^a has 8000 x 5001 pixels"):
        clean_image("a", "image/png", saved(Image.new("1", (wide, high + 1)), "PNG"))


def test_a_webp_may_have_fewer_pixels() -> None:
    """Its decoder takes several times the memory; the sentence says the smaller number."""
    wide, high = 6400, MAX_WEBP_PIXELS // 6400
    for rows, taken in ((high, True), (high + 1, False)):
        data = saved(Image.new("RGB", (wide, rows)), "WEBP", lossless=True, method=0, quality=0)
        if taken:
            assert opened(clean_image("a", "image/webp", data)).size == (SENT_SIDE, 781)
        else:
            with pytest.raises(BadAttachment, match="and 16 million in all are taken"):
                clean_image("a", "image/webp", data)
