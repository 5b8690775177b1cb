"""Files are what their content says, whole, and inside the limits; else one sentence."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.attachments import check_attachments, check_in_background
from core.errors import BadAttachment
from core.image_work import is_laborious
from core.messages import Attachment

PDF = (
    b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\nxref\n0 1\n"
    b"trailer\n<< /Root 1 0 R >>\nstartxref\n50\n%%EOF\n"
)


def attach(data: bytes, name: str = "file.bin", claimed: str = "text/plain") -> Attachment:
    """One file as a client sends it."""
    return Attachment(name=name, media_type=claimed, data=data)


def picture(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """A real image with content that compresses badly."""
    image = Image.effect_noise(size, 90).convert("RGB")
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def animation(frames: int = 4) -> bytes:
    """An animated gif."""
    images = [Image.effect_noise((40, 30), 60 + number).convert("P") for number in range(frames)]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:])
    return out.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a giant picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def refusal(data: bytes, name: str = "file.bin") -> str:
    """The sentence that refuses this file."""
    with pytest.raises(BadAttachment) as caught:
        check_attachments([attach(data, name)])
    return caught.value.sentence


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_an_image_is_recognised_by_its_content(kind: str) -> None:
    """The claimed type does not matter, and the bytes are kept as they are."""
    data = picture(kind)
    (checked,) = check_attachments([attach(data, f"a.{kind}", "application/x-msdownload")])
    assert checked == Attachment(name=f"a.{kind}", media_type=f"image/{kind}", data=data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_image_is_refused(kind: str, share: float) -> None:
    """An image that breaks off is found here, not by the model provider."""
    data = picture(kind)
    sentence = refusal(data[: int(len(data) * share)], f"shot.{kind}")
    assert sentence == f"shot.{kind} is a damaged or incomplete image; send it again."


def test_a_png_with_a_flipped_bit_is_refused() -> None:
    """Checksums are checked, not only the header."""
    data = bytearray(picture("png"))
    data[len(data) // 2] ^= 0x10
    assert "damaged" in refusal(bytes(data))


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 0.999), value=st.integers(0, 255))
def test_a_broken_image_never_raises_anything_else(kind: str, place: float, value: int) -> None:
    """Whatever byte is wrong, the answer is the file or one sentence."""
    data = bytearray(picture(kind, (20, 20)))
    data[int(place * len(data))] = value
    try:
        outcome = check_attachments([attach(bytes(data), "x.png")])[0].name
    except BadAttachment as error:
        outcome = error.sentence
    assert outcome.startswith("x.png")


def test_an_animation_must_have_a_whole_first_frame() -> None:
    """It becomes a still image, and one that breaks off in its first frame is refused."""
    data = animation()
    assert check_attachments([attach(data)])[0].media_type == "image/gif"
    assert "damaged" in refusal(data[: int(len(data) * 0.2)])


def tiny_frames(count: int) -> bytes:
    """A gif of so many whole frames of one pixel, and then a broken one."""
    head = b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    place = b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0"
    return head + (place + b"\x02\x02\x44\x01\0") * count + place + b"\x02\x02\x44"


def test_only_the_first_frame_is_kept() -> None:
    """The frames behind it cost nothing, whole or broken, many or few."""
    one, many, endless = (tiny_frames(count) for count in (1, 5000, 300_000))
    first, *others = (check_attachments([attach(data)])[0].data for data in (one, many, endless))
    assert others == [first, first]
    assert first == one[: len(first) - 1] + b";"


def test_a_gif_of_countless_blocks_is_refused_undecoded() -> None:
    """Nothing makes anybody walk through millions of pieces of a byte."""
    assert "damaged" in refusal(animation()[:13] + b"!\xfe" + b"\1a" * 300_000)


def progressive(more_scans: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive jpeg whose last scan is repeated."""
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    return whole[:-2] + whole[whole.rfind(b"\xff\xda") : -2] * more_scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("more_scans", "size"), [(2000, (64, 48)), (40, (7900, 5000))], ids=["scans", "pixels"]
)
def test_a_jpeg_of_many_scans_is_refused_undecoded(more_scans: int, size: tuple[int, int]) -> None:
    """Each scan goes over all pixels: a small file could cost minutes."""
    sentence = refusal(progressive(more_scans, size), "a.jpg")
    assert sentence == "a.jpg is an unusually made image; save it again as a plain one."


def test_scans_are_found_where_libjpeg_finds_them() -> None:
    """Fill bytes and odd markers hide none; a preview or a film behind the image is none."""
    ordinary = progressive()
    preview = ordinary[:2] + b"\xff\xe1\x01\x92" + b"\xff\xda" * 200 + ordinary[2:]
    for harmless in (ordinary, preview, ordinary + b"\xff\xda\0\x02" * 200):
        assert not is_laborious(harmless)
    for hidden in (b"\xff\xff\xff\xda\0\x02" * 200, b"\xff\x02\x7f\xff" + b"\xff\xda\0\x02" * 200):
        assert is_laborious(b"\xff\xd8" + hidden)


def test_a_run_of_fill_bytes_is_gone_through_once() -> None:
    """Megabytes of them before what is no marker once took hours."""
    assert not is_laborious(b"\xff\xd8" + b"\xff" * 4_000_000 + b"\0")
    assert "damaged" in refusal(progressive()[:-2] + b"\xff" * 4_000_000 + b"\xd0\0")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\x09Exif\0\0a" * 900_000,
        huge_png(10, 10)[:33] + b"\0\0\0\0prVt\x04\x89\xfe\xae" * 800_000,
    ],
    ids=["jpeg", "png"],
)
def test_an_image_of_countless_pieces_is_refused_undecoded(data: bytes) -> None:
    """Each piece is handled by itself: a million of them cost seconds and more."""
    assert "unusually made" in refusal(data)


