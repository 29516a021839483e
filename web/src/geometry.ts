import { UsageError } from "./errors.js";

/** Levels of details; level 0 is the low band. */
export const LEVELS = 4;
/** Pixels along a side of a site. */
export const SITE = 16;
const PAD = 32;

/** A rectangle of sites. */
export class Area {
  constructor(
    readonly y: number,
    readonly x: number,
    readonly h: number,
    readonly w: number,
  ) {}

  get isEmpty(): boolean {
    return this.h <= 0 || this.w <= 0;
  }

  overlap(other: Area): Area {
    const y = Math.max(this.y, other.y);
    const x = Math.max(this.x, other.x);
    return new Area(
      y,
      x,
      Math.min(this.y + this.h, other.y + other.h) - y,
      Math.min(this.x + this.w, other.x + other.w) - x,
    );
  }

  /** With a margin on all sides, as far as `whole` reaches. */
  grown(margin: number, whole: Area): Area {
    return new Area(this.y - margin, this.x - margin, this.h + 2 * margin, this.w + 2 * margin).overlap(whole);
  }

  /** The smallest area around this one that begins and ends at multiples of `unit`, or where `whole` ends. */
  aligned(unit: number, whole: Area): Area {
    const y = Math.floor(this.y / unit) * unit;
    const x = Math.floor(this.x / unit) * unit;
    const bottom = Math.ceil((this.y + this.h) / unit) * unit;
    const right = Math.ceil((this.x + this.w) / unit) * unit;
    return new Area(y, x, bottom - y, right - x).overlap(whole);
  }

  /** The same area, counted from the corner of another. */
  within(outer: Area): Area {
    return new Area(this.y - outer.y, this.x - outer.x, this.h, this.w);
  }
}

/** A rectangle of pixels. */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The part of a region that lies in a picture of that size. */
export function clipped(region: Region, width: number, height: number): Region {
  const x = Math.max(region.x, 0);
  const y = Math.max(region.y, 0);
  const right = Math.min(region.x + region.width, width);
  const bottom = Math.min(region.y + region.height, height);
  if (!(right > x && bottom > y)) {
    const { x, y, width: w, height: h } = region;
    throw new UsageError(`region ${x},${y},${w},${h} lies outside the picture of ${width}x${height} pixels`);
  }
  return { x, y, width: right - x, height: bottom - y };
}

/** The pixels of the picture halved `reduce` times that show a region. */
export function reducedRegion({ x, y, width, height }: Region, reduce: number): Region {
  const left = x >> reduce;
  const top = y >> reduce;
  const n = 2 ** reduce;
  return {
    x: left,
    y: top,
    width: Math.ceil((x + width) / n) - left,
    height: Math.ceil((y + height) / n) - top,
  };
}

/** A picture of width x height pixels in square tiles of `tile` pixels, numbered in raster order. */
export class TileGrid {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  /** All sites of the padded picture. */
  readonly whole: Area;

  constructor(
    readonly width: number,
    readonly height: number,
    readonly tile: number,
  ) {
    this.rows = Math.ceil(height / tile);
    this.columns = Math.ceil(width / tile);
    this.count = this.rows * this.columns;
    const sites = (n: number) => (Math.ceil(n / PAD) * PAD) / SITE;
    this.whole = new Area(0, 0, sites(height), sites(width));
  }

  /** The sites of a tile. */
  area(index: number): Area {
    const side = this.tile / SITE;
    const row = Math.floor(index / this.columns);
    const column = index % this.columns;
    return new Area(row * side, column * side, side, side).overlap(this.whole);
  }

  /** The tiles that an area touches, in raster order. */
  under(area: Area): number[] {
    const side = this.tile / SITE;
    const found: number[] = [];
    for (let row = Math.floor(area.y / side); row < Math.ceil((area.y + area.h) / side); row++) {
      for (let column = Math.floor(area.x / side); column < Math.ceil((area.x + area.w) / side); column++) {
        found.push(row * this.columns + column);
      }
    }
    return found;
  }

  /** The sites that a region touches. */
  touched({ x, y, width, height }: Region): Area {
    const top = Math.floor(y / SITE);
    const left = Math.floor(x / SITE);
    const bottom = Math.ceil((y + height) / SITE);
    const right = Math.ceil((x + width) / SITE);
    return new Area(top, left, bottom - top, right - left).overlap(this.whole);
  }

  /** The pixels of the picture that a tile holds. */
  place(index: number): Region {
    const { y, x, h, w } = this.area(index);
    return clipped({ x: x * SITE, y: y * SITE, width: w * SITE, height: h * SITE }, this.width, this.height);
  }
}
