// Layers of small integers: clamp(round((W x + b) 2^-shift)), rounding half to even (docs/format.md, "Networks").
//
// Sums are below 2^24 and shifts are powers of two, so that rounding in float32 is exact.
import { copyBytes, scratchAt, word } from "./memory";
import {
  BIASES,
  FREE,
  SCALES,
  SIDE,
  WEIGHTS,
  inputsOf,
  outputsOf,
  product,
  rowBytes,
  storeOutputs,
} from "./products";

const GATE_BITS: i32 = 8;

/**
 * A convolution of every channel by itself, of signed bytes: rows `start` to `end` of the output. Channels: a multiple
 * of eight. Zeros surround the map.
 */
export function channelwise(start: i32, end: i32, x: usize, height: i32, width: i32, layer: usize, out: usize): void {
  const channels = outputsOf(layer);
  const side = word(layer, SIDE);
  const reach = side >> 1;
  const weights = <usize>word(layer, WEIGHTS);
  const biases = <usize>word(layer, BIASES);
  const scales = <usize>word(layer, SCALES);
  for (let row = start; row < end; row++) {
    const top = max(0, reach - row);
    const bottom = min(side, height + reach - row);
    for (let column = 0; column < width; column++) {
      const left = max(0, reach - column);
      const right = min(side, width + reach - column);
      for (let c = 0; c < channels; c += 8) {
        let low = v128.load(biases + (c << 2));
        let high = v128.load(biases + (c << 2), 16);
        for (let i = top; i < bottom; i++) {
          let at = x + ((row + i - reach) * width + column + left - reach) * channels + c;
          let w = weights + (i * side + left) * channels + c;
          for (let j = left; j < right; j++) {
            const product = i16x8.mul(v128.load8x8_s(at), v128.load8x8_s(w));
            low = i32x4.add(low, i32x4.extend_low_i16x8_s(product));
            high = i32x4.add(high, i32x4.extend_high_i16x8_s(product));
            at += channels;
            w += channels;
          }
        }
        storeOutputs(
          out + (row * width + column) * channels + c,
          low,
          high,
          v128.load(scales + (c << 2)),
          v128.load(scales + (c << 2), 16),
          1,
          8,
        );
      }
    }
  }
}

/** clamp(x + y) of signed bytes. */
// @ts-ignore: decorator
@inline
function addSigned(x: usize, y: usize, out: usize, n: i32): void {
  let i = 0;
  for (; i + 16 <= n; i += 16) v128.store(out + i, i8x16.add_sat_s(v128.load(x + i), v128.load(y + i)));
  for (; i < n; i++) store<i8>(out + i, <i8>min(max(<i32>load<i8>(x + i) + <i32>load<i8>(y + i), -128), 127));
}

/** x + y of unsigned and signed bytes, clamped to 0..255, in place. */
export function addToUnsigned(x: usize, y: usize, n: i32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const sum = i16x8.add(v128.load8x8_u(x + i), v128.load8x8_s(y + i));
    v128.store64_lane(x + i, i8x16.narrow_i16x8_u(sum, sum), 0);
  }
  for (; i < n; i++) store<u8>(x + i, <u8>min(max(<i32>load<u8>(x + i) + <i32>load<i8>(y + i), 0), 255));
}

/** Shifts int16 right, rounding half to even. */
// @ts-ignore: decorator
@inline
function shifted(x: v128, shift: i32): v128 {
  const odd = v128.and(i16x8.shr_s(x, shift), i16x8.splat(1));
  const below: i32 = (1 << (shift - 1)) - 1;
  return i16x8.shr_s(i16x8.add(x, i16x8.add(odd, i16x8.splat(<i16>below))), shift);
}

/** x times its hard sigmoid, eight bytes as int16 within -128..127. */
// @ts-ignore: decorator
@inline
function gelu(x: v128): v128 {
  const gate = i16x8.min_s(i16x8.max_s(i16x8.add(i16x8.shl(x, 2), i16x8.splat(128)), i16x8.splat(0)), i16x8.splat(255));
  return shifted(i16x8.mul(x, gate), GATE_BITS);
}

/** x = gelu(x), of n signed bytes; up to 7 behind are written, too. */
function gelus(x: usize, n: i32): void {
  for (let i = 0; i < n; i += 8) {
    const y = gelu(v128.load8x8_s(x + i));
    v128.store64_lane(x + i, i8x16.narrow_i16x8_s(y, y), 0);
  }
}

