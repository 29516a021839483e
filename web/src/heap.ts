import { LimitError } from "./errors.js";

/** An address in the kernels' memory. */
export type Address = number;

const PAGE = 1 << 16;
const UNIT = 16;
const SLACK = 32; // bytes behind every block, as kernels take a few bytes more along

/** Blocks of WebAssembly memory: the first free block that is large enough, neighbours joined when they are freed. */
export class Heap {
  private readonly free: { at: Address; size: number }[] = [];
  private readonly sizes = new Map<Address, number>();
  private end: Address;
  /** The most bytes that were in use at a time. */
  peak = 0;
  private used = 0;
  private owner: Set<Address> | undefined;

  constructor(
    readonly memory: WebAssembly.Memory,
    start: Address,
  ) {
    this.end = start;
  }

  /** Bytes that are in use. */
  get inUse(): number {
    return this.used;
  }

  /** Room for so many bytes, not set to anything. */
  alloc(bytes: number): Address {
    const size = Math.ceil((bytes + SLACK) / UNIT) * UNIT;
    this.used += size;
    this.peak = Math.max(this.peak, this.used);
    const k = this.free.findIndex((block) => block.size >= size);
    let at: Address;
    if (k >= 0) {
      const block = this.free[k]!;
      at = block.at;
      block.at += size;
      block.size -= size;
      if (!block.size) this.free.splice(k, 1);
    } else {
      at = this.end;
      this.end += size;
      const missing = this.end - this.memory.buffer.byteLength;
      if (missing > 0) {
        try {
          this.memory.grow(Math.ceil(missing / PAGE));
        } catch {
          this.end = at;
          this.used -= size;
          throw new LimitError("the picture needs more memory than there is; decode it with reduce, or a region of it");
        }
      }
    }
    this.sizes.set(at, size);
    this.owner?.add(at);
    return at;
  }

  /** What `work` allocates and does not release is noted, so that it can be released if something was thrown. */
  within<T>(owner: Set<Address>, work: () => T): T {
    const before = this.owner;
    this.owner = owner;
    try {
      return work();
    } finally {
      this.owner = before;
    }
  }

  zeros(bytes: number): Address {
    const at = this.alloc(bytes);
    this.bytes(at, bytes + SLACK).fill(0);
    return at;
  }

  release(...blocks: Address[]): void {
    for (const at of blocks) {
      const size = this.sizes.get(at);
      if (size === undefined) continue;
      this.sizes.delete(at);
      this.owner?.delete(at);
      this.used -= size;
      let k = this.free.findIndex((block) => block.at > at);
      if (k < 0) k = this.free.length;
      this.free.splice(k, 0, { at, size });
      this.join(k);
      if (k) this.join(k - 1);
    }
  }

  private join(k: number): void {
    const [a, b] = [this.free[k], this.free[k + 1]];
    if (a && b && a.at + a.size === b.at) {
      a.size += b.size;
      this.free.splice(k + 1, 1);
    }
  }

  // Views end when memory grows: take them anew after every alloc.

  bytes(at: Address, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, length);
  }

  words(at: Address, length: number): Int32Array {
    return new Int32Array(this.memory.buffer, at, length);
  }

  /** A copy of a typed array. */
  put(data: ArrayBufferView): Address {
    const at = this.alloc(data.byteLength);
    this.bytes(at, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return at;
  }

  /** Blocks to be released together. */
  scope(): Scope {
    return new Scope(this);
  }
}

/** Blocks that are released together. */
export class Scope {
  private readonly own: Address[] = [];

  constructor(readonly heap: Heap) {}

  alloc(bytes: number): Address {
    const at = this.heap.alloc(bytes);
    this.own.push(at);
    return at;
  }

  zeros(bytes: number): Address {
    const at = this.heap.zeros(bytes);
    this.own.push(at);
    return at;
  }

  put(data: ArrayBufferView): Address {
    const at = this.heap.put(data);
    this.own.push(at);
    return at;
  }

  release(): void {
    this.heap.release(...this.own.splice(0));
  }
}
