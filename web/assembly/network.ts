// The context model's networks, on rows that are gathered from maps of bytes (docs/format.md, "Networks").
import { addToUnsigned } from "./layers";
import { copyBytes, scratchAt, word } from "./memory";
import { FREE, outputsOf, product, rowBytes } from "./products";

const PART: i32 = 64; // rows that are worked on at a time

// The words of a source's descriptor: of a map of bytes, the same rectangle around places. A place is that of a block
// (y, x) at (step y + top, step x + left) in the map.
const MAP: i32 = 0;
const MAP_WIDTH: i32 = 1;
const CHANNELS: i32 = 2;
const STEP: i32 = 3;
const TOP: i32 = 4;
const LEFT: i32 = 5;
const HEIGHT: i32 = 6;
const WIDTH: i32 = 7;
const SOURCE: i32 = 32; // bytes of the descriptor

function gather(source: usize, y: i32, x: i32, to: usize): usize {
  const channels = word(source, CHANNELS);
  const step = word(source, STEP);
  const line = word(source, WIDTH) * channels;
  const pitch = word(source, MAP_WIDTH) * channels;
  let from =
    <usize>word(source, MAP) +
    (step * y + word(source, TOP)) * pitch +
    (step * x + word(source, LEFT)) * channels;
  for (let k = word(source, HEIGHT); k > 0; k--) {
    copyBytes(to, from, line);
    from += pitch;
    to += line;
  }
  return to;
}

/**
 * A network on rows `start` to `end`. d: blocks (address of int32 indices, 0: row n is block n), width of the grid of
 * blocks, features, their bytes, which of them a row has (address of int32 indices; 0: row n those of row n; 1: those of
 * its block), number of sources, sources, bytes of a row,
 * more bytes of each row (address or 0), how many, layer enter, number of residual blocks, their layers (expand, reduce),
 * layer leave (0: none), address of sums, address of hidden rows (0: not wanted), bytes from one row's more bytes to the
 * next one's.
 */
export function runRows(start: i32, end: i32, d: usize): void {
  const blocks = <usize>word(d, 0);
  const gridWidth = word(d, 1);
  const features = <usize>word(d, 2);
  const width = word(d, 3);
  const chosen = word(d, 4);
  const sources = word(d, 5);
  const firstSource = <usize>word(d, 6);
  const bytes = word(d, 7);
  const more = <usize>word(d, 8);
  const moreBytes = word(d, 9);
  const enter = <usize>word(d, 10);
  const residuals = word(d, 11);
  const layers = <usize>word(d, 12);
  const leave = <usize>word(d, 13);
  const sums = <usize>word(d, 14);
  const hidden = <usize>word(d, 15);
  const outputs = outputsOf(enter);
  const rows = scratchAt(FREE);
  const expanded = rows + PART * bytes + 32;
  for (let at = start; at < end; at += PART) {
    const n = min(PART, end - at);
    for (let k = 0; k < n; k++) {
      let to = rows + k * bytes;
      const block = blocks ? load<i32>(blocks + ((at + k) << 2)) : at + k;
      const own = chosen == 0 ? at + k : chosen == 1 ? block : load<i32>(<usize>chosen + ((at + k) << 2));
      copyBytes(to, features + own * width, width);
      to += width;
      if (sources) {
        const y = block / gridWidth;
        const x = block - y * gridWidth;
        for (let s = 0; s < sources; s++) to = gather(firstSource + s * SOURCE, y, x, to);
      }
      if (moreBytes) copyBytes(to, more + (at + k) * word(d, 16), moreBytes);
    }
    let widest = 0;
    for (let k = 0; k < residuals; k++) widest = max(widest, outputsOf(<usize>word(layers, 2 * k)));
    const reduced = expanded + PART * widest + 32;
    const y = hidden ? hidden + at * outputs : reduced + PART * outputs + 32;
    product(rows, n, enter, y);
    for (let k = 0; k < residuals; k++) {
      product(y, n, word(layers, 2 * k), expanded);
      product(expanded, n, word(layers, 2 * k + 1), reduced);
      addToUnsigned(y, reduced, n * outputs);
    }
    if (leave) product(y, n, leave, sums + at * rowBytes(leave));
  }
}
