// What a file is, by its bytes, and photos made fit to be sent.

const LARGE_BYTES = 4 * 1024 * 1024;
const LARGE_SIDE = 4_000;
/** IT0 sends no longer side to a model, so nothing more is lost here. */
const SENT_SIDE = 2_000;
const QUALITY = 0.87;
const HEAD_BYTES = 4_096;
/** Control characters that texts and logs hold, as the server judges it. */
const IN_TEXTS = new Set([7, 8, 9, 10, 11, 12, 13, 26, 27]);

const MAGIC = [
  ["image/png", /^\x89PNG\r\n\x1a\n/],
  ["image/jpeg", /^\xff\xd8\xff/],
  ["image/gif", /^GIF8[79]a/],
  ["image/webp", /^RIFF[^]{4}WEBP/],
  ["application/pdf", /^(?:\xef\xbb\xbf)?\s*%PDF-\d\.\d/],
];
/** Pictures that IT0 does not take, and some browsers can convert: HEIC, AVIF, TIFF, BMP. */
const FOREIGN_PICTURE = /^[^]{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs])|^II\*\0|^MM\0\*|^BM[^]{4}\0{4}/;
const ARCHIVE = /^PK\x03\x04|^\x1f\x8b|^BZh|^\xfd7zXZ|^\(\xb5\/\xfd|^7z\xbc\xaf|^Rar!|^\xd0\xcf\x11\xe0/;

/** What the bytes are: a media type that IT0 takes, or "picture", "archive" or "" for what it does not. */
export async function kindOf(blob) {
  const bytes = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const head = Array.from(bytes.subarray(0, 64), (byte) => String.fromCharCode(byte)).join("");
  const known = MAGIC.find(([, magic]) => magic.test(head));
  if (known) return known[0];
  if (FOREIGN_PICTURE.test(head)) return "picture";
  if (isText(bytes)) return "text/plain";
  return ARCHIVE.test(head) ? "archive" : "";
}

/** UTF-16 has zeros, as its mark or their number tells; other texts have no such control characters. */
function isText(bytes) {
  const mark = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (mark) return true;
  const zeros = bytes.filter((byte) => byte === 0).length;
  if (zeros * 2.5 > bytes.length) return bytes.every((byte) => byte === 0 || byte > 31 || IN_TEXTS.has(byte));
  return bytes.every((byte) => byte > 31 || IN_TEXTS.has(byte));
}

/** The image as it is sent: {blob, smaller}. A small one of a type that is taken stays byte for byte.
 * Raises whatever the browser says of an image that it cannot decode. */
export async function fitted(blob, type) {
  const picture = await createImageBitmap(blob);
  try {
    const side = Math.max(picture.width, picture.height);
    if (type !== "picture" && blob.size <= LARGE_BYTES && side <= LARGE_SIDE) return { blob, smaller: false };
    const scale = Math.min(1, SENT_SIDE / side);
    return { blob: await drawn(picture, picture.width * scale, picture.height * scale), smaller: true };
  } finally {
    picture.close();
  }
}

/** A picture or a frame of a video as JPEG of that size, in pixels. */
export function drawn(picture, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // JPEG has no transparency; black would hide dark drawings
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((made) => (made ? resolve(made) : reject(new Error("The canvas gives no picture."))), "image/jpeg", QUALITY);
  });
}
