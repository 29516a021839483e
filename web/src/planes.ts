// Alpha, and lossless files: pixels that are stored as images. They are halved as Pillow's `reduce` does it.
import { type Contents, PIXELS, keyOf } from "./container.js";
import { FormatError } from "./errors.js";
import { halfToEven } from "./filling.js";
import { type Region, reducedRegion } from "./geometry.js";
import { gridOf } from "./header.js";
import type { Pixels } from "./lossy.js";
import { isPng, readPng } from "./png.js";
import { type Image, isWebp, readWebp } from "./webp.js";

const MISSING = 128; // gray, in place of tiles that were not received

async function read(data: Uint8Array, size: { width: number; height: number }, what: string): Promise<Image> {
  try {
    if (isPng(data)) return await readPng(data, size);
    if (isWebp(data)) return readWebp(data, size);
    throw new Error("it is neither PNG nor WebP");
  } catch (error) {
    throw new FormatError(`${what} damaged (${(error as Error).message})`);
  }
}

/** Means of boxes of 2^reduce pixels, rounded; those at the end may be smaller. */
export function boxMeans({ width, height, channels, data }: Image, reduce: number): Image {
  if (!reduce) return { width, height, channels, data };
  const side = 1 << reduce;
  const [w, h] = [Math.ceil(width / side), Math.ceil(height / side)];
  const out = new Uint8Array(w * h * channels);
  for (let y = 0; y < h; y++) {
    const bottom = Math.min((y + 1) * side, height);
    for (let x = 0; x < w; x++) {
      const right = Math.min((x + 1) * side, width);
      const count = (bottom - y * side) * (right - x * side);
      const factor = Math.floor(2 ** 24 / count); // as Pillow divides
      for (let c = 0; c < channels; c++) {
        let sum = count >> 1;
        for (let i = y * side; i < bottom; i++) {
          for (let j = x * side; j < right; j++) sum += data[(i * width + j) * channels + c]!;
        }
        out[(y * w + x) * channels + c] = Math.floor((sum * factor) / 2 ** 24);
      }
    }
  }
  return { width: w, height: h, channels, data: out };
}

/** Averages of colours weighted by alpha, (width, height) of one tile; plain ones where nothing is seen. In float32. */
function weightedMeans(image: Image, alpha: Uint8Array, reduce: number): Image {
  const side = 1 << reduce;
  const { width, height, channels, data } = image;
  const [w, h] = [Math.ceil(width / side), Math.ceil(height / side)];
  const out = new Uint8Array(w * h * channels);
  for (let at = 0; at < w * h; at++) {
    const [top, left] = [Math.floor(at / w) * side, (at % w) * side];
    const [bottom, right] = [Math.min(top + side, height), Math.min(left + side, width)];
    const count = (bottom - top) * (right - left);
    for (let c = 0; c < channels; c++) {
      let [plain, weighted, total] = [0, 0, 0]; // below 2^24: exact in float32
      for (let i = top; i < bottom; i++) {
        for (let j = left; j < right; j++) {
          const [value, weight] = [data[(i * width + j) * channels + c]!, alpha[i * width + j]!];
          plain += value;
          weighted += value * weight;
          total += weight;
        }
      }
      out[at * channels + c] = halfToEven(Math.fround(total ? weighted / total : plain / count));
    }
  }
  return { width: w, height: h, channels, data: out };
}

/** The whole alpha plane of a file, or null. */
async function alphaOf({ header, metadata }: Contents): Promise<Image | null> {
  const data = metadata.get("ALPH");
  if (!data) return null;
  const image = await read(data, header, "the alpha channel is");
  if (isPng(data) !== (image.channels === 1)) throw new FormatError("the alpha channel is damaged (it is not gray)");
  if (image.channels === 1) return image;
  const plane = Uint8Array.from({ length: header.width * header.height }, (_, k) => image.data[3 * k + 1]!);
  return { ...image, channels: 1, data: plane };
}

/** Puts a file's alpha into pixels of a region that was halved. */
export async function addAlpha(contents: Contents, pixels: Pixels, region: Region, reduce: number): Promise<void> {
  const whole = await alphaOf(contents);
  if (!whole) return;
  const alpha = boxMeans(whole, reduce);
  const shown = reducedRegion(region, reduce);
  for (let y = 0; y < shown.height; y++) {
    for (let x = 0; x < shown.width; x++) {
      pixels.data[4 * (y * shown.width + x) + 3] = alpha.data[(shown.y + y) * alpha.width + shown.x + x]!;
    }
  }
}

/** The pixels of a lossless file's region, without alpha; tiles that are not there are gray. */
export async function losslessPixels(contents: Contents, region: Region, reduce: number): Promise<Pixels> {
  const { header, payloads } = contents;
  const grid = gridOf(header);
  const shown = reducedRegion(region, reduce);
  const data = new Uint8ClampedArray(4 * shown.width * shown.height).fill(MISSING);
  for (let k = 3; k < data.length; k += 4) data[k] = 255;
  const alpha = reduce ? await alphaOf(contents) : null;
  for (let tile = 0; tile < grid.count; tile++) {
    const payload = payloads.get(keyOf(PIXELS, tile));
    if (!payload) continue;
    const place = grid.place(tile);
    const image = await read(payload, place, "a tile's pixels are");
    const part = alpha ? weightedMeans(image, cut(alpha, place), reduce) : boxMeans(image, reduce);
    const to = reducedRegion(place, reduce);
    paste(part, to.x - shown.x, to.y - shown.y, data, shown);
  }
  return { data, width: shown.width, height: shown.height };
}

function cut(plane: Image, { x, y, width, height }: Region): Uint8Array {
  const out = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    const from = (y + row) * plane.width + x;
    out.set(plane.data.subarray(from, from + width), row * width);
  }
  return out;
}

function paste(part: Image, x: number, y: number, data: Uint8ClampedArray, shown: Region): void {
  for (let row = Math.max(0, -y); row < Math.min(part.height, shown.height - y); row++) {
    for (let column = Math.max(0, -x); column < Math.min(part.width, shown.width - x); column++) {
      const from = (row * part.width + column) * part.channels;
      const to = 4 * ((y + row) * shown.width + x + column);
      for (let c = 0; c < 3; c++) data[to + c] = part.data[part.channels === 1 ? from : from + c]!;
    }
  }
}
