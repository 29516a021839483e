// Tokens to coefficients, the synthesis' inputs, its corrections (docs/format.md, "From tokens to pixels", 1 to 4).
// Coefficients are int32 (rows, columns, channels). A quality is a byte of each site.
import { word } from "./memory";

const CHANNELS: i32 = 9;

/** (q G + 2) >> 2. d: tokens, out, columns, channels, level, shift to sites, qualities, their columns, gains. */
export function runCoefficients(start: i32, end: i32, d: usize): void {
  const columns = word(d, 2);
  const channels = word(d, 3);
  const shift = word(d, 5);
  for (let y = start; y < end; y++) {
    let at = y * columns * channels * 4;
    const sites = <usize>word(d, 6) + (y >> shift) * word(d, 7);
    for (let x = 0; x < columns; x++) {
      const quality = <i32>load<u8>(sites + (x >> shift)) - 1;
      const gains = <usize>word(d, 8) + ((quality * 5 + word(d, 4)) * CHANNELS) * 4;
      for (let c = 0; c < channels; c++) {
        store<i32>(word(d, 1) + at, (load<i32>(word(d, 0) + at) * load<i32>(gains + (c << 2)) + 2) >> 2);
        at += 4;
      }
    }
  }
}

/** (clamp(x, -M, M) S + 2048) >> 12, in place. d: x, columns, channels, shift to sites, qualities, their columns, steps. */
export function runLevels(start: i32, end: i32, d: usize): void {
  const columns = word(d, 1);
  const channels = word(d, 2);
  const shift = word(d, 3);
  for (let y = start; y < end; y++) {
    let at = <usize>word(d, 0) + y * columns * channels * 4;
    const sites = <usize>word(d, 4) + (y >> shift) * word(d, 5);
    for (let x = 0; x < columns; x++) {
      const step = load<i32>(word(d, 6) + (<i32>load<u8>(sites + (x >> shift)) - 1) * 4);
      const limit = (1 << 29) / step;
      for (let c = 0; c < channels; c++) {
        store<i32>(at, (min(max(load<i32>(at), -limit), limit) * step + 2048) >> 12);
        at += 4;
      }
    }
  }
}

/** (rows, columns, channels) -> planes, times 2^shift. d: from, rows, columns, channels, planes, shift. */
export function runPlanar(start: i32, end: i32, d: usize): void {
  const rows = word(d, 1);
  const columns = word(d, 2);
  const channels = word(d, 3);
  const shift = word(d, 5);
  for (let y = start; y < end; y++) {
    for (let x = 0; x < columns; x++) {
      const at = y * columns + x;
      for (let c = 0; c < channels; c++) {
        store<i32>(
          word(d, 4) + (c * rows * columns + at) * 4,
          load<i32>(word(d, 0) + (at * channels + c) * 4) << shift,
        );
      }
    }
  }
}

