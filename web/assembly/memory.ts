// Words, copies and the scratch memory of the thread that runs this instance.
//
// Everything is at addresses that TypeScript gives: no object of AssemblyScript is ever made, so that the instances of
// several threads can share one memory.

/** Bytes of scratch memory that each thread has. */
export const SCRATCH: i32 = 1 << 20;

let scratch: usize = 0;

/** Where this thread's scratch memory begins. */
export function useScratch(at: usize): void {
  scratch = at;
}

// @ts-ignore: decorator
@inline
export function scratchAt(offset: i32): usize {
  return scratch + offset;
}

/** Word k of a descriptor. */
// @ts-ignore: decorator
@inline
export function word(descriptor: usize, k: i32): i32 {
  return load<i32>(descriptor + (k << 2));
}

/** Copies exactly n bytes; short ones are faster than with memory.copy. */
// @ts-ignore: decorator
@inline
export function copyBytes(to: usize, from: usize, n: i32): void {
  while (n >= 16) {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
    n -= 16;
  }
  if (n & 8) {
    store<u64>(to, load<u64>(from));
    to += 8;
    from += 8;
  }
  if (n & 4) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
  if (n & 2) {
    store<u16>(to, load<u16>(from));
    to += 2;
    from += 2;
  }
  if (n & 1) store<u8>(to, load<u8>(from));
}