/** x = clamp(round(gelu(x) value 2^-shift)), of n signed bytes; up to 7 behind are written, too. */
function gates(x: usize, value: usize, n: i32, shift: i32): void {
  for (let i = 0; i < n; i += 8) {
    const p = i16x8.mul(gelu(v128.load8x8_s(x + i)), v128.load8x8_s(value + i));
    const y = shift ? shifted(p, shift) : p;
    v128.store64_lane(x + i, i8x16.narrow_i16x8_s(y, y), 0);
  }
}

const PART: i32 = 64; // sites that are worked on at a time, so that what lies between the layers stays in the cache

// What follows runs on a part of the sites, `start` to `end`; d is a descriptor of words.

/** d: x, layer, out. */
export function runProduct(start: i32, end: i32, d: usize): void {
  const layer = <usize>word(d, 1);
  product(word(d, 0) + start * inputsOf(layer), end - start, layer, word(d, 2) + start * rowBytes(layer));
}

/** d: x, layer, out, height, width; start, end: rows of the map. */
export function runChannelwise(start: i32, end: i32, d: usize): void {
  channelwise(start, end, word(d, 0), word(d, 3), word(d, 4), word(d, 1), word(d, 2));
}

/** x + down(product(gelu(gate(y)), value(y), shift)), in place. d: x, y, gate, value, down, shift. */
export function runGated(start: i32, end: i32, d: usize): void {
  const gate = <usize>word(d, 2);
  const value = <usize>word(d, 3);
  const down = <usize>word(d, 4);
  const width = outputsOf(gate);
  const channels = outputsOf(down);
  const a = scratchAt(FREE);
  const b = a + PART * width + 16;
  const c = b + PART * width + 16;
  for (let at = start; at < end; at += PART) {
    const n = min(PART, end - at);
    const y = <usize>word(d, 1) + at * inputsOf(gate);
    product(y, n, gate, a);
    product(y, n, value, b);
    gates(a, b, n * width, word(d, 5));
    product(a, n, down, c);
    const x = <usize>word(d, 0) + at * channels;
    addSigned(x, c, x, n * channels);
  }
}

/** x + down(gelu(up(x))), in place. d: x, up, down. */
export function runDense(start: i32, end: i32, d: usize): void {
  const up = <usize>word(d, 1);
  const down = <usize>word(d, 2);
  const width = outputsOf(up);
  const channels = outputsOf(down);
  const a = scratchAt(FREE);
  const b = a + PART * width + 16;
  for (let at = start; at < end; at += PART) {
    const n = min(PART, end - at);
    const x = <usize>word(d, 0) + at * channels;
    product(x, n, up, a);
    gelus(a, n * width);
    product(a, n, down, b);
    addSigned(x, b, x, n * channels);
  }
}

/** clamp(x + y) of signed bytes. d: x, y, out, bytes of a site. */
export function runAdd(start: i32, end: i32, d: usize): void {
  const bytes = word(d, 3);
  const from = start * bytes;
  addSigned(word(d, 0) + from, word(d, 1) + from, word(d, 2) + from, (end - start) * bytes);
}

/** Each 2x2 block becomes one site. d: x, out, bytes of a site, width of the output; start, end: rows of the output. */
export function runSpaceToDepth(start: i32, end: i32, d: usize): void {
  const bytes = word(d, 2);
  const width = word(d, 3);
  for (let row = start; row < end; row++) {
    for (let column = 0; column < width; column++) {
      const to = <usize>word(d, 1) + 4 * bytes * (row * width + column);
      const from = <usize>word(d, 0) + bytes * (4 * row * width + 2 * column);
      copyBytes(to, from, 2 * bytes);
      copyBytes(to + 2 * bytes, from + 2 * width * bytes, 2 * bytes);
    }
  }
}

/** The inverse. d: x, out, bytes of a site of the output, width of x; start, end: rows of x. */
export function runDepthToSpace(start: i32, end: i32, d: usize): void {
  const bytes = word(d, 2);
  const width = word(d, 3);
  for (let row = start; row < end; row++) {
    for (let column = 0; column < width; column++) {
      const from = <usize>word(d, 0) + 4 * bytes * (row * width + column);
      const to = <usize>word(d, 1) + bytes * (4 * row * width + 2 * column);
      copyBytes(to, from, 2 * bytes);
      copyBytes(to + 2 * width * bytes, from + 2 * bytes, 2 * bytes);
    }
  }
}
