// Matrix products of bytes, in two ways that give the same sums (docs/format.md, "Networks").
//
// With relaxed SIMD, four products of bytes are summed at a time. It is exact where the second factor has seven bits: so
// weights are stored with an offset that makes them 0 to 127, and inputs without sign are taken less 128; what that adds
// to the sums is taken off again. Without it, bytes are widened to 16 bits, of which two products are summed at a time.
import { copyBytes, scratchAt, word } from "./memory";

// The words of a layer's descriptor. Weights of a product are packed as [outputs / 8][inputs / 2][8][2], or with relaxed
// SIMD as [outputs / 8][inputs / 4][8][4]; those of a convolution of every channel by itself as [place][channel].
const INPUTS: i32 = 0;
const OUTPUTS: i32 = 1;
export const WEIGHTS: i32 = 2; // address, int8
export const BIASES: i32 = 3; // address, int32
export const SCALES: i32 = 4; // address, float32: 2^-shift
const SIGNED_INPUT: i32 = 5;
const OUTPUT_KIND: i32 = 6; // 0 unsigned bytes, 1 signed bytes, 2 sums
export const SIDE: i32 = 7; // of the kernel
const OFFSETS: i32 = 8; // address, int32: what the outputs' weights are stored with; with relaxed SIMD alone
const REPEATED: i32 = 9; // how many inputs come again behind the others, for weights of 64 and -64 in one row
const PLACES: i32 = 10; // address, int32: which ones

const SUMS: i32 = 2;

// The thread's scratch memory: four rows of inputs, outputs that are not stored as they are, maps of a few rows
const ROW: i32 = 1 << 14;
const LAST_OUTPUTS: i32 = 4 * ROW;
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

/** Whether weights have to be packed for relaxed SIMD. */
export function isRelaxed(): bool {
  return ASC_FEATURE_RELAXED_SIMD;
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

/** Rounds, clamps and stores eight outputs, or as many as are valid. */
// @ts-ignore: decorator
@inline
export function storeOutputs(
  to: usize,
  low: v128,
  high: v128,
  scaleLow: v128,
  scaleHigh: v128,
  kind: i32,
  valid: i32,
): void {
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

/** A row of bytes to int16; up to 15 of what follows it are taken along. */
// @ts-ignore: decorator
@inline
function widen(to: usize, from: usize, n: i32, signed: bool): void {
  for (let i = 0; i < n; i += 8) {
    v128.store(to + (i << 1), signed ? v128.load8x8_s(from + i) : v128.load8x8_u(from + i));
  }
}

/** A row as signed bytes, with inputs that are repeated and zeros up to a multiple of four behind it. Gives its sum. */
// @ts-ignore: decorator
@inline
function signedRow(to: usize, from: usize, layer: usize): i32 {
  const n = inputsOf(layer);
  const sign: u8 = word(layer, SIGNED_INPUT) ? 0 : 128;
  const flip = i8x16.splat(<i8>sign);
  let sums = i32x4.splat(0);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const x = v128.xor(v128.load(from + i), flip);
    v128.store(to + i, x);
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(x)));
  }
  let sum =
    i32x4.extract_lane(sums, 0) +
    i32x4.extract_lane(sums, 1) +
    i32x4.extract_lane(sums, 2) +
    i32x4.extract_lane(sums, 3);
  for (; i < n; i++) {
    const x = <i8>(load<u8>(from + i) ^ sign);
    store<i8>(to + i, x);
    sum += <i32>x;
  }
  for (let k = word(layer, REPEATED) - 1; k >= 0; k--) {
    const x = load<i8>(to + load<i32>(word(layer, PLACES) + (k << 2)));
    store<i8>(to + n + k, x);
    sum += <i32>x;
  }
  store<u32>(to + n + word(layer, REPEATED), 0);
  return sum;
}

