// How decoded integers enter the context model's networks: maps of bytes (docs/format.md, "The context model's inputs").
import { word } from "./memory";

// A look-up table: pairs of bytes for numbers from -zero to zero; larger ones enter as these
// @ts-ignore: decorator
@inline
function pairOf(table: usize, zero: i32, x: i32): u16 {
  return load<u16>(table + (min(max(x + zero, 0), 2 * zero) << 1));
}

/**
 * The contrast of a level's low band at blocks of 2x2 places, 24 bytes each, rows `start` to `end` of blocks.
 * d: contrast (3, 2h, 2w), h, w, table of sixteenths, its zero, map with a border of one.
 */
export function runContrastMap(start: i32, end: i32, d: usize): void {
  const planes = <usize>word(d, 0);
  const h = word(d, 1);
  const w = word(d, 2);
  const table = <usize>word(d, 3);
  const zero = word(d, 4);
  for (let y = start; y < end; y++) {
    let to = <usize>word(d, 5) + ((y + 1) * (w + 2) + 1) * 24;
    for (let x = 0; x < w; x++) {
      for (let place = 0; place < 4; place++) {
        const at = (2 * y + (place >> 1)) * 2 * w + 2 * x + (place & 1);
        for (let c = 0; c < 3; c++) {
          store<u16>(to, pairOf(table, zero, load<i32>(planes + (c * 4 * h * w + at) * 4)));
          to += 2;
        }
      }
    }
  }
}

/** Values (h, w, channels) as pairs in a map with a border of one. d: values, w, channels, table, its zero, map. */
export function runValueMap(start: i32, end: i32, d: usize): void {
  const w = word(d, 1);
  const channels = word(d, 2);
  const table = <usize>word(d, 3);
  const zero = word(d, 4);
  const n = w * channels;
  for (let y = start; y < end; y++) {
    const from = <usize>word(d, 0) + y * n * 4;
    const to = <usize>word(d, 5) + ((y + 1) * (w + 2) + 1) * channels * 2;
    for (let k = 0; k < n; k++) store<u16>(to + (k << 1), pairOf(table, zero, load<i32>(from + (k << 2))));
  }
}

/**
 * Writes a group's values where they belong, sites `start` to `end`. d: values (places, channels, sites), sites, places
 * (1 or 4), channels, first channel, blocks (int32 indices, 0: all), width of the grid of blocks, row and column in the
 * block, values of the level (2h, 2w, 9).
 */
export function runScatter(start: i32, end: i32, d: usize): void {
  const sites = word(d, 1);
  const places = word(d, 2);
  const channels = word(d, 3);
  const blocks = <usize>word(d, 5);
  const width = word(d, 6);
  for (let n = start; n < end; n++) {
    const block = blocks ? load<i32>(blocks + (n << 2)) : n;
    const y = block / width;
    const x = block - y * width;
    for (let p = 0; p < places; p++) {
      const row = 2 * y + (places == 4 ? p >> 1 : word(d, 7));
      const column = 2 * x + (places == 4 ? p & 1 : word(d, 8));
      const to = <usize>word(d, 9) + ((row * 2 * width + column) * 9 + word(d, 4)) * 4;
      for (let c = 0; c < channels; c++) {
        store<i32>(to + (c << 2), load<i32>(word(d, 0) + ((p * channels + c) * sites + n) * 4));
      }
    }
  }
}

/**
 * Values as pairs of bytes at the sites' places in a map, and in the map of their phase. d: values (channels, sites),
 * sites, channels, blocks or 0, width of the grid of blocks, row and column in the block, table, its zero, map with
 * (2h, 2w) places, its border, map of the phase with a border of one (0: none), bytes of a place, first byte of these
 * values.
 */
export function runPut(start: i32, end: i32, d: usize): void {
  const sites = word(d, 1);
  const channels = word(d, 2);
  const blocks = <usize>word(d, 3);
  const width = word(d, 4);
  const table = <usize>word(d, 7);
  const zero = word(d, 8);
  const border = word(d, 10);
  const phase = <usize>word(d, 11);
  const bytes = word(d, 12);
  const first = word(d, 13);
  for (let n = start; n < end; n++) {
    const block = blocks ? load<i32>(blocks + (n << 2)) : n;
    const y = block / width;
    const x = block - y * width;
    const row = 2 * y + word(d, 5) + border;
    const column = 2 * x + word(d, 6) + border;
    const to = <usize>word(d, 9) + (row * (2 * width + 2 * border) + column) * bytes + first;
    const also = phase + ((y + 1) * (width + 2) + x + 1) * bytes + first;
    for (let c = 0; c < channels; c++) {
      const pair = pairOf(table, zero, load<i32>(word(d, 0) + (c * sites + n) * 4));
      store<u16>(to + (c << 1), pair);
      if (phase) store<u16>(also + (c << 1), pair);
    }
  }
}

/**
 * Values (m, sites) as pairs in rows of bytes, and behind them a byte of each site's own. d: values, sites, m, table, its
 * zero, rows, bytes of a row, offset, bytes of the sites (0: none).
 */
export function runMore(start: i32, end: i32, d: usize): void {
  const sites = word(d, 1);
  const m = word(d, 2);
  for (let n = start; n < end; n++) {
    const to = <usize>word(d, 5) + n * word(d, 6) + word(d, 7);
    for (let k = 0; k < m; k++) {
      const value = load<i32>(word(d, 0) + (k * sites + n) * 4);
      store<u16>(to + (k << 1), pairOf(word(d, 3), word(d, 4), value));
    }
    if (word(d, 8)) store<u8>(to + 2 * m, load<u8>(word(d, 8) + n));
  }
}

/** Takes sites with a value that is not zero out of those that are empty. d: values (m, sites), sites, m, empty (bytes). */
export function runStillEmpty(start: i32, end: i32, d: usize): void {
  const sites = word(d, 1);
  for (let n = start; n < end; n++) {
    let any = 0;
    for (let k = 0; k < word(d, 2); k++) any |= load<i32>(word(d, 0) + (k * sites + n) * 4);
    if (any) store<u8>(word(d, 3) + n, 0);
  }
}

/** The places of a map with a border of one, (2h, 2w, bytes), as one site of each 2x2. d: from, its border, h, w, bytes, to. */
export function runBlockMap(start: i32, end: i32, d: usize): void {
  const border = word(d, 1);
  const w = word(d, 3);
  const bytes = word(d, 4);
  for (let y = start; y < end; y++) {
    for (let x = 0; x < w; x++) {
      const to = <usize>word(d, 5) + ((y + 1) * (w + 2) + x + 1) * 4 * bytes;
      for (let p = 0; p < 4; p++) {
        const row = 2 * y + (p >> 1) + border;
        const column = 2 * x + (p & 1) + border;
        memory.copy(to + p * bytes, word(d, 0) + (row * (2 * w + 2 * border) + column) * bytes, bytes);
      }
    }
  }
}

/** What the level below inherits: rows of four places, as `up` gives them, in raster order. d: rows, w, bytes, to. */
export function runInherit(start: i32, end: i32, d: usize): void {
  const w = word(d, 1);
  const bytes = word(d, 2);
  for (let y = start; y < end; y++) {
    for (let x = 0; x < w; x++) {
      const from = <usize>word(d, 0) + (y * w + x) * 4 * bytes;
      const to = <usize>word(d, 3) + (4 * y * w + 2 * x) * bytes;
      memory.copy(to, from, 2 * bytes);
      memory.copy(to + 2 * w * bytes, from + 2 * bytes, 2 * bytes);
    }
  }
}
