// The range decoder (that of constriction 0.5, 32-bit words and a state of 64 bits), and what it reads of a group.
import { word } from "./memory";

const PRECISION: i32 = 24;
const TOTAL: u32 = 1 << PRECISION;

// A decoder's state: range (u64), what is left of the point above the lower end (u64), next word (address), end of the
// words, and whether the data are damaged
const RANGE: usize = 0;
const POINT: usize = 8;
const NEXT: usize = 16;
const END: usize = 20;
const DAMAGED: usize = 24;

// Tables: each has 65 cumulated frequencies (u32) and the number of symbols before them
const TABLE: i32 = 4 + 4 * 65;
const FLAG_TABLE: i32 = 4 + 4 * 3;

const LARGEST_RESIDUAL: i32 = 1 << 20;
const COEFFICIENT_LIMIT: i32 = 1 << 15;
const MEAN_LIMIT: i32 = 8 << 15;
const MEANS: i32 = 24;
const SCALES: i32 = 64;
const TABLES: i32 = 3 * MEANS * SCALES;
const NARROW_SCALES: i32 = 20;
const FLAG_CLASSES: i32 = 96;
const ESCAPE_BITS: u32 = 20;

// @ts-ignore: decorator
@inline
function nextWord(d: usize): u64 {
  const next = load<u32>(d, NEXT);
  if (next >= load<u32>(d, END)) return 0;
  store<u32>(d, next + 4, NEXT);
  return <u64>bswap<u32>(load<u32>(next));
}

/** Begins to read words from `data` to `end`, both multiples of four. */
export function startDecoder(d: usize, data: usize, end: usize): void {
  store<u32>(d, <u32>data, NEXT);
  store<u32>(d, <u32>end, END);
  store<u32>(d, 0, DAMAGED);
  store<u64>(d, u64.MAX_VALUE, RANGE);
  const first = nextWord(d);
  store<u64>(d, (first << 32) | nextWord(d), POINT);
}

/** Whether the data end here, and were not damaged. */
export function isFinished(d: usize): bool {
  const atEnd = load<u32>(d, NEXT) >= load<u32>(d, END);
  const near = load<u64>(d, RANGE) == u64.MAX_VALUE || load<u64>(d, POINT) < 0x1ffffffff;
  return atEnd && near && !load<u32>(d, DAMAGED);
}

// @ts-ignore: decorator
@inline
function quantile(d: usize, scale: u64): u32 {
  const found = load<u64>(d, POINT) / scale;
  if (found >= <u64>TOTAL) {
    store<u32>(d, 1, DAMAGED);
    return 0;
  }
  return <u32>found;
}

// @ts-ignore: decorator
@inline
function advance(d: usize, scale: u64, below: u32, probability: u32): void {
  let point = load<u64>(d, POINT) - scale * <u64>below;
  let range = scale * <u64>probability;
  if (range < (<u64>1 << 32)) {
    range <<= 32;
    point = (point << 32) | nextWord(d);
  }
  store<u64>(d, range, RANGE);
  store<u64>(d, point, POINT);
}

/** A symbol of a table. */
// @ts-ignore: decorator
@inline
function readSymbol(d: usize, table: usize): i32 {
  const scale = load<u64>(d, RANGE) >> PRECISION;
  const q = quantile(d, scale);
  let low = 0;
  let high = load<i32>(table);
  const cumulated = table + 4;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (load<u32>(cumulated + (middle << 2)) <= q) low = middle;
    else high = middle;
  }
  const below = load<u32>(cumulated + (low << 2));
  advance(d, scale, below, load<u32>(cumulated + (low << 2), 4) - below);
  return low;
}

/** One of 0 to size - 1, which are equally probable. */
// @ts-ignore: decorator
@inline
function readUniform(d: usize, size: u32): i32 {
  const scale = load<u64>(d, RANGE) >> PRECISION;
  const q = quantile(d, scale);
  const each = TOTAL / size;
  const symbol = min(q / each, size - 1);
  const below = symbol * each;
  advance(d, scale, below, symbol == size - 1 ? TOTAL - below : each);
  return <i32>symbol;
}

/** A table out of frequencies (u16), as constriction makes it: in float32, every symbol with at least one part. */
export function makeTable(frequencies: usize, count: i32, table: usize): void {
  let sum: f32 = 0;
  for (let k = 0; k < count; k++) sum += <f32>load<u16>(frequencies + (k << 1));
  const scale = <f32>(TOTAL - <u32>count) / sum;
  let cumulated: f32 = 0;
  store<i32>(table, count);
  for (let k = 0; k < count; k++) {
    store<u32>(table + (k << 2), <u32>(cumulated * scale) + k, 4);
    cumulated += <f32>load<u16>(frequencies + (k << 1));
  }
  store<u32>(table + (count << 2), TOTAL, 4);
}

/** The scale offsets at a payload's begin: to `offsets`, an int32 for each channel, in quarters of an index. */
export function readOffsets(d: usize, table: usize, channels: i32, offsets: usize): void {
  const given = readUniform(d, 2);
  for (let c = 0; c < channels; c++) {
    store<i32>(offsets + (c << 2), given ? 2 * (readSymbol(d, table) - 4) : 0);
  }
}

