// Lossless WebP: what alpha channels and lossless tiles are stored as. Source: RFC 9649, section 3. The platform's own
// decoder would do for browsers that give pixels as they are; some change them, against fingerprinting.

import { BitReader, type Code, readCode } from "./prefix_code.js";

/** An image that is read. channels: 1 for gray, 3 for RGB. */
export interface Image {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}

const [PREDICTOR, CROSS, GREEN] = [0, 1, 2];
const [LITERALS, LENGTHS, DISTANCES] = [256, 24, 40];
// (right, down) of the nearest distances, two digits each: 8 - right in hexadecimal, down
const NEAR =
  "18 07 17 19 28 06 27 29 16 1a 26 2a 38 05 37 39 15 1b 36 3a 25 2b 48 04 47 49 14 1c 35 3b 46 4a 24 2c 58 45 4b 34 " +
  "3c 03 57 59 13 1d 56 5a 23 2d 44 4c 55 5b 33 3d 68 02 67 69 12 1e 66 6a 22 2e 54 5c 43 4d 65 6b 32 3e 78 01 77 79 " +
  "53 5d 11 1f 64 6c 42 4e 76 7a 21 2f 75 7b 31 3f 63 6d 52 5e 00 74 7c 41 4f 10 20 62 6e 30 73 7d 51 5f 40 72 7e 61 " +
  "6f 50 71 7f 60 70";
const NEAREST = NEAR.split(" ").map((pair) => parseInt(pair, 16));

function readPrefixed(bits: BitReader, symbol: number): number {
  if (symbol < 4) return symbol + 1;
  const extra = (symbol - 2) >> 1;
  return (2 + (symbol & 1)) * 2 ** extra + bits.read(extra) + 1;
}

/** Pixels as ARGB. isMain: whether parts of the image may have codes of their own. */
function readPixels(bits: BitReader, width: number, height: number, isMain: boolean): Uint32Array {
  const cacheBits = bits.read(1) ? bits.read(4) : 0;
  if (cacheBits > 11) throw new Error("a colour cache is too large");
  let [meta, metaBits, metaWidth]: [Uint32Array | null, number, number] = [null, 0, 0];
  let groupCount = 1;
  if (isMain && bits.read(1)) {
    metaBits = bits.read(3) + 2;
    metaWidth = Math.ceil(width / 2 ** metaBits);
    meta = readPixels(bits, metaWidth, Math.ceil(height / 2 ** metaBits), false).map((pixel) => (pixel >>> 8) & 0xffff);
    groupCount = meta.reduce((most, group) => Math.max(most, group), 0) + 1;
  }
  const cache = cacheBits ? new Uint32Array(1 << cacheBits) : null;
  const sizes = [LITERALS! + LENGTHS! + (cache?.length ?? 0), 256, 256, 256, DISTANCES!];
  const used = meta && new Set(meta);
  const groups: Code[][] = [];
  for (let k = 0; k < groupCount; k++) {
    const group = sizes.map((size) => readCode(bits, size));
    groups.push(!used || used.has(k) ? group : []);
  }
  const pixels = new Uint32Array(width * height);
  let cached = 0;
  for (let at = 0; at < pixels.length; ) {
    const [y, x] = [Math.floor(at / width), at % width];
    const group = groups[meta ? meta[(y >> metaBits) * metaWidth + (x >> metaBits)]! : 0]!;
    const symbol = group[0]!.read(bits);
    if (symbol < LITERALS!) {
      const red = group[1]!.read(bits);
      const blue = group[2]!.read(bits);
      pixels[at++] = ((group[3]!.read(bits) << 24) | (red << 16) | (symbol << 8) | blue) >>> 0;
    } else if (symbol < LITERALS! + LENGTHS!) {
      const length = readPrefixed(bits, symbol - LITERALS!);
      const code = readPrefixed(bits, group[4]!.read(bits));
      const near = NEAREST[code - 1];
      const distance = near === undefined ? code - NEAREST.length : Math.max(1, (near >> 4) * width + 8 - (near & 15));
      if (distance > at || at + length > pixels.length) throw new Error("a repetition is damaged");
      for (const end = at + length; at < end; at++) pixels[at] = pixels[at - distance]!;
    } else {
      if (cache) for (; cached < at; cached++) cache[hashOf(pixels[cached]!, cacheBits)] = pixels[cached]!;
      pixels[at++] = cache![symbol - LITERALS! - LENGTHS!]!;
    }
  }
  return pixels;
}

