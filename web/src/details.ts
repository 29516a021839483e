// A level's part of the context model's pass: block flags, features, luma, chroma.
import type { Address, Scope } from "./heap.js";
import { FLAG_INPUT, type Networks, PaddedMap, type Rows, type Source } from "./networks.js";
import type { LevelReader } from "./payloads.js";
import { PHASES, knownRectangles } from "./phases.js";

const FLAGGED = [1, 2];
const DENSE = [3, 4]; // where chroma has four phases of its own
const CHROMA = 3; // first channel
const LEAST = 8192; // places that a thread takes

/** A map that is filled in phases, and what each holds, for those that follow. */
class PhasedMap extends PaddedMap {
  readonly phases: PaddedMap[];

  constructor(scope: Scope, height: number, width: number, bytes: number, border: number) {
    super(scope, height, width, bytes, border);
    this.phases = [0, 1, 2].map(() => new PaddedMap(scope, height / 2, width / 2, bytes, 1));
  }

  /** What a phase sees of size x size neighbours. */
  known(phase: number, size: number): Source[] {
    return knownRectangles(phase, size).map((r) => this.phases[r.phase]!.rectangle(r.top, r.left, r.height, r.width));
  }
}

/** What is known before a level is read. */
export interface Before {
  /** Features of the coarser level at the blocks of this one, and their bytes. */
  inherited: Address;
  inheritedBytes: number;
  /** Planes (3, 2h, 2w), the level's low band in sixteenths. */
  low: Address;
  /** The coarser level's values (h, w, 9), or 0. */
  parent: Address;
}

/** Whether the token of a level's place, by row and column, is not erased. */
export type Received = (row: number, column: number) => number;

/** Reads a level's values. h, w: of its grid of blocks. received: null for all. */
export class DetailPass {
  private readonly contrast: PaddedMap;
  private readonly parent: PaddedMap | undefined;
  private readonly flags: PhasedMap | undefined;
  private readonly luma: PhasedMap;
  private readonly scope: Scope;

  constructor(
    private readonly networks: Networks,
    private readonly level: number,
    private readonly h: number,
    private readonly w: number,
    private readonly before: Before,
    private readonly reader: LevelReader,
    private readonly received: Received | null,
    /** (2h, 2w, 9) int32, zeros. */
    private readonly out: Address,
  ) {
    const { kernels, model } = networks;
    const scope = (this.scope = kernels.heap.scope());
    const difference = scope.alloc(4 * 3 * 4 * h * w);
    kernels.run("runDifference", 3 * 2 * h, [before.low, 2 * h, 2 * w, difference], LEAST / w);
    this.contrast = new PaddedMap(scope, h, w, 24, 1);
    const { at, zero } = model.sixteenths;
    kernels.run("runContrastMap", h, [difference, h, w, at, zero, this.contrast.data], LEAST / w);
    if (before.parent) {
      this.parent = new PaddedMap(scope, h, w, 18, 1);
      const values = model.values;
      kernels.run("runValueMap", h, [before.parent, w, 9, values.at, values.zero, this.parent.data], LEAST / w);
    }
    if (FLAGGED.includes(level)) this.flags = new PhasedMap(scope, h, w, 2, 1);
    this.luma = new PhasedMap(scope, 2 * h, 2 * w, 6, 2);
  }

