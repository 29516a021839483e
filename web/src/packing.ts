// Layers as the kernels take them (assembly/products.ts).
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";

/** A kind of output: whole numbers that are not clamped. The others are bytes without a sign, 0, and with one, 1. */
export const SUMS = 2;
const WORDS = 12;
const LANES = 8; // outputs that are computed together
const ZERO_POINT = 128; // what is taken off inputs without a sign, for relaxed SIMD
const LARGEST = 64;

/** A layer's numbers. */
export interface LayerNumbers {
  /** (outputs, inputs), or (outputs, side, side) where every channel is convolved by itself. */
  weights: Int8Array;
  biases: Int32Array;
  shifts: Uint8Array;
  inputs: number;
  outputs: number;
  side: number;
  /** 0 or 1. */
  signedInput: number;
  kind: number;
}

/** A layer in the kernels' memory: the address of its descriptor. */
export function putLayer({ heap, exports }: Kernels, layer: LayerNumbers): Address {
  const { weights, inputs, outputs, side, signedInput, kind } = layer;
  const padded = Math.ceil(outputs / LANES) * LANES;
  const [biases, scales] = [new Int32Array(padded), new Float32Array(padded)];
  biases.set(layer.biases);
  layer.shifts.forEach((shift, k) => (scales[k] = 2 ** -shift));
  const words = new Int32Array(WORDS);
  let packed: Int8Array;
  if (side > 1) {
    packed = byPlace(weights, outputs, side * side);
  } else if (exports.isRelaxed()) {
    const relaxed = withOffsets(layer, biases);
    packed = grouped(relaxed.weights, outputs, relaxed.inputs, 4);
    words.set([heap.put(relaxed.offsets), relaxed.repeated.length, heap.put(relaxed.repeated)], 8);
  } else {
    packed = grouped(weights, outputs, inputs, 2);
  }
  words.set([inputs, outputs, heap.put(packed), heap.put(biases), heap.put(scales), signedInput, kind, side]);
  return heap.put(words);
}

/** (outputs, inputs) -> [outputs / 8][inputs / size][8][size], padded with zeros. */
function grouped(weights: Int8Array, outputs: number, inputs: number, size: 2 | 4): Int8Array {
  const groups = Math.ceil(inputs / size);
  const packed = new Int8Array(Math.ceil(outputs / LANES) * groups * LANES * size);
  for (let o = 0; o < outputs; o++) {
    const first = Math.floor(o / LANES) * groups * LANES * size + (o % LANES) * size;
    for (let k = 0; k < inputs; k++) {
      packed[first + Math.floor(k / size) * LANES * size + (k % size)] = weights[o * inputs + k]!;
    }
  }
  return packed;
}

/** (channels, places) -> [place][channel]. */
function byPlace(weights: Int8Array, channels: number, places: number): Int8Array {
  return weights.map((_, k) => weights[(k % channels) * places + Math.floor(k / channels)]!);
}

interface Offset {
  /** (outputs, inputs), 0 to 127. */
  weights: Int8Array;
  inputs: number;
  /** Of each output, what was added to its weights. */
  offsets: Int32Array;
  /** Inputs that come again behind the others. */
  repeated: Int32Array;
}

/**
 * Weights of seven bits. biases: what inputs less 128 leave out is added to them.
 *
 * -64 to 64 are 129 numbers: in a row that has both ends, 64 becomes 63, and its input comes again with a weight of 1.
 */
function withOffsets({ weights, inputs, outputs, signedInput }: LayerNumbers, biases: Int32Array): Offset {
  const rows = Array.from({ length: outputs }, (_, o) => weights.subarray(o * inputs, (o + 1) * inputs));
  const isWide = rows.map((row) => row.includes(LARGEST) && row.includes(-LARGEST));
  const again = new Set<number>();
  rows.forEach((row, o) => isWide[o] && row.forEach((weight, k) => weight === LARGEST && again.add(k)));
  const repeated = Int32Array.from(again);
  const count = inputs + repeated.length;
  const stored = new Int8Array(outputs * count);
  const offsets = new Int32Array(biases.length);
  rows.forEach((row, o) => {
    const offset = row.includes(LARGEST) && !isWide[o] ? LARGEST - 1 : LARGEST;
    offsets[o] = offset;
    let sum = 0;
    row.forEach((weight, k) => {
      sum += weight;
      stored[o * count + k] = Math.min(weight + offset, 127);
    });
    repeated.forEach((k, n) => (stored[o * count + inputs + n] = offset + (isWide[o] && row[k] === LARGEST ? 1 : 0)));
    if (!signedInput) biases[o]! += ZERO_POINT * sum;
  });
  return { weights: stored, inputs: count, offsets, repeated };
}