function hashOf(pixel: number, bits: number): number {
  return Math.imul(pixel, 0x1e35a7bd) >>> (32 - bits);
}

type Transform = (pixels: Uint32Array) => Uint32Array;

/** Adds the channels of two pixels, each by itself. */
function sum(a: number, b: number): number {
  return (((a & 0xff00ff00) + (b & 0xff00ff00)) & 0xff00ff00 | ((a & 0xff00ff) + (b & 0xff00ff)) & 0xff00ff) >>> 0;
}

function average(a: number, b: number): number {
  return ((((a ^ b) & 0xfefefefe) >>> 1) + (a & b)) >>> 0;
}

function each(work: (shift: number) => number): number {
  return (work(0) | (work(8) << 8) | (work(16) << 16) | (work(24) << 24)) >>> 0;
}

const clamp = (x: number) => (x < 0 ? 0 : x > 255 ? 255 : x);

function select(left: number, top: number, corner: number): number {
  let [toLeft, toTop] = [0, 0];
  for (let shift = 0; shift < 32; shift += 8) {
    const [l, t, c] = [left, top, corner].map((pixel) => (pixel >>> shift) & 255) as [number, number, number];
    toLeft += Math.abs(t - c);
    toTop += Math.abs(l - c);
  }
  return toLeft < toTop ? left : top;
}

function predict(mode: number, left: number, corner: number, top: number, right: number): number {
  switch (mode) {
    case 1:
      return left;
    case 2:
      return top;
    case 3:
      return right;
    case 4:
      return corner;
    case 5:
      return average(average(left, right), top);
    case 6:
      return average(left, corner);
    case 7:
      return average(left, top);
    case 8:
      return average(corner, top);
    case 9:
      return average(top, right);
    case 10:
      return average(average(left, corner), average(top, right));
    case 11:
      return select(left, top, corner);
    case 12:
      return each((s) => clamp(((left >>> s) & 255) + ((top >>> s) & 255) - ((corner >>> s) & 255)));
    case 13: {
      const middle = average(left, top);
      return each((s) => {
        const own = (middle >>> s) & 255;
        return clamp(own + Math.trunc((own - ((corner >>> s) & 255)) / 2));
      });
    }
    default:
      return 0xff000000;
  }
}

function unpredict(width: number, modes: Uint32Array, bits: number): Transform {
  const columns = Math.ceil(width / 2 ** bits);
  return (pixels) => {
    for (let at = 0; at < pixels.length; at++) {
      const [y, x] = [Math.floor(at / width), at % width];
      const predicted = !at
        ? 0xff000000
        : !y
          ? pixels[at - 1]!
          : !x
            ? pixels[at - width]!
            : predict(
                (modes[(y >> bits) * columns + (x >> bits)]! >>> 8) & 15,
                pixels[at - 1]!,
                pixels[at - width - 1]!,
                pixels[at - width]!,
                pixels[at - width + 1]!,
              );
      pixels[at] = sum(pixels[at]!, predicted);
    }
    return pixels;
  };
}

function uncross(width: number, factors: Uint32Array, bits: number): Transform {
  const columns = Math.ceil(width / 2 ** bits);
  const delta = (factor: number, colour: number) => (((factor << 24) >> 24) * ((colour << 24) >> 24)) >> 5;
  return (pixels) =>
    pixels.map((pixel, at) => {
      const factor = factors[(Math.floor(at / width) >> bits) * columns + ((at % width) >> bits)]!;
      const green = (pixel >>> 8) & 255;
      const red = (((pixel >>> 16) & 255) + delta(factor & 255, green)) & 255;
      const blue = ((pixel & 255) + delta((factor >>> 8) & 255, green) + delta((factor >>> 16) & 255, red)) & 255;
      return ((pixel & 0xff00ff00) | (red << 16) | blue) >>> 0;
    });
}

