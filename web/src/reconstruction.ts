// Tokens to pixels. `down` and `up` of the network see a few sites around each, so that any area comes out as in the
// whole; `middle` sees far, so that the format fixes the blocks it runs on.
import { type AreaMap, BlockMaps, crop } from "./block_maps.js";
import type { Enhancement } from "./enhancement.js";
import type { AdaptiveFilter } from "./filter.js";
import { applyFilter } from "./filter.js";
import { Area, LEVELS, SITE } from "./geometry.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import type { Model } from "./model.js";
import { Synthesis } from "./synthesis.js";
import { channelsOf, shiftOf } from "./tokens.js";
import { merge, planar } from "./wavelet.js";

const MIDDLE = 64; // sites along a side of a block of `middle`
const MIDDLE_HALO = 8; // sites around a block that it sees
/** Sites around an area that `down` and `up` see. */
export const MARGIN = 4;
// sites around pixels: the wavelet sees less than four, filter and enhancement together less than two more
const EDGE = 5;
const COLOUR_BITS = 17;
const LEAST = 16; // rows of a map that a thread takes

/** Planes of the colour axes of an area. */
export interface Planes {
  at: Address;
  height: number;
  width: number;
}

/** The sites whose features before the middle the pixels of an area depend on. */
function featuresNeeded(area: Area, whole: Area, reach: number): Area {
  const after = area.grown(EDGE + MARGIN, whole);
  return after.grown(reach, whole).overlap(after.aligned(MIDDLE, whole).grown(MIDDLE_HALO, whole));
}

/** The sites whose tokens the pixels of an area depend on. */
export function needed(area: Area, whole: Area, reduce: number, reach: number): Area {
  return reduce ? area.grown(MARGIN, whole) : featuresNeeded(area, whole, reach).grown(MARGIN + 2, whole);
}

/** The pixels of an area's sites in those of another. */
function placeOf(area: Area, outer: Area): { top: number; left: number; height: number; width: number } {
  const { y, x, h, w } = area.within(outer);
  return { top: SITE * y, left: SITE * x, height: SITE * h, width: SITE * w };
}

/** The pixels of a picture whose tokens can be asked for. */
export class Reconstruction {
  private readonly synthesis: Synthesis;
  private readonly down: BlockMaps;
  private readonly middle: BlockMaps;
  private readonly up: BlockMaps;

  constructor(
    private readonly kernels: Kernels,
    private readonly model: Model,
    private readonly whole: Area,
    private readonly shown: Area,
    /** A byte for each site of the picture. */
    private readonly qualities: Address,
    /** An area and a level -> its tokens (rows, columns, channels) int32, the caller's. */
    private readonly tokens: (area: Area, level: number) => Address,
  ) {
    this.synthesis = new Synthesis(kernels, model);
    const maps = (compute: (area: Area) => AreaMap[], limit: Area, lead: number) =>
      new BlockMaps(kernels, compute, whole, limit, MIDDLE, lead);
    // each is ahead of what is made of it, by the margin that this needs
    this.down = maps((block) => this.downBlock(block), featuresNeeded(shown, whole, model.reach), MIDDLE_HALO);
    this.middle = maps((block) => this.middleBlock(block), shown.grown(EDGE + MARGIN, whole), 0);
    this.up = maps((block) => this.upBlock(block), shown.grown(EDGE, whole), -MARGIN);
  }

  /** What is shown in blocks, row by row: to be asked for in this order, with `forget` after each row. */
  blocks(): Area[][] {
    const { kernels, whole, shown } = this;
    const blocks = new BlockMaps(kernels, () => [], whole, shown, MIDDLE, -EDGE - MARGIN).blocks(shown);
    const rows = new Map<number, Area[]>();
    for (const block of blocks) rows.set(block.y, [...(rows.get(block.y) ?? []), block]);
    return [...rows.values()];
  }

  /** Drops what was kept of blocks that end above a row of sites, less what their neighbours see. */
  forget(above: number): void {
    this.down.forget(above - EDGE - MARGIN);
    this.middle.forget(above - EDGE - MARGIN);
    this.up.forget(above - EDGE);
  }

