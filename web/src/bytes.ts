import { FormatError, UnsupportedError } from "./errors.js";

/** The newest version of the format that is read. */
export const VERSION = 1;
export const ADVICE = "get a complete and undamaged copy, or decode what is intact with salvage";
const MAX_VARINT = 5;
const CRC_SIZE = 4;

/** The file ends too early. */
export class Truncated extends FormatError {}

/** Where a chunk lies in the file. */
export interface Chunk {
  type: string;
  /** Of the type's first letter, in bytes from the start of the file. */
  offset: number;
  /** Bytes of payload. */
  length: number;
  /** Bytes of the whole chunk: type, length, payload and checksum. */
  size: number;
}

const CRCS = new Int32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

export function crc32(data: Uint8Array): number {
  let crc = -1;
  for (let i = 0; i < data.length; i++) crc = CRCS[(crc ^ data[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

export function damaged(name: string, what: string): FormatError {
  return new FormatError(`${name}: damaged: ${what}; ${ADVICE}`);
}

export function isCritical(type: string): boolean {
  return type[0]! < "a";
}

/** Bytes of a whole chunk with a payload of so many bytes. */
export function chunkSize(length: number): number {
  let size = 4 + 1 + CRC_SIZE;
  for (let rest = length; rest > 127; rest = Math.floor(rest / 128)) size++;
  return size + length;
}

/** Reads exactly what is asked for, or says that the file is truncated. */
export class Reader {
  position = 0;

  constructor(
    public data: Uint8Array,
    readonly name: string,
    /** Where the file ends; what is behind is not there yet, or not this reader's. */
    public end = data.length,
  ) {}

  get remaining(): number {
    return this.end - this.position;
  }

  damaged(what: string): FormatError {
    return damaged(this.name, what);
  }

  truncated(): Truncated {
    return new Truncated(`${this.name}: truncated: it ends too early, after ${this.end} bytes; ${ADVICE}`);
  }

  read(count: number): Uint8Array {
    if (count > this.remaining) throw this.truncated();
    this.position += count;
    return this.data.subarray(this.position - count, this.position);
  }

  skip(count: number): void {
    if (count > this.remaining) throw this.truncated();
    this.position += count;
  }

  /** A canonical LEB128 number: no byte more than it needs. */
  varint(): number {
    let value = 0;
    for (let i = 0; i < MAX_VARINT; i++) {
      const byte = this.read(1)[0]!;
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) {
        if (i && !byte) break;
        return value;
      }
    }
    throw this.damaged(`no valid number before byte ${this.position}`);
  }

  /** The type and length of the next chunk; its payload, which is there in full, comes next. */
  chunk(): Chunk {
    const offset = this.position;
    const type = String.fromCharCode(...this.read(4));
    if (!/^[A-Za-z]{4}$/.test(type)) throw this.damaged(`no chunk begins at byte ${offset}`);
    const length = this.varint();
    if (length + CRC_SIZE > this.remaining) throw this.truncated();
    return { type, offset, length, size: this.position - offset + length + CRC_SIZE };
  }

  /** The payload of the chunk whose type and length were just read, its checksum checked. */
  payload(chunk: Chunk): Uint8Array {
    const payload = this.read(chunk.length);
    const stated = this.read(CRC_SIZE);
    const found = crc32(this.data.subarray(chunk.offset, this.position - CRC_SIZE));
    if (found !== (stated[0]! | (stated[1]! << 8) | (stated[2]! << 16) | (stated[3]! << 24)) >>> 0) {
      throw this.damaged(`the checksum of chunk ${chunk.type} at byte ${chunk.offset} is wrong`);
    }
    return payload;
  }

  /** Throws the error that says why a chunk cannot stand here. known: types that have a place elsewhere. */
  refuse(chunk: Chunk, known: ReadonlySet<string>): never {
    this.payload(chunk); // the checksum first, as the type itself may be damaged
    if (known.has(chunk.type) || !isCritical(chunk.type)) {
      throw this.damaged(`chunk ${chunk.type} at byte ${chunk.offset} is out of place`);
    }
    throw new UnsupportedError(`${this.name}: needs a newer decoder: chunk ${chunk.type} is unknown to this one`);
  }
}

const INFLATED = "deflate";

/** The content of a zlib stream; at most `limit` bytes, null if there are more. Throws where it is not one whole one. */
export async function inflate(data: Uint8Array, limit: number, kind: CompressionFormat = INFLATED): Promise<Uint8Array | null> {
  const stream = new Blob([data as BlobPart]).stream().pipeThrough(new DecompressionStream(kind));
  const reader = stream.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel().catch(() => undefined);
      return null;
    }
    parts.push(value);
  }
  return joined(parts, size);
}

export function joined(parts: readonly Uint8Array[], size = parts.reduce((sum, part) => sum + part.length, 0)): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