function addGreen(pixels: Uint32Array): Uint32Array {
  return pixels.map((pixel) => {
    const green = (pixel >>> 8) & 255;
    return ((pixel & 0xff00ff00) | (((pixel & 0xff00ff) + green * 0x10001) & 0xff00ff)) >>> 0;
  });
}

function unindex(width: number, height: number, palette: Uint32Array, bits: number): Transform {
  const packed = Math.ceil(width / 2 ** bits);
  const each = 8 >> bits; // bits of an index
  return (pixels) =>
    Uint32Array.from({ length: width * height }, (_, at) => {
      const [y, x] = [Math.floor(at / width), at % width];
      const byte = (pixels[y * packed + (x >> bits)]! >>> 8) & 255;
      const index = (byte >> (each * (x & ((1 << bits) - 1)))) & ((1 << each) - 1);
      return palette[index] ?? 0;
    });
}

function decode(data: Uint8Array): Image {
  const bits = new BitReader(data);
  if (bits.read(8) !== 0x2f) throw new Error("it is no lossless WebP");
  const width = bits.read(14) + 1;
  const height = bits.read(14) + 1;
  if (bits.read(1)) throw new Error("it has an alpha channel");
  if (bits.read(3)) throw new Error("it is of an unknown version");
  const transforms: Transform[] = [];
  const seen = new Set<number>();
  let coded = width; // pixels of a row as they are coded
  while (bits.read(1)) {
    const kind = bits.read(2);
    if (seen.has(kind)) throw new Error("a transform comes twice");
    seen.add(kind);
    if (kind === PREDICTOR || kind === CROSS) {
      const size = bits.read(3) + 2;
      const blocks = readPixels(bits, Math.ceil(coded / 2 ** size), Math.ceil(height / 2 ** size), false);
      transforms.push(kind === PREDICTOR ? unpredict(coded, blocks, size) : uncross(coded, blocks, size));
    } else if (kind === GREEN) {
      transforms.push(addGreen);
    } else {
      const count = bits.read(8) + 1;
      const palette = readPixels(bits, count, 1, false);
      for (let k = 1; k < count; k++) palette[k] = sum(palette[k]!, palette[k - 1]!);
      const size = count <= 2 ? 3 : count <= 4 ? 2 : count <= 16 ? 1 : 0;
      transforms.push(unindex(coded, height, palette, size));
      coded = Math.ceil(coded / 2 ** size);
    }
  }
  let pixels = readPixels(bits, coded, height, true);
  for (const transform of transforms.reverse()) pixels = transform(pixels);
  const out = new Uint8Array(3 * pixels.length);
  pixels.forEach((pixel, k) => {
    out[3 * k] = pixel >>> 16;
    out[3 * k + 1] = pixel >>> 8;
    out[3 * k + 2] = pixel;
  });
  return { width, height, channels: 3, data: out };
}

export function isWebp(data: Uint8Array): boolean {
  const text = String.fromCharCode(...data.subarray(0, 12));
  return text.startsWith("RIFF") && text.endsWith("WEBP");
}

/** The image in a WebP file. wanted: its size, checked before anything is allocated. Throws an Error that says why not. */
export function readWebp(data: Uint8Array, wanted: { width: number; height: number }): Image {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 12; at + 8 <= data.length; ) {
    const type = String.fromCharCode(...data.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    if (at + 8 + size > data.length) throw new Error("it ends too early");
    if (type === "VP8L") {
      if (size < 5) throw new Error("it ends too early");
      const stated = view.getUint32(at + 9, true);
      const [width, height] = [(stated & 0x3fff) + 1, ((stated >>> 14) & 0x3fff) + 1];
      if (width !== wanted.width || height !== wanted.height) throw new Error(`it has ${width}x${height} pixels`);
      return decode(data.subarray(at + 8, at + 8 + size));
    }
    if (type === "VP8 ") throw new Error("it is not lossless");
    at += 8 + size + (size & 1);
  }
  throw new Error("it holds no image");
}