  /** Planes (16 h, 16 w) of an area, filtered and enhanced, the caller's. */
  planes(area: Area, filter: AdaptiveFilter | null, enhancement: Enhancement | null): Planes {
    const { kernels, whole } = this;
    const around = area.grown(EDGE, whole);
    const bands = this.up.of(around).map((map) => map.at);
    const picture = { at: this.inverse(bands, around, 1), height: SITE * around.h, width: SITE * around.w };
    const seen = enhancement ? area.grown(1, whole) : area;
    const place = placeOf(seen, around);
    const filtered = { ...place, at: applyFilter(kernels, filter, picture, place) };
    if (!enhancement) return filtered;
    const part = placeOf(area, seen);
    const qualities = { at: this.qualities, rows: whole.h, columns: whole.w };
    return { ...part, at: enhancement.apply(filtered, part, qualities, (SITE / 2) * area.y, (SITE / 2) * area.x) };
  }

  /** Planes of an area at 1 / 2^reduce of its size, from the coarser levels alone, without the network. */
  reduced(area: Area, reduce: number): Planes {
    const around = area.grown(MARGIN, this.whole);
    const bands = [this.coefficients(around, 0)];
    for (let level = reduce + 1; level <= LEVELS; level++) bands[level] = this.coefficients(around, level);
    const at = this.inverse(bands, around, reduce + 1);
    const map = { scale: 16 >> reduce, bytes: 4 };
    const inner = area.within(around);
    const [height, width] = [around.h * map.scale, around.w * map.scale];
    const out = { height: area.h * map.scale, width: area.w * map.scale };
    const place = { top: inner.y * map.scale, left: inner.x * map.scale, ...out };
    return { at: applyFilter(this.kernels, null, { at, height, width }, place), ...out };
  }

  /** Coefficients, which it releases, to planes. bands: by level, from `finest` on. */
  private inverse(bands: Address[], area: Area, finest: number): Address {
    const { kernels, model } = this;
    for (const [key, band] of Object.entries(bands)) {
      const level = Number(key);
      const shift = shiftOf(level);
      const columns = area.w << shift;
      const words = [band, columns, channelsOf(level), shift, this.siteQualities(area), this.whole.w, model.stepTable];
      kernels.run("runLevels", area.h << shift, words, LEAST);
    }
    let low = planar(kernels, bands[0]!, area.h, area.w, 3, 0);
    for (let level = LEVELS; level >= finest; level--) {
      const shift = shiftOf(level);
      const next = merge(kernels, low, bands[level]!, area.h << shift, area.w << shift, false);
      kernels.heap.release(low);
      low = next;
    }
    kernels.heap.release(...Object.values(bands));
    return low;
  }

  private siteQualities(area: Area): Address {
    return this.qualities + area.y * this.whole.w + area.x;
  }

  private coefficients(area: Area, level: number): Address {
    const { kernels, model, whole } = this;
    const tokens = this.tokens(area, level);
    const shift = shiftOf(level);
    const columns = area.w << shift;
    const sites = this.siteQualities(area);
    const words = [tokens, tokens, columns, channelsOf(level), level, shift, sites, whole.w, model.gains];
    kernels.run("runCoefficients", area.h << shift, words, LEAST);
    return tokens;
  }

  /** Corrected coefficients of a block, by level: the low band, then details, the finest first. */
  private upBlock(block: Area): AreaMap[] {
    const { kernels, synthesis } = this;
    const around = block.grown(MARGIN, this.whole);
    const [h4, h8] = this.down.of(around, 2);
    const [h16] = this.middle.of(around);
    const [c4, c8, c16] = synthesis.up(h4!.at, h8!.at, h16!.at, around);
    const bands = [0, 1, 2, 3, 4].map((level) => this.coefficients(block, level));
    const inner = block.within(around);
    const correct = (sums: Address, name: string, scale: number, first: number, second: number | null, finer: number) => {
      const words = [sums, synthesis.pitch(name), around.w * scale, inner.y * scale, inner.x * scale, block.w * scale];
      const other = second === null ? 0 : bands[second]!;
      words.push(bands[first]!, 9, finer, other, second === null ? 0 : channelsOf(second));
      kernels.run("runCorrect", block.h * scale, words, LEAST);
    };
    correct(c4, "output4", 4, 1, 2, 1);
    correct(c8, "output8", 2, 3, null, 0);
    correct(c16, "output16", 1, 4, 0, 0);
    kernels.heap.release(c4, c8, c16);
    return bands.map((at, level) => ({ at, scale: 1 << shiftOf(level), bytes: 4 * channelsOf(level) }));
  }

