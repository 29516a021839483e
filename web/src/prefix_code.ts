// Prefix codes of lossless WebP. Source: RFC 9649, section 3.7.
const LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const FAST_BITS = 9;
const MAX_LENGTH = 15;

/** Bits of bytes, the lowest first. */
export class BitReader {
  private position = 0;
  private bits = 0;
  private count = 0;

  constructor(private readonly data: Uint8Array) {}

  private fill(): void {
    while (this.count <= 16) {
      // beyond the end there are zeros; `read` refuses what needs them
      this.bits |= (this.data[this.position++] ?? 0) << this.count;
      this.count += 8;
    }
  }

  read(n: number): number {
    if (n > 16) return this.read(16) + this.read(n - 16) * 65536;
    const value = this.peek(n);
    this.skip(n);
    return value;
  }

  /** Up to 16 bits. */
  peek(n: number): number {
    this.fill();
    return this.bits & ((1 << n) - 1);
  }

  skip(n: number): void {
    this.bits >>>= n;
    this.count -= n;
    if (8 * this.position - this.count > 8 * this.data.length) throw new Error("it ends too early");
  }
}

/** A canonical prefix code. */
export class Code {
  private readonly fast = new Int32Array(1 << FAST_BITS).fill(-1); // length << 16 | symbol
  private readonly counts = new Int32Array(MAX_LENGTH + 1);
  private readonly sorted: Uint16Array;
  private readonly only: number = -1;

  constructor(lengths: Uint8Array) {
    for (const length of lengths) this.counts[length]!++;
    this.counts[0] = 0;
    const used = this.counts.reduce((a, b) => a + b);
    if (!used) throw new Error("a prefix code is empty");
    const offsets = new Int32Array(MAX_LENGTH + 2);
    for (let length = 1; length <= MAX_LENGTH; length++) offsets[length + 1] = offsets[length]! + this.counts[length]!;
    this.sorted = new Uint16Array(used);
    const places = offsets.slice();
    lengths.forEach((length, symbol) => length && (this.sorted[places[length]!++] = symbol));
    if (used === 1) {
      this.only = this.sorted[0]!;
      return;
    }
    let code = 0;
    for (let length = 1; length <= MAX_LENGTH; length++) {
      for (let k = 0; k < this.counts[length]!; k++, code++) {
        if (code >= 1 << length) throw new Error("a prefix code is too long");
        if (length > FAST_BITS) continue;
        const symbol = this.sorted[offsets[length]! + k]!;
        for (let at = reversed(code, length); at < 1 << FAST_BITS; at += 1 << length) this.fast[at] = (length << 16) | symbol;
      }
      code <<= 1;
    }
    if (code !== 2 << MAX_LENGTH) throw new Error("a prefix code is incomplete");
  }

  read(bits: BitReader): number {
    if (this.only >= 0) return this.only;
    const found = this.fast[bits.peek(FAST_BITS)]!;
    if (found >= 0) {
      bits.skip(found >> 16);
      return found & 0xffff;
    }
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length <= MAX_LENGTH; length++) {
      code |= bits.read(1);
      const count = this.counts[length]!;
      if (code - first < count) return this.sorted[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Error("a prefix code is damaged");
  }
}

function reversed(code: number, length: number): number {
  let out = 0;
  for (let k = 0; k < length; k++) out = (out << 1) | ((code >> k) & 1);
  return out;
}

/** A code of so many symbols. */
export function readCode(bits: BitReader, size: number): Code {
  const lengths = new Uint8Array(size);
  if (bits.read(1)) {
    const two = bits.read(1);
    const first = bits.read(bits.read(1) ? 8 : 1);
    const second = two ? bits.read(8) : first;
    if (Math.max(first, second) >= size) throw new Error("a prefix code is damaged");
    lengths[first] = lengths[second] = 1;
    return new Code(lengths);
  }
  const own = new Uint8Array(LENGTH_ORDER.length);
  const count = 4 + bits.read(4);
  for (let k = 0; k < count; k++) own[LENGTH_ORDER[k]!] = bits.read(3);
  let left = bits.read(1) ? 2 + bits.read(2 + 2 * bits.read(3)) : size;
  if (left > size) throw new Error("a prefix code is damaged");
  const code = new Code(own);
  let previous = 8;
  for (let at = 0; at < size && left > 0; left--) {
    const symbol = code.read(bits);
    if (symbol < 16) {
      lengths[at++] = symbol;
      if (symbol) previous = symbol;
      continue;
    }
    const [value, repeat] =
      symbol === 16 ? [previous, 3 + bits.read(2)] : [0, symbol === 17 ? 3 + bits.read(3) : 11 + bits.read(7)];
    if (at + repeat > size) throw new Error("a prefix code is damaged");
    lengths.fill(value, at, at + repeat);
    at += repeat;
  }
  return new Code(lengths);
}
