import { Area } from "./geometry.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";

/** A map of an area: scale x scale places for each site, so many bytes each. */
export interface AreaMap {
  at: Address;
  scale: number;
  bytes: number;
}

/** The part of a map of `outer` that belongs to `inner`, the caller's. */
export function crop(kernels: Kernels, map: AreaMap, outer: Area, inner: Area): AreaMap {
  const pitch = inner.w * map.scale * map.bytes;
  const at = kernels.heap.alloc(pitch * inner.h * map.scale);
  copy(kernels, map, outer, { ...map, at }, inner, inner);
  return { ...map, at };
}

/** Copies what two maps have in common. from, to: of the areas `outer` and `target`. */
function copy(kernels: Kernels, from: AreaMap, outer: Area, to: AreaMap, target: Area, common: Area): void {
  const { scale, bytes } = from;
  const [source, place] = [common.within(outer), common.within(target)];
  const [pitch, own] = [outer.w * scale * bytes, target.w * scale * bytes];
  kernels.run("runCopy", common.h * scale, [
    from.at + source.y * scale * pitch + source.x * scale * bytes,
    pitch,
    to.at + place.y * scale * own + place.x * scale * bytes,
    own,
    common.w * scale * bytes,
  ]);
}

/**
 * Maps of a picture that are computed block by block, when they are first asked for, and kept for their neighbours.
 *
 * whole: all sites of the picture. limit: what can be asked for; no more is computed. side: of the blocks, sites. lead:
 * by how many rows of sites the blocks are ahead of a grid of that side, so that what is made of other maps and needs a
 * margin of them does not need their next row.
 */
export class BlockMaps {
  private readonly kept = new Map<string, { area: Area; maps: AreaMap[] }>();

  constructor(
    private readonly kernels: Kernels,
    private readonly compute: (area: Area) => AreaMap[],
    private readonly whole: Area,
    private readonly limit: Area,
    private readonly side: number,
    private readonly lead: number,
  ) {}

  /** The blocks under an area, in raster order. */
  blocks(area: Area): Area[] {
    const found: Area[] = [];
    for (const [top, h] of parts(this.whole.h, this.side, this.lead)) {
      for (const [left, w] of parts(this.whole.w, this.side, 0)) {
        const block = new Area(top, left, h, w).overlap(this.limit);
        if (!block.isEmpty && !block.overlap(area).isEmpty) found.push(block);
      }
    }
    return found;
  }

  /** The first `count` maps of an area, the caller's. */
  of(area: Area, count?: number): AreaMap[] {
    const { kernels } = this;
    const blocks = this.blocks(area).map((block) => ({ area: block, maps: this.made(block).slice(0, count) }));
    return blocks[0]!.maps.map((first, k) => {
      const at = kernels.heap.alloc(area.h * area.w * first.scale ** 2 * first.bytes);
      const out = { ...first, at };
      for (const block of blocks) copy(kernels, block.maps[k]!, block.area, out, area, block.area.overlap(area));
      return out;
    });
  }

  private made(block: Area): AreaMap[] {
    const key = `${block.y},${block.x},${block.h},${block.w}`;
    let found = this.kept.get(key);
    if (!found) this.kept.set(key, (found = { area: block, maps: this.compute(block) }));
    return found.maps;
  }

  /** Drops the blocks that end above a row of sites. */
  forget(above: number): void {
    for (const [key, { area, maps }] of this.kept) {
      if (area.y + area.h > above) continue;
      this.kernels.heap.release(...maps.map((map) => map.at));
      this.kept.delete(key);
    }
  }
}

/** Where parts begin, and their lengths: of `side` each, but for a first that is longer by `lead`, and the last. */
function parts(length: number, side: number, lead: number): [number, number][] {
  const starts = [0];
  const last = (Math.ceil(length / side) - 1) * side + lead;
  for (let at = side + lead; at <= last; at += side) if (at < length) starts.push(at);
  return starts.map((start, k) => [start, (starts[k + 1] ?? length) - start]);
}
