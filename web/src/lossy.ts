// The decoder of a file of tokens: the plan of what is needed -> payloads of tiles -> tokens -> pixels.
import { type Contents, CODING_ORDER, keyOf } from "./container.js";
import type { Enhancement } from "./enhancement.js";
import { FormatError } from "./errors.js";
import { fillLow } from "./filling.js";
import { filterOf } from "./filter.js";
import { type Area, LEVELS, type Region, SITE, type TileGrid, reducedRegion } from "./geometry.js";
import type { Address } from "./heap.js";
import { type Header, gridOf } from "./header.js";
import type { Kernels } from "./kernels.js";
import type { Model } from "./model.js";
import { Networks } from "./networks.js";
import { Reconstruction, needed, paint } from "./reconstruction.js";
import { TileTokens, assemble, channelsOf, shiftOf } from "./tokens.js";

/** What is decoded. */
export interface Plan {
  grid: TileGrid;
  /** In pixels of the whole picture, within it. */
  region: Region;
  reduce: number;
  /** The sites under the region. */
  shown: Area;
  /** The tiles that are read. */
  tiles: number[];
}

/** reach: of the model's middle. */
export function planOf(header: Header, region: Region, reduce: number, reach: number): Plan {
  const grid = gridOf(header);
  const shown = grid.touched(region);
  return { grid, region, reduce, shown, tiles: grid.under(needed(shown, grid.whole, reduce, reach)) };
}

/** RGBA pixels. */
export interface Pixels {
  data: Uint8ClampedArray<ArrayBuffer>;
  width: number;
  height: number;
}

/** Decodes one file, level by level as its payloads are there. */
export class TokenDecoder {
  private readonly tiles = new Map<number, TileTokens>();
  private readonly networks: Networks;
  private readonly mask: Uint8Array | null;
  /** Of each tile, how many levels were read or will not be. */
  private readonly read = new Map<number, number>();
  private readonly qualities: Address;
  private readonly levels: number[];
  private lost: Uint8Array | null = null; // sites to be filled in

  constructor(
    private readonly kernels: Kernels,
    private readonly model: Model,
    private readonly contents: Contents,
    private readonly plan: Plan,
  ) {
    this.networks = new Networks(kernels, model);
    const { header, metadata } = contents;
    const { grid, reduce, tiles } = plan;
    this.levels = CODING_ORDER.filter((level) => level === 0 || level > reduce);
    this.mask = unpackMask(metadata.get("MASK"), grid);
    const qualities = tileQualities(header, metadata.get("TILQ"), grid);
    if (!reduce && metadata.has("FILT")) filterOf(model, header.quality, metadata.get("FILT")); // refused early
    this.qualities = kernels.heap.put(siteQualities(qualities, grid));
    for (const tile of tiles) {
      const area = grid.area(tile);
      this.tiles.set(tile, new TileTokens(this.networks, area, qualities[tile]!, this.received(area)));
      this.read.set(tile, 0);
    }
  }

  /** Reads the next payload that is there. Gives whether there was one. */
  advance(): boolean {
    const { contents, levels } = this;
    const coarsest = Math.min(...this.read.values());
    if (coarsest >= levels.length) return false;
    for (const [tile, count] of this.read) {
      if (count !== coarsest) continue;
      const level = levels[count]!;
      const key = keyOf(level, tile);
      if (contents.erased.has(key)) {
        this.read.set(tile, levels.length); // a level is predicted from the coarser ones: without it no finer one is read
        if (level === 0) this.lose(tile);
        this.tiles.get(tile)!.finish();
        return true;
      }
      const payload = contents.payloads.get(key);
      if (!payload) return false;
      this.tiles.get(tile)!.read(level, payload, count + 1 === levels.length);
      contents.payloads.delete(key);
      this.read.set(tile, count + 1);
      return true;
    }
    return false;
  }

  /** The finest reduction that all tiles have tokens for; 5 where there are none. */
  get reached(): number {
    const count = Math.min(...this.read.values());
    return count ? LEVELS + 1 - count : LEVELS + 1;
  }

  /** A preview of the region from the levels that are there, at `reduce`. */
  preview(reduce: number): Pixels {
    return this.paint(reduce, true, null);
  }

  /** The region, when all levels are there. enhancement: the picture's. */
  pixels(enhancement: Enhancement | null): Pixels {
    return this.paint(this.plan.reduce, false, enhancement);
  }

