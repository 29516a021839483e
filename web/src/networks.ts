// The context model's networks on rows, and heads that code their groups of channels one after another.
import type { Address, Scope } from "./heap.js";
import type { Kernels } from "./kernels.js";
import type { Layer } from "./layers.js";
import type { Model } from "./model.js";
import type { LevelReader } from "./payloads.js";

/** Of a map of bytes, the same rectangle around places: (step y + top, step x + left) of a block (y, x). */
export interface Source {
  map: Address;
  /** Places in a row of the map, with its border. */
  pitch: number;
  /** Bytes of a place. */
  bytes: number;
  step: number;
  top: number;
  left: number;
  height: number;
  width: number;
}

/** A network's inputs at n rows. */
export interface Rows {
  count: number;
  /** Indices into the grid of blocks, int32; 0: row n is block n. */
  blocks: Address;
  gridWidth: number;
  features: Address;
  featureBytes: number;
  /** Which of the features a row has: of its own number, of its block's, or an address of indices. */
  chosen: 0 | 1 | Address;
  sources: readonly Source[];
  more?: Address;
  moreBytes?: number;
  morePitch?: number;
}

export const FLAG_INPUT = 64;
const LEAST_ROWS = 128; // that a thread takes

/** A map of bytes with zeros around it. */
export class PaddedMap {
  readonly data: Address;
  readonly pitch: number;

  constructor(
    scope: Scope,
    readonly height: number,
    readonly width: number,
    readonly bytes: number,
    readonly border: number,
  ) {
    this.pitch = width + 2 * border;
    this.data = scope.zeros(this.pitch * (height + 2 * border) * bytes);
  }

  /** The size x size neighbourhoods of places (step y + i, step x + j). */
  around(size: number, step = 1, i = 0, j = 0): Source {
    return this.rectangle(i - (size >> 1), j - (size >> 1), size, size, step);
  }

  rectangle(top: number, left: number, height: number, width: number, step = 1): Source {
    const { data: map, pitch, bytes, border } = this;
    return { map, pitch, bytes, step, top: top + border, left: left + border, height, width };
  }
}

export class Networks {
  constructor(
    readonly kernels: Kernels,
    readonly model: Model,
  ) {}

  /** Words of a row of a network's sums. */
  pitch(leave: Layer): number {
    return Math.ceil(leave.outputs / 8) * 8;
  }

  /** Runs a network; what it gives is the caller's. sums: 0 if it has none; hidden: 0 if not wanted. */
  run(name: string, rows: Rows, wanted: { sums: boolean; hidden: boolean }): { sums: Address; hidden: Address } {
    const { heap } = this.kernels;
    const { enter, residuals, layers, leave } = this.model.network(name);
    const words = rows.sources.flatMap((s) => [s.map, s.pitch, s.bytes, s.step, s.top, s.left, s.height, s.width]);
    const sources = heap.put(Int32Array.from(words));
    const bytes = rows.sources.reduce(
      (sum, s) => sum + s.height * s.width * s.bytes,
      rows.featureBytes + (rows.moreBytes ?? 0),
    );
    if (bytes !== enter.inputs) throw new Error(`network ${name} takes ${enter.inputs} bytes, not ${bytes}`);
    const sums = wanted.sums && leave ? heap.alloc(4 * rows.count * this.pitch(leave)) : 0;
    const hidden = wanted.hidden ? heap.alloc(rows.count * enter.outputs) : 0;
    this.kernels.run(
      "runRows",
      rows.count,
      [
        rows.blocks,
        rows.gridWidth,
        rows.features,
        rows.featureBytes,
        rows.chosen,
        rows.sources.length,
        sources,
        bytes,
        rows.more ?? 0,
        rows.moreBytes ?? 0,
        enter.at,
        residuals,
        layers,
        leave?.at ?? 0,
        sums,
        hidden,
        rows.morePitch ?? rows.moreBytes ?? 0,
      ],
      LEAST_ROWS,
    );
    heap.release(sources);
    return { sums, hidden };
  }

  /**
   * Runs a head and codes its groups of channels one after another.
   *
   * first: the level's channel that it begins with. empty: bytes of FLAG_INPUT where a block has nothing but zeros so far,
   * kept up to date; overdue: whether groups behind the first have overdue blocks. put: takes each group's values.
   */
  code(
    head: string,
    rows: Rows,
    reader: LevelReader,
    first: number,
    groups: readonly number[],
    places: number,
    coded: Address,
    centres: Address,
    empty: Address,
    overdue: boolean,
    put: (values: Address, first: number, channels: number) => void,
  ): void {
    const { kernels, model } = this;
    const { heap } = kernels;
    const { count } = rows;
    if (!count) return;
    const { enter, leave } = model.network(head);
    const { sums, hidden } = this.run(head, rows, { sums: true, hidden: groups.length > 1 });
    const scope = heap.scope();
    const morePitch = 2 * places * groups.reduce((a, b) => a + b) + 1;
    const more = groups.length > 1 ? scope.alloc(count * morePitch) : 0;
    const values = scope.alloc(4 * count * places * Math.max(...groups));
    let start = 0;
    let known = 0; // bytes of earlier groups' values
    groups.forEach((channels, k) => {
      let condition = { sums: 0, hidden: 0 };
      let conditionPitch = 0;
      const late = overdue && k > 0;
      if (k) {
        const name = `${head}.condition.${k}`;
        const own: Rows = {
          count,
          blocks: 0,
          gridWidth: 1,
          features: hidden,
          featureBytes: enter.outputs,
          chosen: 0,
          sources: [],
          more,
          moreBytes: known + (late ? 1 : 0),
          morePitch,
        };
        condition = this.run(name, own, { sums: true, hidden: false });
        conditionPitch = this.pitch(model.network(name).leave!);
      }
      const group = {
        first: first + start,
        channels,
        sites: count,
        places,
        sums,
        pitch: this.pitch(leave!),
        start: 3 * places * start,
        condition: condition.sums,
        conditionPitch,
        centres,
        coded,
        overdue: late ? empty : 0,
      };
      reader.values(group, values);
      if (condition.sums) heap.release(condition.sums);
      const m = places * channels;
      if (empty) kernels.run("runStillEmpty", count, [values, count, m, empty]);
      if (k + 1 < groups.length) {
        const { at, zero } = model.values;
        const flags = overdue ? empty : 0;
        kernels.run("runMore", count, [values, count, m, at, zero, more, morePitch, known, flags], 1024);
      }
      put(values, first + start, channels);
      known += 2 * m;
      start += channels;
    });
    scope.release();
    heap.release(sums, hidden);
  }
}
