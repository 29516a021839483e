// From tokens to pixels: everything between the networks (docs/format.md, "From tokens to pixels"). Planes are int32.
import { scratchAt, word } from "./memory";

const LIFT0: i32 = -6497;
const LIFT1: i32 = -217;
const LIFT2: i32 = 3616;
const LIFT3: i32 = 1817;
const LOW_GAIN: i32 = 3099;
const HIGH_GAIN: i32 = 5413;
const HALF: i32 = 2048;
const DETAIL_LIMIT: i32 = 1 << 17;

// @ts-ignore: decorator
@inline
function times(x: v128, factor: i32): v128 {
  return i32x4.shr_s(i32x4.add(i32x4.mul(x, i32x4.splat(factor)), i32x4.splat(HALF)), 12);
}

/** target -= t(factor, a + b), lines of n numbers. */
// @ts-ignore: decorator
@inline
function lift(target: usize, a: usize, b: usize, n: i32, factor: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const k = i << 2;
    const sum = i32x4.add(v128.load(a + k), v128.load(b + k));
    v128.store(target + k, i32x4.sub(v128.load(target + k), times(sum, factor)));
  }
  for (; i < n; i++) {
    const k = i << 2;
    const sum = load<i32>(a + k) + load<i32>(b + k);
    store<i32>(target + k, load<i32>(target + k) - ((sum * factor + HALF) >> 12));
  }
}

/** Undoes the lifting of two lines: low and high halves of n numbers each, in place. */
function unliftLine(low: usize, high: usize, n: i32): void {
  const last = (n - 1) << 2;
  // lines have a number of room before and after them, where their border is repeated
  store<i32>(high - 4, load<i32>(high));
  lift(low, high, high - 4, n, LIFT3);
  store<i32>(low + last + 4, load<i32>(low + last));
  lift(high, low, low + 4, n, LIFT2);
  store<i32>(high - 4, load<i32>(high));
  lift(low, high, high - 4, n, LIFT1);
  store<i32>(low + last + 4, load<i32>(low + last));
  lift(high, low, low + 4, n, LIFT0);
}

/** Undoes the lifting along columns, in place: halves of h lines of n numbers, `pitch` bytes apart. */
function unliftColumns(low: usize, high: usize, h: i32, n: i32, pitch: i32): void {
  for (let y = 0; y < h; y++) lift(low + y * pitch, high + y * pitch, high + max(y - 1, 0) * pitch, n, LIFT3);
  for (let y = 0; y < h; y++) lift(high + y * pitch, low + y * pitch, low + min(y + 1, h - 1) * pitch, n, LIFT2);
  for (let y = 0; y < h; y++) lift(low + y * pitch, high + y * pitch, high + max(y - 1, 0) * pitch, n, LIFT1);
  for (let y = 0; y < h; y++) lift(high + y * pitch, low + y * pitch, low + min(y + 1, h - 1) * pitch, n, LIFT0);
}

/**
 * A level of the inverse wavelet's columns. Of colour c, columns are worked on 16 at a time; start, end: counts of
 * (colour, 16 columns).
 *
 * d: low planes, details (h, w, 9), h, w, rows (3, 2, 2h, w), whether details are sixteenths to be made of whole
 * numbers, without a clamp (1) or with the clamp (0).
 */
export function runColumns(start: i32, end: i32, d: usize): void {
  const low = <usize>word(d, 0);
  const details = <usize>word(d, 1);
  const h = word(d, 2);
  const w = word(d, 3);
  const rows = <usize>word(d, 4);
  const whole = word(d, 5) != 0;
  const room = <usize>word(d, 6); // for each thread its own: 4 h 16 int32, from word 7 on its size
  const parts = (w + 15) >> 4;
  const size = (h << 6);
  for (let part = start; part < end; part++) {
    const colour = part / parts;
    const x = (part - colour * parts) << 4;
    const n = min(16, w - x);
    const smooth = room + <usize>part * <usize>(4 * size);
    const vertical = smooth + size;
    const horizontal = vertical + size;
    const diagonal = horizontal + size;
    for (let y = 0; y < h; y++) {
      const line = y << 6;
      let from = details + ((y * w + x) * 9 + 3 * colour) * 4;
      const lowFrom = low + ((colour * h + y) * w + x) * 4;
      for (let i = 0; i < n; i++) {
        let a = load<i32>(from);
        let b = load<i32>(from, 4);
        let c = load<i32>(from, 8);
        if (whole) {
          a <<= 4;
          b <<= 4;
          c <<= 4;
        } else {
          a = min(max(a, -DETAIL_LIMIT), DETAIL_LIMIT);
          b = min(max(b, -DETAIL_LIMIT), DETAIL_LIMIT);
          c = min(max(c, -DETAIL_LIMIT), DETAIL_LIMIT);
        }
        const k = line + (i << 2);
        store<i32>(horizontal + k, a);
        store<i32>(vertical + k, b);
        store<i32>(diagonal + k, (c * HIGH_GAIN + HALF) >> 12);
        store<i32>(smooth + k, (load<i32>(lowFrom + (i << 2)) * LOW_GAIN + HALF) >> 12);
        from += 36;
      }
    }
    unliftColumns(smooth, vertical, h, n, 64);
    unliftColumns(horizontal, diagonal, h, n, 64);
    const left = rows + (colour * 4 * h * w + x) * 4;
    const right = left + 2 * h * w * 4;
    for (let y = 0; y < h; y++) {
      const line = y << 6;
      const to = 2 * y * w * 4;
      memory.copy(left + to, smooth + line, n << 2);
      memory.copy(left + to + w * 4, vertical + line, n << 2);
      memory.copy(right + to, horizontal + line, n << 2);
      memory.copy(right + to + w * 4, diagonal + line, n << 2);
    }
  }
}

