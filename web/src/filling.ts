// Tokens that were not received, filled in: no details, and a low band interpolated from the tokens around.
// Source: S. Gortler et al., "The Lumigraph", 1996.

const COLOURS = 3;

interface Grid {
  h: number;
  w: number;
}

/** x (h, w, 3), whole numbers: those of `erased` sites are replaced. */
export function fillLow(x: Int32Array, erased: Uint8Array, { h, w }: Grid): void {
  const received = erased.map((one) => (one ? 0 : 1));
  const known = Float64Array.from(x, (value, k) => (received[Math.floor(k / COLOURS)] ? value : 0));
  const filled = pullPush(known, received, { h, w });
  for (let k = 0; k < x.length; k++) if (erased[Math.floor(k / COLOURS)]) x[k] = halfToEven(filled[k]!);
}

/** Rounds as NumPy's rint does. */
export function halfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** x is zero where nothing was received. Coarser means are filled in first, then used for the finer. */
function pullPush(x: Float64Array, received: Uint8Array, { h, w }: Grid): Float64Array {
  if ((h === 1 && w === 1) || received.every((one) => one)) return x;
  const half = { h: (h + 1) >> 1, w: (w + 1) >> 1 };
  const means = new Float64Array(half.h * half.w * COLOURS);
  const counts = new Float64Array(half.h * half.w);
  for (let i = 0; i < 2; i++) {
    for (let j = 0; j < 2; j++) {
      for (let y = i; y < h; y += 2) {
        for (let n = j; n < w; n += 2) {
          const to = (y >> 1) * half.w + (n >> 1);
          counts[to]! += received[y * w + n]!;
          for (let c = 0; c < COLOURS; c++) means[to * COLOURS + c]! += x[(y * w + n) * COLOURS + c]!;
        }
      }
    }
  }
  for (let k = 0; k < means.length; k++) means[k]! /= Math.max(counts[Math.floor(k / COLOURS)]!, 1);
  const coarse = pullPush(means, Uint8Array.from(counts, (count) => (count > 0 ? 1 : 0)), half);
  const lines = doubled(coarse, half.h, half.w * COLOURS, 1);
  const both = doubled(lines, half.w, COLOURS, 2 * half.h);
  const out = x.slice();
  for (let y = 0; y < h; y++) {
    for (let n = 0; n < w; n++) {
      if (received[y * w + n]) continue;
      for (let c = 0; c < COLOURS; c++) out[(y * w + n) * COLOURS + c] = both[(y * 2 * half.w + n) * COLOURS + c]!;
    }
  }
  return out;
}

/** Linear interpolation to twice the items of so many numbers, in each of so many rows. */
function doubled(x: Float64Array, items: number, size: number, rows: number): Float64Array {
  const out = new Float64Array(2 * x.length);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < items; k++) {
      for (let c = 0; c < size; c++) {
        const at = (n: number) => x[(row * items + Math.min(Math.max(n, 0), items - 1)) * size + c]!;
        const to = (row * items + k) * 2 * size + c;
        out[to] = 0.75 * at(k) + 0.25 * at(k - 1);
        out[to + size] = 0.75 * at(k) + 0.25 * at(k + 1);
      }
    }
  }
  return out;
}
