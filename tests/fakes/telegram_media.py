"""What files and places look like in a message of the Bot API."""

from __future__ import annotations

from tests.fakes.telegram_errors import Json
from tests.fakes.telegram_hub import Hub

_EDGES = ((90, 67), (320, 240), (800, 600))


def photo(hub: Hub, data: bytes, size: int | None = None) -> Json:
    """Three sizes of one picture, smallest first; only the largest has all the bytes."""
    sizes: list[Json] = []
    for width, height in _EDGES:
        largest = (width, height) == _EDGES[-1]
        share = data if largest else data[: max(1, len(data) * width // 1600)]
        shape = hub.store("photos/x.jpg", share, size if largest else None)
        sizes.append(shape | {"width": width, "height": height})
    return {"photo": sizes}


def document(hub: Hub, name: str, data: bytes, media_type: str, size: int | None = None) -> Json:
    """A file with a name."""
    shape: Json = {"file_name": name, "mime_type": media_type}
    return {"document": shape | hub.store(f"documents/{name}", data, size)}


def voice(hub: Hub, data: bytes, duration: int) -> Json:
    """A voice note."""
    shape: Json = {"duration": duration, "mime_type": "audio/ogg"}
    return {"voice": shape | hub.store("voice/x.oga", data)}


def location(latitude: float, longitude: float) -> Json:
    """A place."""
    return {"location": {"latitude": latitude, "longitude": longitude}}


def sticker(hub: Hub, emoji: str) -> Json:
    """A sticker."""
    shape: Json = {
        "width": 512,
        "height": 512,
        "emoji": emoji,
        "set_name": "Animals",
        "is_animated": False,
        "is_video": False,
        "type": "regular",
    }
    return {"sticker": shape | hub.store("stickers/x.webp", b"RIFF")}