/** Planes of three colours less their means -> (rows, columns, 3), times 0.3. In 64 bits. d: planes, rows, columns, out. */
export function runContrast(start: i32, end: i32, d: usize): void {
  const rows = word(d, 1);
  const columns = word(d, 2);
  for (let y = start; y < end; y++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < 3; c++) {
        const plane = <usize>word(d, 0) + c * rows * columns * 4;
        let sum: i64 = 0;
        for (let i = -2; i <= 2; i++) {
          const line = plane + min(max(y + i, 0), rows - 1) * columns * 4;
          for (let j = -2; j <= 2; j++) sum += <i64>load<i32>(line + (min(max(x + j, 0), columns - 1) << 2));
        }
        const a = 25 * <i64>load<i32>(plane + (y * columns + x) * 4) - sum;
        let q = a / 25;
        if (q * 25 > a) q--;
        store<i32>(word(d, 3) + ((y * columns + x) * 3 + c) * 4, <i32>((q * 77 + 128) >> 8));
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function enter(x: i32, to: usize, n: i32, logs: usize): void {
  const y = (x + 32) >> 6;
  store<i8>(to, <i8>min(max(y, -128), 127));
  const log = <i32>load<i8>(logs + min(abs(y), 65535));
  store<i8>(to + n, <i8>(y < 0 ? -log : log));
}

/**
 * The synthesis' input of a map of the area `inner`, out of coefficients of an area around. Each of its sites has the
 * coefficients of `first`, those of 2x2 places if `first` is finer, then those of `second`.
 *
 * d: first, its columns and channels, 1 if it is finer, second (0: none), its columns and channels, top and left of the
 * inner area in the maps of this stride, columns of the inner area, shift to sites, positions by quality, qualities of
 * the inner area's sites, their columns, logarithms, out.
 */
export function runInputs(start: i32, end: i32, d: usize): void {
  const first = <usize>word(d, 0);
  const firstColumns = word(d, 1);
  const firstChannels = word(d, 2);
  const finer = word(d, 3);
  const second = <usize>word(d, 4);
  const secondColumns = word(d, 5);
  const secondChannels = second ? word(d, 6) : 0;
  const top = word(d, 7);
  const left = word(d, 8);
  const columns = word(d, 9);
  const shift = word(d, 10);
  const logs = <usize>word(d, 14);
  const places = finer ? 4 : 1;
  const n = places * firstChannels + secondChannels;
  for (let y = start; y < end; y++) {
    const sites = <usize>word(d, 12) + (y >> shift) * word(d, 13);
    for (let x = 0; x < columns; x++) {
      const out = <usize>word(d, 15) + (y * columns + x) * (2 * n + 1);
      let k = 0;
      for (let p = 0; p < places; p++) {
        const row = ((top + y) << finer) + (p >> 1);
        const column = ((left + x) << finer) + (p & 1);
        const from = first + (row * firstColumns + column) * firstChannels * 4;
        for (let c = 0; c < firstChannels; c++) enter(load<i32>(from + (c << 2)), out + k++, n, logs);
      }
      const from = second + ((top + y) * secondColumns + left + x) * secondChannels * 4;
      for (let c = 0; c < secondChannels; c++) enter(load<i32>(from + (c << 2)), out + k++, n, logs);
      store<i8>(out + 2 * n, load<i8>(word(d, 11) + load<u8>(sites + (x >> shift)) - 1));
    }
  }
}

/**
 * Adds sums of the synthesis to coefficients. d: sums, words of a row, columns, top and left of the coefficients' area
 * in the sums' map, columns of this area, first (coefficients), its channels, 1 if it is finer, second (0: none), its
 * channels; rows `start` to `end` of the area.
 */
export function runCorrect(start: i32, end: i32, d: usize): void {
  const pitch = word(d, 1);
  const width = word(d, 2);
  const columns = word(d, 5);
  const first = <usize>word(d, 6);
  const firstChannels = word(d, 7);
  const finer = word(d, 8);
  const second = <usize>word(d, 9);
  const secondChannels = second ? word(d, 10) : 0;
  const places = finer ? 4 : 1;
  for (let y = start; y < end; y++) {
    for (let x = 0; x < columns; x++) {
      let from = <usize>word(d, 0) + ((word(d, 3) + y) * width + word(d, 4) + x) * pitch * 4;
      for (let p = 0; p < places; p++) {
        const row = (y << finer) + (p >> 1);
        const column = (x << finer) + (p & 1);
        const to = first + (row * (columns << finer) + column) * firstChannels * 4;
        for (let c = 0; c < firstChannels; c++) {
          store<i32>(to + (c << 2), load<i32>(to + (c << 2)) + load<i32>(from));
          from += 4;
        }
      }
      const to = second + (y * columns + x) * secondChannels * 4;
      for (let c = 0; c < secondChannels; c++) {
        store<i32>(to + (c << 2), load<i32>(to + (c << 2)) + load<i32>(from));
        from += 4;
      }
    }
  }
}

/** A part of a map to a place in another: lines of `bytes`. d: from, its pitch, to, its pitch, bytes. */
export function runCopy(start: i32, end: i32, d: usize): void {
  for (let y = start; y < end; y++) {
    memory.copy(word(d, 2) + y * word(d, 3), word(d, 0) + y * word(d, 1), word(d, 4));
  }
}
