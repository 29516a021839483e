// The low band's part of the context model's pass: from a sparse grid to the whole.
import type { Address } from "./heap.js";
import type { Networks, Rows } from "./networks.js";
import type { LevelReader } from "./payloads.js";
import { PHASES } from "./phases.js";

const REACH = 2; // of neighbourhoods, on the grid of the phase
const SIDE = 2 * REACH + 1;
const COLOURS = 3;

/** All values, (rows, columns, 3). received: whether a site's token is not erased, or null for all. */
export function readLowBand(
  networks: Networks,
  quality: number,
  rows: number,
  columns: number,
  reader: LevelReader,
  received: Uint8Array | null,
): Int32Array {
  const values = new Int32Array(rows * columns * COLOURS);
  const known = new Uint8Array(rows * columns);
  for (let scale = networks.model.config.context.low_scales - 1; scale >= 0; scale--) {
    const isFirst = scale === networks.model.config.context.low_scales - 1;
    (isFirst ? PHASES : PHASES.slice(1)).forEach(([i, j], k) => {
      const sites: number[] = [];
      for (let y = i << scale; y < rows; y += 2 << scale) {
        for (let x = j << scale; x < columns; x += 2 << scale) sites.push(y * columns + x);
      }
      if (sites.length) readPhase(networks, quality, { scale, k, sites, rows, columns, values, known, received }, reader);
    });
  }
  return values;
}

interface Phase {
  scale: number;
  k: number;
  sites: number[];
  rows: number;
  columns: number;
  values: Int32Array;
  known: Uint8Array;
  received: Uint8Array | null;
}

function readPhase(networks: Networks, quality: number, phase: Phase, reader: LevelReader): void {
  const { scale, k, sites, values, known } = phase;
  const { model, kernels } = networks;
  const count = sites.length;
  const features = model.features.subarray((quality - 1) * 16, quality * 16);
  const bytes = features.length + SIDE * SIDE * COLOURS * 2;
  const inputs = new Uint8Array(count * bytes);
  const [luma, chroma] = [new Int32Array(count), new Int32Array(2 * count)]; // centres
  const pairs = model.lookUps.sixteenths;
  const zero = model.sixteenths.zero;
  const enter = (x: number) => pairs[Math.min(Math.max(x + zero, 0), 2 * zero)]!;
  sites.forEach((site, n) => {
    inputs.set(features, n * bytes);
    const centre = centreOf(phase, site);
    luma[n] = centre[0]!;
    chroma.set(centre.subarray(1), 2 * n);
    neighbours(phase, site, REACH, (neighbour, place) => {
      for (let c = 0; c < COLOURS; c++) {
        const pair = enter(16 * values[neighbour * COLOURS + c]! - centre[c]!);
        const at = n * bytes + features.length + (place * COLOURS + c) * 2;
        inputs[at] = pair & 255;
        inputs[at + 1] = pair >> 8;
      }
    });
  });
  const scope = kernels.heap.scope();
  const more = scope.alloc(2 * count);
  const mask = phase.received;
  const coded = mask ? scope.put(Uint8Array.from(sites, (site) => mask[site]!)) : 0;
  const base: Rows = {
    count,
    blocks: 0,
    gridWidth: 1,
    features: scope.put(inputs),
    featureBytes: bytes,
    chosen: 0,
    sources: [],
  };
  const take = (at: Address, first: number, channels: number) => {
    const found = kernels.heap.words(at, channels * count);
    for (let c = 0; c < channels; c++) {
      sites.forEach((site, n) => (values[site * COLOURS + first + c] = found[c * count + n]!));
    }
  };
  const code = (part: string, rows: Rows, first: number, channels: number, centres: Int32Array) => {
    const head = `low.${part}.${scale}.${k}`;
    networks.code(head, rows, reader, first, [channels], 1, coded, scope.put(centres), 0, false, take);
  };
  code("luma", base, 0, 1, luma);
  const relative = kernels.heap.bytes(more, 2 * count);
  sites.forEach((site, n) => {
    const pair = enter(16 * values[site * COLOURS]! - luma[n]!);
    relative[2 * n] = pair & 255;
    relative[2 * n + 1] = pair >> 8;
  });
  code("chroma", { ...base, more, moreBytes: 2 }, 1, 2, chroma);
  scope.release();
  for (const site of sites) known[site] = 1;
}

/** The known neighbours of a site on the grid of its phase, and their places among SIDE x SIDE. */
function neighbours(phase: Phase, site: number, reach: number, take: (neighbour: number, place: number) => void): void {
  const { scale, rows, columns, known } = phase;
  const [y, x] = [Math.floor(site / columns), site % columns];
  for (let i = -reach; i <= reach; i++) {
    const row = y + (i << scale);
    if (row < 0 || row >= rows) continue;
    for (let j = -reach; j <= reach; j++) {
      const column = x + (j << scale);
      if (column < 0 || column >= columns || !known[row * columns + column]) continue;
      take(row * columns + column, (i + REACH) * SIDE + j + REACH);
    }
  }
}

/** The mean of what is known within 3x3, in sixteenths, of each colour. */
function centreOf(phase: Phase, site: number): Int32Array {
  const sums = new Int32Array(COLOURS);
  let count = 0;
  neighbours(phase, site, 1, (neighbour) => {
    count++;
    for (let c = 0; c < COLOURS; c++) sums[c]! += phase.values[neighbour * COLOURS + c]!;
  });
  return sums.map((sum) => Math.floor((16 * sum) / Math.max(count, 1)));
}
