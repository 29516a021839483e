import { FormatError } from "./errors.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import type { Model } from "./model.js";

const RADII = [3, 2, 2];
const REACH = 3;
const LONGEST = 9; // bits of a changed weight behind its first one
const LIMIT = 127;
const ZERO = 7; // stands for the order of a group without weights
const DAMAGED = "the adaptive filter is damaged; get a complete and undamaged copy";

/** (down, right) of one of each pair of opposite neighbours within a diamond. */
const PAIRS = RADII.map((radius) => {
  const pairs: [number, number][] = [];
  for (let y = 0; y <= radius; y++) {
    for (let x = -radius; x <= radius; x++) if (y + Math.abs(x) <= radius && (y > 0 || x > 0)) pairs.push([y, x]);
  }
  return pairs;
});

/** weights: plane by plane; of each the weights of all differences as they are, then of the clipped ones. */
export interface AdaptiveFilter {
  threshold: number;
  weights: Int32Array;
}

/** The filter of a file's picture. changes: the payload of FILT, if there is one. */
export function filterOf(model: Model, quality: number, changes: Uint8Array | undefined): AdaptiveFilter | null {
  const { filterWeights, filterThresholds } = model;
  const count = 2 * PAIRS.reduce((sum, pairs) => sum + pairs.length, 0);
  const weights = Int32Array.from(filterWeights?.subarray((quality - 1) * count, quality * count) ?? new Int32Array(count));
  if (changes) {
    const bits = new Bits(changes);
    let at = 0;
    for (const pairs of PAIRS) for (let group = 0; group < 2; group++) at = readGroup(bits, weights, at, pairs.length);
    if (!bits.isPadding || weights.some((weight) => Math.abs(weight) > LIMIT)) throw new FormatError(DAMAGED);
  }
  return { threshold: filterThresholds?.[quality - 1] ?? 1, weights };
}

class Bits {
  private position = 0;

  constructor(private readonly data: Uint8Array) {}

  next(): number {
    const byte = this.data[this.position >> 3];
    if (byte === undefined) throw new FormatError(DAMAGED);
    return (byte >> (7 - (this.position++ & 7))) & 1;
  }

  number(count: number): number {
    let value = 0;
    for (let k = 0; k < count; k++) value = 2 * value + this.next();
    return value;
  }

  /** Whether nothing is left but zeros that fill the last byte. */
  get isPadding(): boolean {
    const left = 8 * this.data.length - this.position;
    return left < 8 && this.number(left) === 0;
  }
}

function readGroup(bits: Bits, weights: Int32Array, at: number, count: number): number {
  const order = bits.number(3);
  for (let k = 0; order !== ZERO && k < count; k++) weights[at + k]! += readChange(bits, order);
  return at + count;
}

function readChange(bits: Bits, order: number): number {
  let length = order;
  while (!bits.next()) if (++length > LONGEST) throw new FormatError(DAMAGED);
  const value = ((1 << length) | bits.number(length)) - (1 << order);
  return value & 1 ? (value + 1) >> 1 : -(value >> 1);
}

interface Planes {
  at: Address;
  height: number;
  width: number;
}

/** A part of planes after the filter, the caller's; the planes are released. Beyond their end the last pixel repeats. */
export function applyFilter(
  kernels: Kernels,
  filter: AdaptiveFilter | null,
  planes: Planes,
  part: { top: number; left: number; height: number; width: number },
): Address {
  const { heap } = kernels;
  const { top, left, height, width } = part;
  const out = heap.alloc(4 * 3 * height * width);
  const [pitch, rows] = [width + 2 * REACH, height + 2 * REACH];
  let first = 0; // of the plane's weights
  PAIRS.forEach((pairs, plane) => {
    const [from, to] = [planes.at + 4 * plane * planes.height * planes.width, out + 4 * plane * height * width];
    const [plain, cut] = [0, pairs.length].map((k) => filter?.weights.subarray(first + k, first + k + pairs.length));
    first += 2 * pairs.length;
    if (!filter || ![...plain!, ...cut!].some((weight) => weight)) {
      const corner = from + 4 * (top * planes.width + left);
      kernels.run("runCopy", height, [corner, 4 * planes.width, to, 4 * width, 4 * width]);
      return;
    }
    const scope = heap.scope();
    const around = scope.alloc(4 * rows * pitch);
    border(kernels, from, planes, around, top - REACH, left - REACH, rows, pitch);
    const clamped = scope.alloc(4 * rows * pitch);
    kernels.run("runClamp", rows * pitch, [around, clamped], 1 << 15);
    const words = pairs.flatMap(([y, x], k) => [y, x, plain![k]!, cut![k]!]);
    const weights = scope.put(Int32Array.from(words));
    kernels.run("runFilter", height, [clamped, pitch, around, to, width, filter.threshold, pairs.length, weights], 16);
    scope.release();
  });
  heap.release(planes.at);
  return out;
}

/** A part of a plane, whose last lines and columns are repeated where it ends. */
export function border(
  kernels: Kernels,
  plane: Address,
  size: { height: number; width: number },
  out: Address,
  top: number,
  left: number,
  rows: number,
  columns: number,
): void {
  const { heap } = kernels;
  const from = heap.words(plane, size.height * size.width);
  const to = heap.words(out, rows * columns);
  const [start, end] = [Math.max(left, 0), Math.min(left + columns, size.width)];
  for (let y = 0; y < rows; y++) {
    const line = Math.min(Math.max(top + y, 0), size.height - 1) * size.width;
    const at = y * columns;
    to.set(from.subarray(line + start, line + end), at + start - left);
    to.fill(from[line]!, at, at + start - left);
    to.fill(from[line + size.width - 1]!, at + end - left, at + columns);
  }
}
