"""Makes an image fit to be stored and sent: decodable, upright, small enough, and only picture.

The metadata goes before a decoder sees the file, and what is decoded is what is stored. The
pixels stay exact unless the image is too large, lies on its side or has colours of its own;
then it is encoded anew. The same bytes always give the same bytes, because files are stored
by their content, and a clean image is left as it is. At most some 250 MB and seconds.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BadAttachment
from core.image_exif import UPRIGHT
from core.image_strip import Malformed, strip
from core.image_work import is_laborious
from core.words import Sentence, sentence

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageCms import ImageCmsProfile
    from PIL.ImageFile import ImageFile

    from core.image_strip import Stripped

MAX_IMAGE_SIDE = 8000
"""Pixels; what the model provider takes."""
MAX_IMAGE_PIXELS = 40_000_000
MAX_WEBP_PIXELS = 16_000_000
"""Its decoder holds the picture four times: 250 MB; 40 million would take 600."""

SENT_SIDE = 2000
"""Pixels of the longer side as it is sent. A request with more than 20 images, which a long
conversation becomes, is refused if one has more (platform.claude.com, Vision, General limits).
A full HD screenshot is left as it is. Models that look at 1568 pixels scale it themselves."""
MAX_SENT_BYTES = 5 * 1024 * 1024 * 3 // 4
"""The provider takes 5,242,880 bytes of base64 for an image; it answers 400 to more."""
_ENCODED_BYTES = 2 * 1024 * 1024
"""What we encode is kept below: it is sent again with every turn of its conversation."""

_QUALITIES = (90, 80, 65, 45, 25)
_BAND = 64
"""Rows of the result that are scaled at once, so that a large image is in memory only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanImage:
    """An image as it is stored and sent."""

    media_type: str
    data: bytes


def clean_image(name: str, media_type: str, data: bytes) -> CleanImage:
    """Decode the whole image, after its make and its dimensions were found to be reasonable.

    Raises ``BadAttachment`` with one sentence that begins with the ``name``.
    """
    from PIL import Image  # noqa: PLC0415  # heavy: only when there is an image

    if is_laborious(data):
        raise BadAttachment(
            sentence("{name} is an unusually made image; save it again as a plain one.", name=name)
        )
    try:
        stripped = strip(media_type, data)
        with _open(stripped.data) as image:
            _check_size(name, image)
            image.verify()
        with _open(stripped.data) as image:
            return _finished(image, media_type, stripped)
    except BadAttachment:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise BadAttachment(_too_many_pixels(name)) from error
    except Exception as error:  # a decoder of hostile data may raise anything
        message = sentence("{name} is a damaged or incomplete image; send it again.", name=name)
        raise BadAttachment(message) from error


def _open(data: bytes) -> ImageFile:
    from PIL import Image  # noqa: PLC0415  # heavy: only when there is an image

    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP"))


def _check_size(name: str, image: ImageFile) -> None:
    width, height = image.size
    most = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_IMAGE_PIXELS
    if max(width, height) > MAX_IMAGE_SIDE or width * height > most:
        size = sentence("{width} x {height} pixels", width=width, height=height)
        raise BadAttachment(_too_many_pixels(name, size, most))


def _too_many_pixels(
    name: str, size: Sentence | None = None, most: int = MAX_IMAGE_PIXELS
) -> Sentence:
    return sentence(
        "{name} has {size}; at most {side} on a side and {most} million in all are taken. Make it "
        "smaller.",
        name=name,
        size=size or sentence("too many pixels"),
        side=MAX_IMAGE_SIDE,
        most=most // 1_000_000,
    )


def _finished(image: ImageFile, media_type: str, stripped: Stripped) -> CleanImage:
    profile = _foreign_profile(stripped.profile, image.mode)
    if (
        max(image.size) <= SENT_SIDE
        and len(stripped.data) <= MAX_SENT_BYTES
        and stripped.orientation == UPRIGHT
        and image.mode != "CMYK"
        and profile is None
    ):
        image.load()
        return CleanImage(media_type=media_type, data=stripped.data)
    picture = _turned(_in_srgb(_scaled(image), profile), stripped.orientation)
    return _encoded(picture, media_type)


