// The adaptive filter of a plane (docs/format.md, "From tokens to pixels", 6).
import { word } from "./memory";

const VALUE_LIMIT: i32 = 8191;
const REACH: i32 = 3;

/**
 * Lines `start` to `end` of a plane. d: plane with REACH lines and columns around, clamped to +-8191; its width; plane
 * as it was (to be corrected, with the same border), out, width of out, threshold, number of pairs, pairs (down, right,
 * w, v as int32).
 */
export function runFilter(start: i32, end: i32, d: usize): void {
  const clamped = <usize>word(d, 0);
  const pitch = word(d, 1);
  const plane = <usize>word(d, 2);
  const width = word(d, 4);
  const threshold = word(d, 5);
  const pairs = word(d, 6);
  const first = <usize>word(d, 7);
  for (let y = start; y < end; y++) {
    const line = ((y + REACH) * pitch + REACH) << 2;
    const out = <usize>word(d, 3) + y * width * 4;
    for (let x = 0; x < width; x += 4) {
      const at = line + (x << 2);
      const middle = v128.load(clamped + at);
      const lowest = i32x4.sub(middle, i32x4.splat(threshold));
      const highest = i32x4.add(middle, i32x4.splat(threshold));
      let total = i32x4.splat(128);
      for (let k = 0; k < pairs; k++) {
        const pair = first + (k << 4);
        const offset = (load<i32>(pair) * pitch + load<i32>(pair, 4)) << 2;
        const plain = load<i32>(pair, 8);
        const cut = load<i32>(pair, 12);
        const a = v128.load(clamped + at + offset);
        const b = v128.load(clamped + at - offset);
        if (plain) {
          const sum = i32x4.sub(i32x4.sub(i32x4.add(a, b), middle), middle);
          total = i32x4.add(total, i32x4.mul(sum, i32x4.splat(plain)));
        }
        if (cut) {
          const c = i32x4.sub(i32x4.min_s(i32x4.max_s(a, lowest), highest), middle);
          const e = i32x4.sub(i32x4.min_s(i32x4.max_s(b, lowest), highest), middle);
          total = i32x4.add(total, i32x4.mul(i32x4.add(c, e), i32x4.splat(cut)));
        }
      }
      const result = i32x4.add(v128.load(plane + at), i32x4.shr_s(total, 8));
      if (x + 4 <= width) v128.store(out + (x << 2), result);
      else {
        store<i32>(out + (x << 2), i32x4.extract_lane(result, 0));
        if (x + 1 < width) store<i32>(out + (x << 2), i32x4.extract_lane(result, 1), 4);
        if (x + 2 < width) store<i32>(out + (x << 2), i32x4.extract_lane(result, 2), 8);
      }
    }
  }
}

/** Numbers `start` to `end` clamped to +-8191. d: from, to. */
export function runClamp(start: i32, end: i32, d: usize): void {
  const from = <usize>word(d, 0);
  const to = <usize>word(d, 1);
  for (let i = start; i < end; i++) {
    store<i32>(to + (i << 2), min(max(load<i32>(from + (i << 2)), -VALUE_LIMIT), VALUE_LIMIT));
  }
}
