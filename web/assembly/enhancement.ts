// The enhancement of pixels (docs/format.md, "From tokens to pixels", 7). Its maps have a site for 2x2 pixels.
import { addToUnsigned } from "./layers";
import { copyBytes, scratchAt, word } from "./memory";
import { FREE, inputsOf, outputsOf, product, rowBytes } from "./products";

const PART: i32 = 64; // sites that are worked on at a time
const PIXELS: i32 = 12; // of a site: 2x2 of three planes
const FEATURES: i32 = 2 * PIXELS + 1;
const BOX: i32 = 5;
const VALUE_LIMIT: i32 = 8191;

/**
 * A convolution of all channels together, sites `start` to `end` of the output, which is smaller than the map by what
 * the kernel reaches over its border. d: map, its width, bytes of a site, side of the kernel, layer (its rows are
 * neighbourhoods), out, width of the output, whether what it gives is added to the map, whose bytes then have no sign.
 */
export function runConvolve(start: i32, end: i32, d: usize): void {
  const bytes = word(d, 2);
  const pitch = word(d, 1) * bytes;
  const side = word(d, 3);
  const layer = <usize>word(d, 4);
  const width = word(d, 6);
  const adds = word(d, 7) != 0;
  const outputs = outputsOf(layer);
  const line = side * bytes;
  const row = side * line;
  const middle = (side >> 1) * (line + bytes);
  const rows = scratchAt(FREE);
  const change = rows + PART * row + 32;
  for (let at = start; at < end; at += PART) {
    const n = min(PART, end - at);
    let to = rows;
    for (let site = at; site < at + n; site++) {
      const y = site / width;
      let from = <usize>word(d, 0) + y * pitch + (site - y * width) * bytes;
      for (let k = 0; k < side; k++) {
        copyBytes(to, from, line);
        from += pitch;
        to += line;
      }
    }
    const out = <usize>word(d, 5) + at * outputs;
    product(rows, n, layer, adds ? change : out);
    if (adds) {
      for (let k = 0; k < n; k++) copyBytes(out + k * bytes, rows + k * row + middle, bytes);
      addToUnsigned(out, change, n * bytes);
    }
  }
}

// Where a site's quality is: qualities are bytes of the picture's sites of 16x16 pixels, eight a side of these here.
// Beyond the picture its last one counts. Words from k on: qualities, rows, columns, top, left in sites of 2x2 pixels.
// @ts-ignore: decorator
@inline
function qualityAt(d: usize, k: i32, y: i32, x: i32): i32 {
  const row = min(max((word(d, k + 3) + y) >> 3, 0), word(d, k + 1) - 1);
  const column = min(max((word(d, k + 4) + x) >> 3, 0), word(d, k + 2) - 1);
  return <i32>load<u8>(<usize>word(d, k) + row * word(d, k + 2) + column) - 1;
}

// @ts-ignore: decorator
@inline
function clamped(x: v128): v128 {
  return i32x4.max_s(i32x4.min_s(x, i32x4.splat(VALUE_LIMIT)), i32x4.splat(-VALUE_LIMIT));
}

// @ts-ignore: decorator
@inline
function signedByte(x: v128): v128 {
  return i32x4.max_s(i32x4.min_s(x, i32x4.splat(127)), i32x4.splat(-128));
}

/**
 * What the network sees, rows `start` to `end` of sites. d: planes with two pixels around, their height and width, out,
 * factors and limits of contrasts (pairs of int32, by quality), numbers of the qualities, then words for qualityAt.
 */