  /** Reads all values. Gives what the next level inherits (2h, 2w, bytes), the caller's, if that is asked for. */
  run(inherit: boolean): { at: Address; bytes: number } | null {
    const { h, w, networks, scope } = this;
    const { heap } = networks.kernels;
    let chosen: Int32Array | null = null; // blocks that have features; null: all
    let luma: Int32Array | null = null; // of these, those with luma
    let chroma: Int32Array | null = null;
    if (this.flags) {
      this.readFlags();
      const flags = this.flagsOf(this.flags);
      const all = Int32Array.from({ length: h * w }, (_, block) => block);
      // only at level 1: the next level would inherit the features of every block
      if (this.level === 1) chosen = all.filter((block) => flags[2 * block]! | flags[2 * block + 1]!);
      const numbers = chosen ?? all;
      const own = (part: number) => Int32Array.from(numbers.keys()).filter((n) => flags[2 * numbers[n]! + part]!);
      [luma, chroma] = [own(0), own(1)];
    }
    if (chosen && !chosen.length) {
      scope.release();
      return null;
    }
    const count = chosen ? chosen.length : h * w;
    const featured: Rows = {
      count,
      blocks: chosen ? scope.put(chosen) : 0,
      gridWidth: w,
      features: this.before.inherited,
      featureBytes: this.before.inheritedBytes,
      chosen: 1,
      sources: [...this.before3x3(), ...this.flags3x3()],
    };
    const name = `level${this.level}.features`;
    const features = networks.run(name, featured, { sums: false, hidden: true }).hidden;
    const featureBytes = networks.model.network(name).enter.outputs;
    const of = (numbers: Int32Array | null): Rows => ({
      count: numbers ? numbers.length : count,
      blocks: numbers ? scope.put(chosen ? numbers.map((n) => chosen[n]!) : numbers) : 0,
      gridWidth: w,
      features,
      featureBytes,
      chosen: numbers ? scope.put(numbers) : 0,
      sources: [],
    });
    this.readPhases("luma", of(luma), 0, this.luma, 5, null);
    if (DENSE.includes(this.level)) {
      const decoded = new PhasedMap(scope, 2 * h, 2 * w, 12, 1);
      this.readPhases("chroma", of(chroma), CHROMA, decoded, 3, this.luma);
    } else {
      this.readChroma(of(chroma));
    }
    const inherited = inherit ? this.inherit(features, featureBytes) : null;
    heap.release(features);
    scope.release();
    return inherited;
  }

  private flagsOf(flags: PhasedMap): Uint8Array {
    const { h, w } = this;
    const map = this.networks.kernels.heap.bytes(flags.data, flags.pitch * (h + 2) * 2);
    const out = new Uint8Array(2 * h * w);
    for (let y = 0; y < h; y++) {
      const from = ((y + 1) * flags.pitch + 1) * 2;
      out.set(map.subarray(from, from + 2 * w), y * w * 2);
    }
    return out;
  }

  /** What is known of blocks before the level, beside their features. */
  private before3x3(step = 1, i = 0, j = 0): Source[] {
    return [this.contrast, ...(this.parent ? [this.parent] : [])].map((map) => map.around(3, step, i, j));
  }

  private flags3x3(): Source[] {
    return this.flags ? [this.flags.around(3)] : [];
  }