async def test_files_are_checked_in_the_background() -> None:
    """The same answer and the same refusal, from a thread that holds nobody up."""
    files = [attach(picture("png"), "a.png")]
    assert await check_in_background(files) == check_attachments(files)
    with pytest.raises(BadAttachment, match="is empty"):
        await check_in_background([attach(b"")])


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 10_000), (7000, 7000), (9000, 10)])
def test_huge_dimensions_are_refused_before_decoding(size: tuple[int, int]) -> None:
    """A decompression bomb costs nothing and gets one sentence."""
    sentence = refusal(huge_png(*size), "bomb.png")
    assert sentence.startswith("bomb.png has ")
    assert "Make it smaller" in sentence


@pytest.mark.parametrize("junk", [b"PK\x03\x04zip", b"%PDF-1.7", b"<script>alert(1)</script>"])
def test_a_polyglot_is_what_it_begins_with(junk: bytes) -> None:
    """An image with something behind its end is an image, under an image's name."""
    (checked,) = check_attachments([attach(picture("png") + junk, "page.html", "text/html")])
    assert (checked.name, checked.media_type) == ("page.html.png", "image/png")


def test_a_script_behind_a_gif_header_is_refused() -> None:
    """The first bytes alone do not make an image."""
    assert "damaged" in refusal(b"GIF89a=1;alert('x');//" + b" " * 40, "x.gif")


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "b")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"MZ\x90\x00\x03" + bytes(200) + b"%PDF-1.7", "a Windows program"),
        (b"\x7fELF\x02\x01\x01" + bytes(50), "a Linux program"),
        (_zip(), "a zip archive or an Office document"),
        (zlib.compress(b"x" * 99) + b"\x01\x02", "not a type of file"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "HEIC"),
        (b"\x00\x01\x02\x03", "not a type of file"),
    ],
)
def test_other_types_are_refused_whatever_their_name(data: bytes, words: str) -> None:
    """A renamed program is a program; the sentence says what is accepted."""
    sentence = refusal(data, "holiday.png")
    assert sentence.startswith("holiday.png is ")
    assert words in sentence
    assert "png, jpeg, gif and webp images, PDF and text" in sentence


def test_a_pdf_must_be_whole_and_open() -> None:
    """Header, end and protection are checked."""
    (checked,) = check_attachments([attach(PDF, "report.pdf")])
    assert checked == attach(PDF, "report.pdf", "application/pdf")
    assert refusal(PDF[:60], "r.pdf") == "r.pdf is an incomplete PDF; send it again."
    locked = PDF.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 9 0 R")
    assert refusal(locked, "r.pdf") == "r.pdf is a protected PDF; save it without a password."


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]
)
def test_text_becomes_utf8(encoding: str) -> None:
    """Text in the usual encodings is read, whatever it claims to be."""
    (checked,) = check_attachments(
        [attach("Größe: 5 MB\r\n".encode(encoding), "a.log", "image/png")]
    )
    assert checked == attach("Größe: 5 MB\n".encode(), "a.log", "text/plain")


def test_colours_of_a_log_are_dropped() -> None:
    """Terminal escape sequences are no text."""
    log = b"\x1b[31mERROR\x1b[0m disk \x1b]0;title\x07full\n"
    assert check_attachments([attach(log)])[0].data == b"ERROR disk full\n"


def test_nothing_in_a_file_is_refused() -> None:
    """An empty file and one of blank space are said to be so."""
    assert refusal(b"", "a.txt") == "a.txt is empty."
    assert refusal(b" \n\t", "a.txt") == "a.txt holds nothing but blank space."


def test_too_many_and_too_much_are_refused() -> None:
    """Five files and 10 MB are the limit; the file that breaks it is named."""
    files = [attach(b"x", f"{number}.txt") for number in range(6)]
    assert len(check_attachments(files[:5])) == 5
    with pytest.raises(BadAttachment, match=r"^5\.txt is one file too many.*at most 5 files"):
        check_attachments(files)
    half = b"x" * (5 * 1024 * 1024)
    assert len(check_attachments([attach(half), attach(half)])) == 2
    with pytest.raises(BadAttachment, match=r"^c\.txt is too much: .* 15\.0 MB, and at most 10 MB"):
        check_attachments([attach(half, "a.txt"), attach(half, "b.txt"), attach(half, "c.txt")])
    assert refusal(half * 3, "a.txt").startswith("a.txt is too large (15.0 MB)")


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\notes.txt", "notes.txt"),
        ("a\x1b[31m\x00\nb.txt", "a[31m b.txt"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("...", "file-1"),
        ("", "file-1"),
        ("\ud800.txt", "\ufffd.txt"),
    ],
)
def test_a_name_is_only_a_name(name: str, cleaned: str) -> None:
    """No path, no control characters, no tricks with the direction of writing."""
    assert check_attachments([attach(b"text", name)])[0].name == cleaned


def test_a_long_name_keeps_its_suffix() -> None:
    """A name has at most 100 characters."""
    name = check_attachments([attach(b"text", "x" * 500 + ".log")])[0].name
    assert len(name) == 100
    assert name.endswith("….log")