  private downBlock(block: Area): AreaMap[] {
    const around = block.grown(MARGIN, this.whole);
    const maps = this.synthesis.down(this.inputs(around), around);
    return maps.map((at, k) => {
      const bytes = this.model.layer(`input${4 << k}`).outputs;
      const cropped = crop(this.kernels, { at, scale: 4 >> k, bytes }, around, block);
      this.kernels.heap.release(at);
      return cropped;
    });
  }

  /** Of a block of the format, or of the part of one that is needed: then on as much as that depends on. */
  private middleBlock(block: Area): AreaMap[] {
    const within = block.aligned(MIDDLE, this.whole).grown(MIDDLE_HALO, this.whole);
    const around = block.grown(this.model.reach, this.whole).overlap(within);
    const maps = this.down.of(around);
    const h16 = maps[2]!;
    this.synthesis.middle(h16.at, around);
    const out = crop(this.kernels, h16, around, block);
    this.kernels.heap.release(...maps.map((map) => map.at));
    return [out];
  }

  /** The network's inputs at strides 4, 8 and 16. */
  private inputs(area: Area): [Address, Address, Address] {
    const { kernels, model } = this;
    const { heap } = kernels;
    const seen = area.grown(2, this.whole); // by the contrast
    const bands = [0, 1, 2, 3, 4].map((level) => this.coefficients(seen, level));
    const inner = area.within(seen);
    const low = planar(kernels, bands[0]!, seen.h, seen.w, 3, 0);
    kernels.run("runContrast", seen.h, [low, seen.h, seen.w, bands[0]!], LEAST);
    heap.release(low);
    const make = (scale: number, first: number, finer: number, second: number | null) => {
      const columns = (level: number) => seen.w << shiftOf(level);
      const other = second === null ? [0, 0, 0] : [bands[second]!, columns(second), channelsOf(second)];
      const count = 9 * (finer ? 4 : 1) + other[2]!;
      const out = heap.alloc(area.h * area.w * scale * scale * (2 * count + 1));
      const place = [inner.y * scale, inner.x * scale, area.w * scale, Math.log2(scale)];
      const numbers = [model.positions, this.siteQualities(area), this.whole.w, model.logs, out];
      const words = [bands[first]!, columns(first), 9, finer, ...other, ...place, ...numbers];
      kernels.run("runInputs", area.h * scale, words, LEAST);
      return out;
    };
    const made: [Address, Address, Address] = [make(4, 1, 1, 2), make(2, 3, 0, null), make(1, 4, 0, 0)];
    heap.release(...bands);
    return made;
  }
}

/** Where pixels of an area go. */
export interface Target {
  /** RGBA of the whole that is shown. */
  at: Address;
  width: number;
  height: number;
  /** Of the planes' corner in it; may be negative. */
  x: number;
  y: number;
}

/** Planes to RGBA, as far as the target reaches; the planes are released. */
export function paint(kernels: Kernels, planes: Planes, target: Target, reduce: number, gray: boolean): void {
  const [top, left] = [Math.max(-target.y, 0), Math.max(-target.x, 0)];
  const height = Math.min(planes.height - top, target.height - Math.max(target.y, 0));
  const width = Math.min(planes.width - left, target.width - Math.max(target.x, 0));
  const to = target.at + 4 * (Math.max(target.y, 0) * target.width + Math.max(target.x, 0));
  const words = [planes.at, planes.height, planes.width, top, left, height, width, to, target.width];
  if (height > 0 && width > 0) kernels.run("runColours", height, [...words, COLOUR_BITS + reduce, gray ? 1 : 0], LEAST);
  kernels.heap.release(planes.at);
}