/**
 * Block flags of a phase. d: decoder, tables, logits (int32, eight words a block), number of blocks, coded (a byte for
 * each block, or 0 for all), flags (two bytes a block), order (room for an int32 a block).
 */
export function readFlags(d: usize): void {
  const decoder = <usize>word(d, 0);
  const tables = <usize>word(d, 1);
  const logits = <usize>word(d, 2);
  const count = word(d, 3);
  const coded = <usize>word(d, 4);
  const flags = <usize>word(d, 5);
  const order = <usize>word(d, 6);
  const counts = <usize>word(d, 7); // room for FLAG_CLASSES + 1 int32
  for (let part = 0; part < 2; part++) {
    memory.fill(counts, 0, (FLAG_CLASSES + 1) << 2);
    for (let pass = 0; pass < 2; pass++) {
      for (let n = 0; n < count; n++) {
        if (coded && !load<u8>(coded + n)) {
          store<u8>(flags + 2 * n + part, 0);
          continue;
        }
        const k = part == 0 ? 0 : load<u8>(flags + 2 * n) ? 2 : 1;
        const logit = load<i32>(logits + ((8 * n + k) << 2));
        const at = counts + (min(max(logit, -48), 47) + 48) * 4;
        const before = load<i32>(at);
        if (pass) store<i32>(order + (before << 2), n);
        store<i32>(at, before + 1);
      }
      if (pass == 0) {
        let sum = 0;
        for (let k = 0; k < FLAG_CLASSES; k++) {
          const own = load<i32>(counts + (k << 2));
          store<i32>(counts + (k << 2), sum);
          sum += own;
        }
      }
    }
    let at = 0;
    for (let k = 0; k < FLAG_CLASSES; k++) {
      const end = load<i32>(counts + (k << 2));
      for (; at < end; at++) {
        const n = load<i32>(order + (at << 2));
        store<u8>(flags + 2 * n + part, <u8>readSymbol(decoder, tables + k * FLAG_TABLE));
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function scaleIndex(r: i32): i32 {
  return min(max((r + 2) >> 2, 0), SCALES - 1);
}

// @ts-ignore: decorator
@inline
function coarseness(index: i32): i32 {
  return index < 16 ? 0 : index < 21 ? 1 : index < 25 ? 2 : 3;
}

// @ts-ignore: decorator
@inline
function largest(table: i32): i32 {
  return (table & (SCALES - 1)) < NARROW_SCALES ? 7 : 31;
}

/**
 * The values of a group. d: decoder, tables, bypass bits of each scale index (bytes), number of sites, places of each,
 * channels of each, sums (int32), words of a row of them, the group's first word, sums of its condition or 0, words of
 * a row of them, base scales and scale offsets of the channels (int32), centres (int32, channels of each site, or 0),
 * coded (a byte for each site and place, or 0 for all), overdue (a byte for each site, or 0), out (int32: places, then
 * channels, then sites), room for three int32 a value, room for 4608 int32.
 */
export function readValues(d: usize): void {
  const decoder = <usize>word(d, 0);
  const tables = <usize>word(d, 1);
  const bypass = <usize>word(d, 2);
  const sites = word(d, 3);
  const places = word(d, 4);
  const channels = word(d, 5);
  const pitch = word(d, 7);
  const conditions = <usize>word(d, 9);
  const conditionPitch = word(d, 10);
  const centres = <usize>word(d, 13);
  const coded = <usize>word(d, 14);
  const overdue = <usize>word(d, 15);
  const out = <usize>word(d, 16);
  const keys = <usize>word(d, 17);
  const counts = <usize>word(d, 18);
  const group = places * channels;
  const count = group * sites;
  const order = keys + (count << 2);
  const high = order + (count << 2);

  // what is predicted: the table, and in `out` the shift, with its lowest bit for whether values are mirrored
  memory.fill(counts, 0, TABLES << 2);
  for (let m = 0; m < group; m++) {
    const channel = m % channels;
    const base = load<i32>(word(d, 11) + (channel << 2));
    const offset = load<i32>(word(d, 12) + (channel << 2));
    let at = <usize>word(d, 6) + ((word(d, 8) + m) << 2);
    let also = conditions + (m << 2);
    for (let n = 0; n < sites; n++) {
      let mean = load<i32>(at);
      let scale = load<i32>(at + (group << 2));
      let shape = load<i32>(at + (group << 3));
      if (conditions) {
        mean += load<i32>(also);
        scale += load<i32>(also + (group << 2));
        shape += load<i32>(also + (group << 3));
        also += conditionPitch << 2;
      }
      at += pitch << 2;
      if (centres) mean += load<i32>(centres + ((n * channels + channel) << 2)) >> 1;
      scale += base;
      const index = scaleIndex(scale);
      const c = coarseness(index);
      const a = (min(abs(mean), MEAN_LIMIT) + ((1 << c) >> 1)) & -(1 << c);
      const shift = max((a >> 3) - 1, 0);
      const meanClass = a - 8 * max(shift - 1, 0);
      const key = (min(max(shape + 1, 0), 2) * MEANS + meanClass) * SCALES + scaleIndex(scale + offset);
      const i = m * sites + n;
      store<i32>(out + (i << 2), (shift << 1) | (mean < 0 ? 1 : 0));
      if (coded && !load<u8>(coded + n * places + m / channels)) {
        store<i32>(keys + (i << 2), -1);
      } else {
        store<i32>(keys + (i << 2), key);
        store<i32>(counts + (key << 2), load<i32>(counts + (key << 2)) + 1);
      }
    }
  }

  // the order of coding: that of the tables
  let sum = 0;
  for (let k = 0; k < TABLES; k++) {
    const own = load<i32>(counts + (k << 2));
    store<i32>(counts + (k << 2), sum);
    sum += own;
  }
  for (let i = 0; i < count; i++) {
    const key = load<i32>(keys + (i << 2));
    if (key < 0) continue;
    const at = load<i32>(counts + (key << 2));
    store<i32>(counts + (key << 2), at + 1);
    store<i32>(order + (at << 2), i);
  }
  const total = sum;

  // table symbols
  let at = 0;
  let escapes = 0;
  for (let k = 0; k < TABLES && at < total; k++) {
    const end = load<i32>(counts + (k << 2));
    const top = largest(k);
    for (; at < end; at++) {
      const symbol = readSymbol(decoder, tables + k * TABLE) - top;
      if (symbol > top) escapes++;
      store<i32>(high + (at << 2), symbol);
    }
  }
  if (escapes) readEscapes(decoder, keys, order, high, total);
  readBypass(decoder, bypass, keys, order, high, counts, total);

  for (let i = 0; i < count; i++) {
    if (load<i32>(keys + (i << 2)) < 0) store<i32>(out + (i << 2), restored(load<i32>(out + (i << 2)), 0));
  }
  for (let k = 0; k < total; k++) {
    const i = load<i32>(order + (k << 2));
    store<i32>(out + (i << 2), restored(load<i32>(out + (i << 2)), load<i32>(high + (k << 2))));
  }
  if (overdue) {
    for (let m = 0; m < group; m++) {
      for (let n = 0; n < sites; n++) {
        if (!load<u8>(overdue + n)) continue;
        const place = out + ((m * sites + n) << 2);
        const q = load<i32>(place);
        if (q == 0 || q == 1) store<i32>(place, q + 1);
        else if (q == 2) store<i32>(place, 0);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function restored(predicted: i32, residual: i32): i32 {
  const value = residual + (predicted >> 1);
  return min(max(predicted & 1 ? -value : value, -COEFFICIENT_LIMIT), COEFFICIENT_LIMIT);
}

/** Signs of all escapes, then their lengths, then what is below the first digit, the shortest first. */
function readEscapes(decoder: usize, keys: usize, order: usize, high: usize, total: i32): void {
  // an escape is kept as 2^30 + its sign + 2 its length until it is read
  const mark = 1 << 30;
  for (let k = 0; k < total; k++) {
    const top = largest(load<i32>(keys + (load<i32>(order + (k << 2)) << 2)));
    if (load<i32>(high + (k << 2)) > top) store<i32>(high + (k << 2), mark | readUniform(decoder, 2));
  }
  for (let k = 0; k < total; k++) {
    const found = load<i32>(high + (k << 2));
    if (found >= mark) store<i32>(high + (k << 2), found | ((readUniform(decoder, ESCAPE_BITS) + 1) << 1));
  }
  for (let length = 1; length <= <i32>ESCAPE_BITS; length++) {
    for (let k = 0; k < total; k++) {
      const found = load<i32>(high + (k << 2));
      if (found < mark || ((found >> 1) & 31) != length) continue;
      const top = largest(load<i32>(keys + (load<i32>(order + (k << 2)) << 2)));
      const bits = length - 1;
      const magnitude = top + (1 << bits) + (bits ? readUniform(decoder, 1 << bits) : 0);
      store<i32>(high + (k << 2), found & 1 ? -magnitude : magnitude);
    }
  }
}

/** The lowest bits of values of large scale, those of the values with the fewest bits first. */
function readBypass(d: usize, bypass: usize, keys: usize, order: usize, high: usize, counts: usize, total: i32): void {
  let most = 0;
  let at = 0;
  for (let k = 0; k < TABLES && at < total; k++) {
    const end = load<i32>(counts + (k << 2));
    if (end > at) most = max(most, <i32>load<u8>(bypass + (k & (SCALES - 1))));
    at = end;
  }
  for (let bits = 1; bits <= most; bits++) {
    for (let k = 0; k < total; k++) {
      const index = load<i32>(keys + (load<i32>(order + (k << 2)) << 2)) & (SCALES - 1);
      if (<i32>load<u8>(bypass + index) != bits) continue;
      const found = load<i32>(high + (k << 2));
      const value = (<i64>found << bits) + <i64>(readUniform(d, 1 << bits) - ((1 << bits) >> 1));
      store<i32>(high + (k << 2), <i32>min(max(value, <i64>-LARGEST_RESIDUAL), <i64>LARGEST_RESIDUAL));
    }
  }
}