/** Its rows: lines `start` to `end` of all colours. d: rows (3, 2, lines, w), lines, w, out (3, lines, 2w). */
export function runLines(start: i32, end: i32, d: usize): void {
  const rows = <usize>word(d, 0);
  const lines = word(d, 1);
  const w = word(d, 2);
  const out = <usize>word(d, 3);
  const low = scratchAt(64);
  const high = low + (w << 2) + 64;
  for (let line = start; line < end; line++) {
    const colour = line / lines;
    const y = line - colour * lines;
    const from = rows + ((2 * colour * lines + y) * w) * 4;
    memory.copy(low, from, w << 2);
    memory.copy(high, from + lines * w * 4, w << 2);
    unliftLine(low, high, w);
    const to = out + line * w * 8;
    let x = 0;
    for (; x + 4 <= w; x += 4) {
      const a = v128.load(low + (x << 2));
      const b = v128.load(high + (x << 2));
      v128.store(to + (x << 3), i32x4.shuffle(a, b, 0, 4, 1, 5));
      v128.store(to + (x << 3), i32x4.shuffle(a, b, 2, 6, 3, 7), 16);
    }
    for (; x < w; x++) {
      store<i32>(to + (x << 3), load<i32>(low + (x << 2)));
      store<i32>(to + (x << 3), load<i32>(high + (x << 2)), 4);
    }
  }
}

// @ts-ignore: decorator
@inline
function floorDivided(x: i32, n: i32): i32 {
  const q = x / n;
  return q * n > x ? q - 1 : q;
}

/**
 * Planes less their means over 5x5, borders repeated: floor((25 x - sum) / 25). Lines `start` to `end` of all planes.
 * d: planes, height, width, out.
 */
export function runDifference(start: i32, end: i32, d: usize): void {
  const planes = <usize>word(d, 0);
  const h = word(d, 1);
  const w = word(d, 2);
  const out = <usize>word(d, 3);
  const sums = scratchAt(64);
  for (let line = start; line < end; line++) {
    const plane = line / h;
    const y = line - plane * h;
    const first = planes + plane * h * w * 4;
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let k = -2; k <= 2; k++) sum += load<i32>(first + (min(max(y + k, 0), h - 1) * w + x) * 4);
      store<i32>(sums + (x << 2), sum);
    }
    const from = first + y * w * 4;
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let k = -2; k <= 2; k++) sum += load<i32>(sums + (min(max(x + k, 0), w - 1) << 2));
      store<i32>(out + (line * w + x) * 4, floorDivided(25 * load<i32>(from + (x << 2)) - sum, 25));
    }
  }
}

/**
 * Planes of the colour axes to RGBA, lines `start` to `end`. d: planes, their height and width, top, left, height and
 * width of what is shown, out, its width in pixels, bits, whether it is gray.
 */
export function runColours(start: i32, end: i32, d: usize): void {
  const planes = <usize>word(d, 0);
  const height = word(d, 1);
  const width = word(d, 2);
  const top = word(d, 3);
  const left = word(d, 4);
  const shown = word(d, 6);
  const outWidth = word(d, 8);
  const bits = word(d, 9);
  const gray = word(d, 10) != 0;
  const plane = height * width * 4;
  const offset = (128 << bits) + (1 << (bits - 1));
  for (let y = start; y < end; y++) {
    let from = planes + ((top + y) * width + left) * 4;
    let to = <usize>word(d, 7) + y * outWidth * 4;
    for (let x = 0; x < shown; x++) {
      const g = load<i32>(from) * 2365 + offset;
      if (gray) {
        const one = <u32>min(max(g >> bits, 0), 255);
        store<u32>(to, (one * 0x10101) | 0xff000000);
      } else {
        const rb = load<i32>(from + plane) * 2896;
        const gm = load<i32>(from + 2 * plane) * 1672;
        const low = g - gm;
        const r = <u32>min(max((low + rb) >> bits, 0), 255);
        const green = <u32>min(max((low + 3 * gm) >> bits, 0), 255);
        const b = <u32>min(max((low - rb) >> bits, 0), 255);
        store<u32>(to, r | (green << 8) | (b << 16) | 0xff000000);
      }
      from += 4;
      to += 4;
    }
  }
}