export function runPixelInputs(start: i32, end: i32, d: usize): void {
  const height = word(d, 1);
  const width = word(d, 2);
  const columns = width - BOX + 1; // pixels of a row of sites
  const sites = columns >> 1;
  const line = (width + 8) << 2;
  const factors = scratchAt(64); // of each pixel
  const limits = factors + line;
  const sums = limits + line;
  const plain = sums + line;
  const contrasts = plain + line;
  for (let y = start; y < end; y++) {
    const row = <usize>word(d, 3) + y * sites * FEATURES;
    for (let x = 0; x < sites; x++) {
      const quality = qualityAt(d, 6, y, x);
      const pair = <usize>word(d, 4) + (quality << 3);
      v128.store64_lane(factors + (x << 3), v128.load32_splat(pair), 0);
      v128.store64_lane(limits + (x << 3), v128.load32_splat(pair, 4), 0);
      store<i8>(row + x * FEATURES + 2 * PIXELS, load<i8>(<usize>word(d, 5) + quality));
    }
    for (let k = 0; k < 6; k++) {
      const i = k / 3;
      const plane = k - 3 * i;
      const from = <usize>word(d, 0) + (plane * height + 2 * y + i) * width * 4;
      for (let x = 0; x < width; x += 4) {
        let sum = i32x4.splat(0);
        for (let box = 0; box < BOX; box++) sum = i32x4.add(sum, clamped(v128.load(from + (box * width + x) * 4)));
        v128.store(sums + (x << 2), sum);
      }
      const inner = from + (2 * width + 2) * 4;
      for (let x = 0; x < columns; x += 4) {
        const at = x << 2;
        const pixel = clamped(v128.load(inner + at));
        v128.store(plain + at, signedByte(i32x4.shr_s(i32x4.add(pixel, i32x4.splat(32)), 6)));
        let contrast = i32x4.mul(pixel, i32x4.splat(BOX * BOX));
        for (let box = 0; box < BOX; box++) contrast = i32x4.sub(contrast, v128.load(sums + at + (box << 2)));
        const limit = v128.load(limits + at);
        contrast = i32x4.max_s(i32x4.min_s(contrast, limit), i32x4.neg(limit));
        contrast = i32x4.add(i32x4.mul(contrast, v128.load(factors + at)), i32x4.splat(1 << 19));
        v128.store(contrasts + at, signedByte(i32x4.shr_s(contrast, 20)));
      }
      for (let x = 0; x < columns; x++) {
        const to = row + (x >> 1) * FEATURES + (2 * i + (x & 1)) * 3 + plane;
        store<i8>(to, load<i8>(plain + (x << 2)));
        store<i8>(to + PIXELS, load<i8>(contrasts + (x << 2)));
      }
    }
  }
}

/**
 * The last layer, and what it gives added to the pixels, rows `start` to `end` of sites. d: map, its width, layer, planes
 * with pixels around, how many, their height and width, out (the first of its lines), height and width of its planes,
 * quantisation steps, then words for qualityAt.
 */
export function runEnhance(start: i32, end: i32, d: usize): void {
  const sites = word(d, 1);
  const layer = <usize>word(d, 2);
  const reach = word(d, 4);
  const width = word(d, 6);
  const plane = word(d, 5) * width;
  const outWidth = word(d, 9);
  const outPlane = word(d, 8) * outWidth;
  const bytes = inputsOf(layer);
  const sums = scratchAt(FREE);
  const each = rowBytes(layer);
  for (let y = start; y < end; y++) {
    for (let first = 0; first < sites; first += PART) {
      const n = min(PART, sites - first);
      product(<usize>word(d, 0) + (y * sites + first) * bytes, n, layer, sums);
      for (let k = 0; k < n; k++) {
        const x = first + k;
        const step = load<i32>(<usize>word(d, 10) + (qualityAt(d, 11, y, x) << 2));
        const limit = (1 << 29) / step;
        for (let i = 0; i < PIXELS; i++) {
          const pixel = i / 3;
          const colour = i - 3 * pixel;
          const row = 2 * y + (pixel >> 1);
          const column = 2 * x + (pixel & 1);
          const sum = load<i32>(sums + k * each + (i << 2));
          const added = (min(max(sum, -limit), limit) * step + 2048) >> 12;
          const from = <usize>word(d, 3) + (colour * plane + (row + reach) * width + column + reach) * 4;
          store<i32>(<usize>word(d, 7) + (colour * outPlane + row * outWidth + column) * 4, load<i32>(from) + added);
        }
      }
    }
  }
}
