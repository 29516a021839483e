// Payloads of one tile, one for each level: the coder that decodes (docs/format.md, "Token payloads").
import { FormatError } from "./errors.js";
import type { Address, Scope } from "./heap.js";
import type { Kernels } from "./kernels.js";
import type { Model } from "./model.js";

const TABLES = 4608;
const FLAG_CLASSES = 96;
const DECODER_BYTES = 32;

/** Values of one level that are coded together, at n sites: places of each, with the same channels. */
export interface Group {
  /** Of the level's channels. */
  first: number;
  channels: number;
  sites: number;
  /** Of each site: 1 or 4. */
  places: number;
  /** What is predicted: sums, words of a row, and the first word of the group's. */
  sums: Address;
  pitch: number;
  start: number;
  /** What is added to it, or 0. */
  condition: Address;
  conditionPitch: number;
  /** Of each site and channel, in sixteenths, what predicted means are relative to; 0: nothing. */
  centres: Address;
  /** A byte for each site and place, whether it is coded; 0: all are. */
  coded: Address;
  /** A byte for each site, whether its block is overdue; 0: none is. */
  overdue: Address;
}

/** Reads a level's payload. */
export class LevelReader {
  private readonly decoder: Address;
  private readonly base: Address;
  private readonly offsets: Address;

  constructor(
    private readonly kernels: Kernels,
    private readonly model: Model,
    level: number,
    quality: number,
    payload: Uint8Array,
    private readonly scope: Scope,
  ) {
    const { exports } = kernels;
    const channels = level ? 9 : 3;
    const padded = new Uint8Array(Math.ceil(payload.length / 4) * 4);
    padded.set(payload);
    const data = scope.put(padded);
    this.decoder = scope.alloc(DECODER_BYTES);
    this.offsets = scope.alloc(4 * channels);
    const row = ((quality - 1) * 5 + level) * 9;
    this.base = scope.put(Int32Array.from(model.baseScales.subarray(row, row + channels)));
    exports.startDecoder(this.decoder, data, data + padded.length);
    exports.readOffsets(this.decoder, model.offsetTable, channels, this.offsets);
    this.check();
  }

  /** Block flags of a phase: two bytes a block. logits: eight words a block. coded: a byte for each, or 0. */
  flags(count: number, logits: Address, coded: Address, flags: Address): void {
    const { heap } = this.kernels;
    const [order, counts] = [heap.alloc(4 * count), heap.alloc(4 * (FLAG_CLASSES + 1))];
    const { flagTables } = this.model;
    this.kernels.call("readFlags", [this.decoder, flagTables, logits, count, coded, flags, order, counts]);
    heap.release(order, counts);
    this.check();
  }

  /** A group's values (places, channels, sites), int32. */
  values(group: Group, out: Address): void {
    const { heap } = this.kernels;
    const { sites, places, channels } = group;
    const [room, counts] = [heap.alloc(3 * 4 * sites * places * channels), heap.alloc(4 * TABLES)];
    this.kernels.call("readValues", [
      this.decoder,
      this.model.valueTables,
      this.model.bypass,
      sites,
      places,
      channels,
      group.sums,
      group.pitch,
      group.start,
      group.condition,
      group.conditionPitch,
      this.base + 4 * group.first,
      this.offsets + 4 * group.first,
      group.centres,
      group.coded,
      group.overdue,
      out,
      room,
      counts,
    ]);
    heap.release(room, counts);
    this.check();
  }

  /** Throws unless the payload ends where its last value does. */
  finish(): void {
    if (!this.kernels.exports.isFinished(this.decoder)) {
      throw new FormatError("token data do not end where the last value does");
    }
    this.scope.release();
  }

  private check(): void {
    if (this.kernels.heap.words(this.decoder, 8)[6]) throw new FormatError("token data are damaged");
  }
}
