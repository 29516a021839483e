// Layers of small integers: clamp(round((W x + b) 2^-shift)), rounding half to even (docs/format.md, "Networks").
//
// Sums are below 2^24 and shifts are powers of two, so that rounding in float32 is exact.
import { copyBytes, scratchAt, word } from "./memory";

// The words of a layer's descriptor. Weights of a product are packed as [outputs / 8][inputs / 2][8][2], padded with
// zeros; those of a convolution of every channel by itself as [place][channel].
const INPUTS: i32 = 0;
const OUTPUTS: i32 = 1;
const WEIGHTS: i32 = 2; // address, int8
const BIASES: i32 = 3; // address, int32
const SCALES: i32 = 4; // address, float32: 2^-shift
const SIGNED_INPUT: i32 = 5;
const OUTPUT_KIND: i32 = 6; // 0 unsigned bytes, 1 signed bytes, 2 sums
const SIDE: i32 = 7; // of the kernel

export const SUMS: i32 = 2;
const GATE_BITS: i32 = 8;

// The thread's scratch memory: four rows of int16, a row of outputs that are not stored as they are, maps of a few rows
const WIDE_ROWS: i32 = 0;
const WIDE_ROW: i32 = 1 << 14;
const LAST_OUTPUTS: i32 = 4 * WIDE_ROW;
export const FREE: i32 = LAST_OUTPUTS + 256;

// @ts-ignore: decorator
@inline
export function inputsOf(layer: usize): i32 {
  return word(layer, INPUTS);
}

// @ts-ignore: decorator
@inline
export function outputsOf(layer: usize): i32 {
  return word(layer, OUTPUTS);
}

/** Bytes of a row of outputs: sums are padded to multiples of eight. */
// @ts-ignore: decorator
@inline
export function rowBytes(layer: usize): i32 {
  const outputs = outputsOf(layer);
  return word(layer, OUTPUT_KIND) == SUMS ? ((outputs + 7) & ~7) << 2 : outputs;
}

// @ts-ignore: decorator
@inline
function rounded(sum: v128, scale: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(f32x4.convert_i32x4_s(sum), scale)));
}

// @ts-ignore: decorator
@inline
function asBytes(low: v128, high: v128, signed: bool): v128 {
  const both = i16x8.narrow_i32x4_s(low, high);
  return signed ? i8x16.narrow_i16x8_s(both, both) : i8x16.narrow_i16x8_u(both, both);
}

/** A row of bytes to int16; up to 15 of what follows it are taken along. */
// @ts-ignore: decorator
@inline
function widen(to: usize, from: usize, n: i32, signed: bool): void {
  for (let i = 0; i < n; i += 8) {
    v128.store(to + (i << 1), signed ? v128.load8x8_s(from + i) : v128.load8x8_u(from + i));
  }
}

// @ts-ignore: decorator
@inline
function storeOutputs(to: usize, low: v128, high: v128, scaleLow: v128, scaleHigh: v128, kind: i32, valid: i32): void {
  const a = rounded(low, scaleLow);
  const b = rounded(high, scaleHigh);
  if (kind == SUMS) {
    v128.store(to, a);
    v128.store(to, b, 16);
  } else {
    const bytes = asBytes(a, b, kind == 1);
    if (valid >= 8) {
      v128.store64_lane(to, bytes, 0);
    } else {
      const last = scratchAt(LAST_OUTPUTS);
      v128.store(last, bytes);
      copyBytes(to, last, valid);
    }
  }
}

/** A matrix product of `rows` rows of bytes, one after another. */
export function product(x: usize, rows: i32, layer: usize, out: usize): void {
  const inputs = inputsOf(layer);
  const outputs = outputsOf(layer);
  const kind = word(layer, OUTPUT_KIND);
  const signed = word(layer, SIGNED_INPUT) != 0;
  const pairs = (inputs + 1) >> 1;
  const stride = rowBytes(layer);
  const shift = kind == SUMS ? 2 : 0;
  const biases = <usize>word(layer, BIASES);
  const scales = <usize>word(layer, SCALES);
  const x0 = scratchAt(WIDE_ROWS);
  const x1 = x0 + WIDE_ROW;
  const x2 = x1 + WIDE_ROW;
  const x3 = x2 + WIDE_ROW;
  for (let row = 0; row < rows; row += 4) {
    const last = rows - 1;
    widen(x0, x + row * inputs, inputs, signed);
    widen(x1, x + min(row + 1, last) * inputs, inputs, signed);
    widen(x2, x + min(row + 2, last) * inputs, inputs, signed);
    widen(x3, x + min(row + 3, last) * inputs, inputs, signed);
    let w = <usize>word(layer, WEIGHTS);
    for (let o = 0; o < outputs; o += 8) {
      const biasLow = v128.load(biases + (o << 2));
      const biasHigh = v128.load(biases + (o << 2), 16);
      let a0 = biasLow;
      let b0 = biasHigh;
      let a1 = biasLow;
      let b1 = biasHigh;
      let a2 = biasLow;
      let b2 = biasHigh;
      let a3 = biasLow;
      let b3 = biasHigh;
      const end = pairs << 2;
      for (let k = 0; k < end; k += 4) {
        const low = v128.load8x8_s(w);
        const high = v128.load8x8_s(w, 8);
        w += 16;
        let v = v128.load32_splat(x0 + k);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(low, v));
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(high, v));
        v = v128.load32_splat(x1 + k);
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(low, v));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(high, v));
        v = v128.load32_splat(x2 + k);
        a2 = i32x4.add(a2, i32x4.dot_i16x8_s(low, v));
        b2 = i32x4.add(b2, i32x4.dot_i16x8_s(high, v));
        v = v128.load32_splat(x3 + k);
        a3 = i32x4.add(a3, i32x4.dot_i16x8_s(low, v));
        b3 = i32x4.add(b3, i32x4.dot_i16x8_s(high, v));
      }
      const scaleLow = v128.load(scales + (o << 2));
      const scaleHigh = v128.load(scales + (o << 2), 16);
      const valid = outputs - o;
      let to = out + row * stride + (o << shift);
      storeOutputs(to, a0, b0, scaleLow, scaleHigh, kind, valid);
      if (row + 1 < rows) storeOutputs(to + stride, a1, b1, scaleLow, scaleHigh, kind, valid);
      if (row + 2 < rows) storeOutputs(to + 2 * stride, a2, b2, scaleLow, scaleHigh, kind, valid);
      if (row + 3 < rows) storeOutputs(to + 3 * stride, a3, b3, scaleLow, scaleHigh, kind, valid);
    }
  }
}

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