  private readFlags(): void {
    const { h, w, networks, before, received } = this;
    const { heap } = networks.kernels;
    const map = this.flags!;
    const [rows, columns] = [h / 2, w / 2];
    const count = rows * columns;
    PHASES.forEach(([i, j], k) => {
      const scope = heap.scope();
      const { inherited, inheritedBytes: bytes } = before;
      const own: Source = { map: inherited, pitch: w, bytes, step: 2, top: i, left: j, height: 1, width: 1 };
      const sources = [own, ...this.before3x3(2, i, j), ...map.known(k, 5)];
      const inputs: Rows = { count, blocks: 0, gridWidth: columns, features: 0, featureBytes: 0, chosen: 0, sources };
      const { sums } = networks.run(`level${this.level}.flags.${k}`, inputs, { sums: true, hidden: false });
      const flags = scope.alloc(2 * count);
      const of = (_: unknown, n: number) => received!(4 * Math.floor(n / columns) + 2 * i, 4 * (n % columns) + 2 * j);
      const coded = received ? scope.put(Uint8Array.from({ length: count }, of)) : 0;
      this.reader.flags(count, sums, coded, flags);
      heap.release(sums);
      const found = heap.bytes(flags, 2 * count);
      const phase = map.phases[k];
      const whole = heap.bytes(map.data, map.pitch * (h + 2) * 2);
      const part = phase && heap.bytes(phase.data, phase.pitch * (rows + 2) * 2);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          const n = 2 * (y * columns + x);
          const to = ((2 * y + i + 1) * map.pitch + 2 * x + j + 1) * 2;
          whole[to] = found[n]! * FLAG_INPUT;
          whole[to + 1] = found[n + 1]! * FLAG_INPUT;
          if (!part) continue;
          const at = ((y + 1) * phase.pitch + x + 1) * 2;
          part[at] = found[n]! * FLAG_INPUT;
          part[at + 1] = found[n + 1]! * FLAG_INPUT;
        }
      }
      scope.release();
    });
  }

  /** Groups of channels that are coded together: one after another where a model conditions them on those before. */
  private groups(isLuma: boolean): number[] {
    const conditional = this.networks.model.config.context.conditional > 0;
    return isLuma ? (conditional ? [1, 1, 1] : [3]) : conditional ? [3, 3] : [6];
  }

  /** Four phases of one part's values. decoded: their map, to be filled; other: what is decoded already. */
  private readPhases(
    part: string,
    rows: Rows,
    first: number,
    decoded: PhasedMap,
    size: number,
    other: PaddedMap | null,
  ): void {
    const { networks, scope, w } = this;
    const { kernels, model } = networks;
    const { count } = rows;
    const empty = scope.alloc(count);
    kernels.heap.bytes(empty, count).fill(FLAG_INPUT);
    const { at, zero } = model.values;
    const groups = this.groups(part === "luma");
    const { blocks } = rows;
    PHASES.forEach(([i, j], k) => {
      const sources = decoded.known(k, size);
      if (other) sources.push(other.around(size, 2, i, j));
      sources.push(...this.flags3x3());
      const overdue = this.flags !== undefined && k === PHASES.length - 1;
      const map = decoded.phases[k]?.data ?? 0;
      const head = `level${this.level}.${part}.${k}`;
      networks.code(
        head, { ...rows, sources }, this.reader, first, groups, 1, this.codedOf(count, i, j), 0, empty, overdue,
        (values, channel, channels) => {
          const to = [values, count, 1, channels, channel, blocks, w, i, j, this.out];
          kernels.run("runScatter", count, to, LEAST);
          const bytes = decoded.bytes;
          const offset = 2 * (channel - first);
          const words = [values, count, channels, blocks, w, i, j, at, zero, decoded.data, decoded.border, map, bytes, offset];
          kernels.run("runPut", count, words, LEAST);
        },
      );
    });
  }

  /** Which blocks' values of a phase are coded, a byte each; 0 for all. */
  private codedOf(count: number, i: number, j: number): Address {
    const { received, w } = this;
    // blocks of erased tokens are not flagged, so that they are no rows where there are flags
    if (!received || this.flags) return 0;
    const of = (_: unknown, n: number) => received(2 * Math.floor(n / w) + i, 2 * (n % w) + j);
    return this.scope.put(Uint8Array.from({ length: count }, of));
  }

  /** All four positions of each block at once. */
  private readChroma(rows: Rows): void {
    const { networks, scope, h, w } = this;
    const { kernels } = networks;
    const luma = new PaddedMap(scope, h, w, 24, 1);
    kernels.run("runBlockMap", h, [this.luma.data, this.luma.border, h, w, 6, luma.data], LEAST / w);
    const sources = [luma.around(3), ...this.flags3x3()];
    const head = `level${this.level}.chroma`;
    networks.code(
      head, { ...rows, sources }, this.reader, CHROMA, this.groups(false), 4, 0, 0, 0, false,
      (values, channel, channels) => {
        const to = [values, rows.count, 4, channels, channel, rows.blocks, w, 0, 0, this.out];
        kernels.run("runScatter", rows.count, to, LEAST);
      },
    );
  }

  private inherit(features: Address, bytes: number): { at: Address; bytes: number } {
    const { networks, h, w } = this;
    const { kernels, model } = networks;
    const name = `level${this.level}.up`;
    const rows: Rows = {
      count: h * w, blocks: 0, gridWidth: w, features, featureBytes: bytes, chosen: 0, sources: [],
    };
    const up = networks.run(name, rows, { sums: false, hidden: true }).hidden;
    const each = model.network(name).enter.outputs / 4;
    const at = kernels.heap.alloc(4 * h * w * each);
    kernels.run("runInherit", h, [up, w, each, at], LEAST / w);
    kernels.heap.release(up);
    return { at, bytes: each };
  }
}
