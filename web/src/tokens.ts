// The tokens of a picture, tile by tile and level by level.
import { type Area, LEVELS, type TileGrid } from "./geometry.js";
import { DetailPass } from "./details.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import { readLowBand } from "./low_band.js";
import type { Networks } from "./networks.js";
import { LevelReader } from "./payloads.js";
import { merge, planar } from "./wavelet.js";

const FRACTION_BITS = 4;

export function channelsOf(level: number): number {
  return level ? 9 : 3;
}

/** By how much a level's grid is finer than that of sites, as a shift. */
export function shiftOf(level: number): number {
  return level ? LEVELS - level : 0;
}

/** One tile's tokens, as far as they were read: the low band, then levels 4, 3, 2, 1. */
export class TileTokens {
  readonly bands = new Map<number, Address>();
  private planes: Address = 0;
  private inherited: { at: Address; bytes: number } | null = null;

  /** received: of each site, whether its token is not erased; null for all. */
  constructor(
    private readonly networks: Networks,
    readonly area: Area,
    private readonly quality: number,
    private readonly received: Uint8Array | null,
  ) {}

  /** Reads a level; the coarser ones have to be there. last: whether no finer one will be read. */
  read(level: number, payload: Uint8Array, last: boolean): void {
    const { networks, quality } = this;
    const { kernels, model } = networks;
    const { heap } = kernels;
    const { h, w } = this.area;
    const scope = heap.scope();
    const reader = new LevelReader(kernels, model, level, quality, payload, scope);
    if (level === 0) {
      const low = heap.put(readLowBand(networks, quality, h, w, reader, this.received));
      this.bands.set(0, low);
      this.planes = planar(kernels, low, h, w, 3, FRACTION_BITS);
      const features = model.features.subarray((quality - 1) * 16, quality * 16);
      const blocks = (h * w) / 4;
      const at = heap.alloc(blocks * features.length);
      for (let n = 0; n < blocks; n++) heap.bytes(at + n * features.length, features.length).set(features);
      this.inherited = { at, bytes: features.length };
    } else {
      this.readDetails(level, reader, last);
    }
    reader.finish();
    if (last) this.finish();
  }

  private readDetails(level: number, reader: LevelReader, last: boolean): void {
    const { networks } = this;
    const { kernels } = networks;
    const { heap } = kernels;
    const shift = shiftOf(level);
    const [h, w] = [(this.area.h << shift) >> 1, (this.area.w << shift) >> 1]; // of the grid of blocks
    const parent = level < LEVELS ? this.bands.get(level + 1)! : 0;
    if (parent) {
      const low = merge(kernels, this.planes, parent, h, w, true);
      heap.release(this.planes);
      this.planes = low;
    }
    const out = heap.zeros(4 * 4 * h * w * 9);
    this.bands.set(level, out);
    const { at: inherited, bytes: inheritedBytes } = this.inherited!;
    const before = { inherited, inheritedBytes, low: this.planes, parent };
    const { received, area } = this;
    const isReceived = received && ((y: number, x: number) => received[(y >> shift) * area.w + (x >> shift)]!);
    const pass = new DetailPass(networks, level, h, w, before, reader, isReceived, out);
    const next = pass.run(!last);
    heap.release(inherited);
    this.inherited = next;
  }

  /** Releases what only finer levels would need. */
  finish(): void {
    this.networks.kernels.heap.release(this.planes, this.inherited?.at ?? 0);
    this.planes = 0;
    this.inherited = null;
  }
}

/** The tokens of an area at a level out of those of the tiles under it, the caller's; zero where there are none. */
export function assemble(
  kernels: Kernels,
  tiles: ReadonlyMap<number, TileTokens>,
  grid: TileGrid,
  area: Area,
  level: number,
): Address {
  const shift = shiftOf(level);
  const bytes = 4 * channelsOf(level);
  const pitch = (area.w << shift) * bytes;
  const out = kernels.heap.zeros((area.h << shift) * pitch);
  for (const index of grid.under(area)) {
    const tile = tiles.get(index);
    const band = tile?.bands.get(level);
    if (!tile || !band) continue;
    const common = area.overlap(tile.area);
    const [to, from] = [common.within(area), common.within(tile.area)];
    const own = (tile.area.w << shift) * bytes;
    kernels.run("runCopy", common.h << shift, [
      band + (from.y << shift) * own + (from.x << shift) * bytes,
      own,
      out + (to.y << shift) * pitch + (to.x << shift) * bytes,
      pitch,
      (common.w << shift) * bytes,
    ]);
  }
  return out;
}