  private paint(reduce: number, isPreview: boolean, enhancement: Enhancement | null): Pixels {
    const { kernels, model, contents, plan } = this;
    const { header } = contents;
    const { heap } = kernels;
    const shown = reducedRegion(plan.region, reduce);
    const at = heap.alloc(4 * shown.width * shown.height);
    const tokens = (area: Area, level: number) => this.tokens(area, level);
    const picture = new Reconstruction(kernels, model, plan.grid.whole, plan.shown, this.qualities, tokens);
    const filter = reduce ? null : filterOf(model, header.quality, contents.metadata.get("FILT"));
    const size = SITE >> reduce;
    for (const blocks of picture.blocks()) {
      picture.forget(blocks[0]!.y);
      for (const block of blocks) {
        const planes =
          reduce || isPreview ? picture.reduced(block, reduce) : picture.planes(block, filter, enhancement);
        const target = { at, ...shown, x: block.x * size - shown.x, y: block.y * size - shown.y };
        paint(kernels, planes, target, reduce, header.gray);
      }
    }
    picture.forget(Infinity);
    const data = new Uint8ClampedArray(heap.bytes(at, 4 * shown.width * shown.height));
    heap.release(at);
    return { data, width: shown.width, height: shown.height };
  }

  private tokens(area: Area, level: number): Address {
    const { kernels, plan, tiles, lost, mask } = this;
    const out = assemble(kernels, tiles, plan.grid, area, level);
    if (!lost && !mask) return out;
    const erased = this.erasedOf(area);
    if (!erased.some((one) => one)) return out;
    const shift = shiftOf(level);
    const channels = channelsOf(level);
    const values = kernels.heap.words(out, channels * (area.h << shift) * (area.w << shift));
    if (level === 0) {
      fillLow(values, erased, area);
    } else {
      const columns = area.w << shift;
      for (let k = 0; k < values.length; k++) {
        const place = Math.floor(k / channels);
        if (erased[(Math.floor(place / columns) >> shift) * area.w + ((place % columns) >> shift)]) values[k] = 0;
      }
    }
    return out;
  }

  private erasedOf(area: Area): Uint8Array {
    const columns = this.plan.grid.whole.w;
    const out = new Uint8Array(area.h * area.w);
    for (let k = 0; k < out.length; k++) {
      const site = (area.y + Math.floor(k / area.w)) * columns + area.x + (k % area.w);
      out[k] = (this.mask?.[site] ?? 0) | (this.lost?.[site] ?? 0);
    }
    return out;
  }

  private received(area: Area): Uint8Array | null {
    if (!this.mask) return null;
    return this.erasedOf(area).map((one) => (one ? 0 : 1));
  }

  private lose(tile: number): void {
    const { whole } = this.plan.grid;
    const { y, x, h, w } = this.plan.grid.area(tile);
    this.lost ??= new Uint8Array(whole.h * whole.w);
    for (let row = y; row < y + h; row++) this.lost.fill(1, row * whole.w + x, row * whole.w + x + w);
  }
}

function tileQualities(header: Header, packed: Uint8Array | undefined, grid: TileGrid): Uint8Array {
  if (!packed) return new Uint8Array(grid.count).fill(header.quality);
  if (packed.length !== grid.count || packed.some((quality) => quality < 1 || quality > 100)) {
    throw new FormatError("the qualities of the tiles do not fit the picture; get a complete and undamaged copy");
  }
  return packed;
}

function siteQualities(ofTiles: Uint8Array, grid: TileGrid): Uint8Array {
  const { h, w } = grid.whole;
  const side = grid.tile / SITE;
  return Uint8Array.from({ length: h * w }, (_, site) => {
    const [y, x] = [Math.floor(site / w), site % w];
    return ofTiles[Math.floor(y / side) * grid.columns + Math.floor(x / side)]!;
  });
}

/** Which tokens the encoder erased, a byte for each site. */
function unpackMask(packed: Uint8Array | undefined, grid: TileGrid): Uint8Array | null {
  if (!packed) return null;
  const { h, w } = grid.whole;
  if (packed.length !== Math.ceil((h * w) / 8)) {
    throw new FormatError(
      `the mask of ${packed.length} bytes does not fit ${w}x${h} tokens; get a complete and undamaged copy`,
    );
  }
  return Uint8Array.from({ length: h * w }, (_, site) => (packed[site >> 3]! >> (7 - (site & 7))) & 1);
}