def _scaled(image: ImageFile) -> Picture:
    """The picture in a plain mode, with no side above ``SENT_SIDE``."""
    from PIL import Image  # noqa: PLC0415  # heavy: only when there is an image

    longer = max(image.size)
    width, height = (
        max(1, side * SENT_SIDE // longer) if longer > SENT_SIDE else side for side in image.size
    )
    if image.format == "JPEG":
        image.draft(None, (width, height))  # decoded at a fraction of its size, not below this
    image.load()
    factor = max(1, max(image.size) // SENT_SIDE)
    mode = _plain(image.crop((0, 0, 1, 1))).mode
    small = Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    for row in range(0, small.height, _BAND):
        bottom = min(image.height, (row + _BAND) * factor)
        band = _plain(image.crop((0, row * factor, image.width, bottom)))
        small.paste(band.reduce(factor), (0, row))
    return small.resize((width, height), Image.Resampling.LANCZOS)


def _plain(band: Picture) -> Picture:
    """In a mode that can be scaled and encoded: L, RGB, RGBA or CMYK."""
    if band.mode.startswith("I"):
        return band.convert("I").point(lambda value: value / 256).convert("L")
    if band.mode in ("LA", "PA", "RGBA") or "transparency" in band.info:
        plain = band.convert("RGBA")
    elif band.mode in ("L", "1"):
        plain = band.convert("L")
    else:
        plain = band if band.mode == "CMYK" else band.convert("RGB")
    plain.info.clear()
    return plain


def _foreign_profile(profile: bytes, mode: str) -> ImageCmsProfile | None:
    """The colour profile, if there is one for such pixels and it is not sRGB.

    Grey is shown as it is, and a profile that cannot be read is no reason to refuse a picture.
    """
    if not profile or mode in ("L", "LA", "1") or mode.startswith("I"):
        return None
    from PIL import ImageCms  # noqa: PLC0415  # heavy: only for such an image

    try:
        read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        description = ImageCms.getProfileDescription(read)
    except (OSError, ImageCms.PyCMSError):
        return None
    space = "CMYK" if mode == "CMYK" else "RGB"
    matches = read.profile.xcolor_space.strip() == space
    return read if matches and "srgb" not in description.lower() else None


def _in_srgb(picture: Picture, profile: ImageCmsProfile | None) -> Picture:
    if profile is not None and picture.mode != "L":
        from PIL import ImageCms  # noqa: PLC0415  # heavy: only for such an image

        mode = "RGB" if picture.mode == "CMYK" else picture.mode
        try:
            converted = ImageCms.profileToProfile(
                picture, profile, ImageCms.createProfile("sRGB"), outputMode=mode
            )
        except ImageCms.PyCMSError:
            converted = None
        if converted is not None:
            converted.info.clear()
            return converted
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _turned(picture: Picture, orientation: int) -> Picture:
    """Upright: EXIF says how the camera was held (Exif 2.32, 4.6.4, tag Orientation)."""
    from PIL.Image import Transpose  # noqa: PLC0415  # heavy: only when there is an image

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _encoded(picture: Picture, media_type: str) -> CleanImage:
    """In the format it came in if that is small enough; a GIF becomes a PNG."""
    if media_type in ("image/png", "image/gif"):
        data = _saved(picture, "PNG")
        if len(data) <= _ENCODED_BYTES:
            return CleanImage(media_type="image/png", data=data)
    lossy = "WEBP" if media_type == "image/webp" or picture.mode == "RGBA" else "JPEG"
    for quality in _QUALITIES:
        data = _saved(picture, lossy, quality)
        if len(data) <= _ENCODED_BYTES:
            return CleanImage(media_type=f"image/{lossy.lower()}", data=data)
    raise Malformed


def _saved(picture: Picture, kind: str, quality: int = 0) -> bytes:
    out = io.BytesIO()
    if kind == "PNG":
        picture.save(out, kind)
    else:
        picture.save(out, kind, quality=quality)
    return strip(f"image/{kind.lower()}", out.getvalue()).data
