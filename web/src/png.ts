// PNG of 8 bits a channel, gray or RGB, without alpha. Source: W3C, "Portable Network Graphics Specification".
import { crc32, inflate, joined } from "./bytes.js";
import type { Image } from "./webp.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10];
// of the passes of an interlaced image: first column and row, and steps
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export function isPng(data: Uint8Array): boolean {
  return SIGNATURE.every((byte, k) => data[k] === byte);
}

/** The image in a PNG file. wanted: its size. Throws an Error that says why not. */
export async function readPng(data: Uint8Array, wanted: { width: number; height: number }): Promise<Image> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const parts: Uint8Array[] = [];
  let [channels, interlaced]: [1 | 3, boolean] = [1, false];
  for (let at = SIGNATURE.length; ; ) {
    if (at + 12 > data.length) throw new Error("it ends too early");
    const size = view.getUint32(at);
    const type = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (at + 12 + size > data.length) throw new Error("it ends too early");
    const content = data.subarray(at + 8, at + 8 + size);
    if (view.getUint32(at + 8 + size) !== crc32(data.subarray(at + 4, at + 8 + size))) throw new Error("a checksum is wrong");
    at += 12 + size;
    if (type === "IHDR") {
      const [width, height] = [view.getUint32(at - size - 4), view.getUint32(at - size)];
      if (width !== wanted.width || height !== wanted.height) throw new Error(`it has ${width}x${height} pixels`);
      if (content[8] !== 8 || (content[9] !== 0 && content[9] !== 2)) throw new Error("it is not gray or RGB of 8 bits");
      channels = content[9] === 0 ? 1 : 3;
      interlaced = content[12] === 1;
    } else if (type === "IDAT") {
      parts.push(content);
    } else if (type === "IEND") {
      break;
    }
  }
  const { width, height } = wanted;
  const limit = height * (width * channels + 1) + 8 * height;
  const lines = await inflate(joined(parts), limit);
  if (!lines) throw new Error("it has too many pixels");
  const out = new Uint8Array(width * height * channels);
  let at = 0;
  for (const [x, y, right, down] of interlaced ? PASSES : ([[0, 0, 1, 1]] as const)) {
    const [w, h] = [Math.ceil((width - x) / right), Math.ceil((height - y) / down)];
    if (w <= 0 || h <= 0) continue;
    const rows = unfilter(lines.subarray(at), h, w * channels, channels);
    at += h * (w * channels + 1);
    for (let k = 0; k < w * h; k++) {
      const to = ((y + Math.floor(k / w) * down) * width + x + (k % w) * right) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = rows[k * channels + c]!;
    }
  }
  return { width, height, channels, data: out };
}

/** Rows of so many bytes, each behind the number of its filter. */
function unfilter(lines: Uint8Array, rows: number, bytes: number, channels: number): Uint8Array {
  if (lines.length < rows * (bytes + 1)) throw new Error("it ends too early");
  const out = new Uint8Array(rows * bytes);
  for (let y = 0; y < rows; y++) {
    const kind = lines[y * (bytes + 1)]!;
    if (kind > 4) throw new Error("a filter is unknown");
    for (let k = 0; k < bytes; k++) {
      const at = y * bytes + k;
      const left = k >= channels ? out[at - channels]! : 0;
      const up = y ? out[at - bytes]! : 0;
      const corner = y && k >= channels ? out[at - bytes - channels]! : 0;
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind]!;
      out[at] = lines[y * (bytes + 1) + 1 + k]! + predicted;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