/** A matrix product of `rows` rows of bytes, one after another. */
export function product(x: usize, rows: i32, layer: usize, out: usize): void {
  const inputs = inputsOf(layer);
  const outputs = outputsOf(layer);
  const kind = word(layer, OUTPUT_KIND);
  const signed = word(layer, SIGNED_INPUT) != 0;
  const stride = rowBytes(layer);
  const shift = kind == SUMS ? 2 : 0;
  const biases = <usize>word(layer, BIASES);
  const scales = <usize>word(layer, SCALES);
  const offsets = <usize>word(layer, OFFSETS);
  // bytes of a row in scratch memory
  const end = ASC_FEATURE_RELAXED_SIMD ? (inputs + word(layer, REPEATED) + 3) & ~3 : ((inputs + 1) >> 1) << 2;
  const x0 = scratchAt(0);
  const x1 = x0 + ROW;
  const x2 = x1 + ROW;
  const x3 = x2 + ROW;
  const last = rows - 1;
  for (let row = 0; row < rows; row += 4) {
    const from0 = x + row * inputs;
    const from1 = x + min(row + 1, last) * inputs;
    const from2 = x + min(row + 2, last) * inputs;
    const from3 = x + min(row + 3, last) * inputs;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    if (ASC_FEATURE_RELAXED_SIMD) {
      s0 = signedRow(x0, from0, layer);
      s1 = signedRow(x1, from1, layer);
      s2 = signedRow(x2, from2, layer);
      s3 = signedRow(x3, from3, layer);
    } else {
      widen(x0, from0, inputs, signed);
      widen(x1, from1, inputs, signed);
      widen(x2, from2, inputs, signed);
      widen(x3, from3, inputs, signed);
    }
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
      if (ASC_FEATURE_RELAXED_SIMD) {
        const offsetLow = v128.load(offsets + (o << 2));
        const offsetHigh = v128.load(offsets + (o << 2), 16);
        a0 = i32x4.sub(a0, i32x4.mul(offsetLow, i32x4.splat(s0)));
        b0 = i32x4.sub(b0, i32x4.mul(offsetHigh, i32x4.splat(s0)));
        a1 = i32x4.sub(a1, i32x4.mul(offsetLow, i32x4.splat(s1)));
        b1 = i32x4.sub(b1, i32x4.mul(offsetHigh, i32x4.splat(s1)));
        a2 = i32x4.sub(a2, i32x4.mul(offsetLow, i32x4.splat(s2)));
        b2 = i32x4.sub(b2, i32x4.mul(offsetHigh, i32x4.splat(s2)));
        a3 = i32x4.sub(a3, i32x4.mul(offsetLow, i32x4.splat(s3)));
        b3 = i32x4.sub(b3, i32x4.mul(offsetHigh, i32x4.splat(s3)));
        for (let k = 0; k < end; k += 4) {
          const low = v128.load(w);
          const high = v128.load(w, 16);
          w += 32;
          let v = v128.load32_splat(x0 + k);
          a0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, a0);
          b0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, b0);
          v = v128.load32_splat(x1 + k);
          a1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, a1);
          b1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, b1);
          v = v128.load32_splat(x2 + k);
          a2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, a2);
          b2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, b2);
          v = v128.load32_splat(x3 + k);
          a3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, a3);
          b3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, b3);
        }
      } else {
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
      }
      const scaleLow = v128.load(scales + (o << 2));
      const scaleHigh = v128.load(scales + (o << 2), 16);
      const valid = outputs - o;
      const to = out + row * stride + (o << shift);
      storeOutputs(to, a0, b0, scaleLow, scaleHigh, kind, valid);
      if (row + 1 < rows) storeOutputs(to + stride, a1, b1, scaleLow, scaleHigh, kind, valid);
      if (row + 2 < rows) storeOutputs(to + 2 * stride, a2, b2, scaleLow, scaleHigh, kind, valid);
      if (row + 3 < rows) storeOutputs(to + 3 * stride, a3, b3, scaleLow, scaleHigh, kind, valid);
    }
  }
}
