import { ADVICE, type Reader } from "./bytes.js";
import { FormatError, LimitError, UnsupportedError } from "./errors.js";
import { TileGrid } from "./geometry.js";

const TILE_UNIT = 128;
const MAX_SIDE = 65535;
const MAX_PIXELS = 2 ** 28;
const MAX_TILES = 1 << 14;
const MAX_TILE_PIXELS = 1 << 22;
const MAX_MODEL = 64;
const HASH_SIZE = 8;
export const MAX_HEAD = 10 + 4 + MAX_MODEL + HASH_SIZE;
const [GRAY, ONCE, MORE] = [1, 2, 4];
const [ENHANCED, MOST_ENHANCEMENTS] = [3, 7]; // the bit from which on three hold the number of the enhancement

/** What the HEAD chunk says. */
export interface Header {
  width: number;
  height: number;
  /** 1 to 100; 0 in a lossless file. */
  quality: number;
  gray: boolean;
  lossless: boolean;
  /** The model's name, empty in a lossless file. */
  model: string;
  /** The first 8 bytes of the SHA-256 of the model's weights, in hexadecimal digits. */
  weights: string;
  /** Side of a tile in pixels. */
  tile: number;
  /** Whether metadata follow the picture. */
  more: boolean;
  /** Which of the model's enhancements the pixels are made with; 0: none. */
  enhancement: number;
}

export function gridOf(header: Header): TileGrid {
  return new TileGrid(header.width, header.height, header.tile);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function parseHeader(fields: Reader, version: number): Header {
  const width = fields.varint();
  const height = fields.varint();
  const [quality, flags, tile, modelLength] = fields.read(4) as unknown as [number, number, number, number];
  if (flags & ~(GRAY! | MORE! | (version ? MOST_ENHANCEMENTS! << ENHANCED! : ONCE!))) {
    const code = `0x${flags.toString(16).padStart(2, "0")}`;
    throw new UnsupportedError(`${fields.name}: needs a newer decoder: flags ${code} are unknown to this one`);
  }
  const lossless = quality === 0;
  if (version === 0 && !lossless) {
    throw new UnsupportedError(
      `${fields.name}: of a draft of the format from before version 1, whose tokens are not read; ` +
        "decode it with vitcodec 0.1",
    );
  }
  if (version === 0 && !(flags & ONCE!)) throw fields.damaged("its flags are of no version");
  const model = String.fromCharCode(...fields.read(modelLength));
  const weights = hex(lossless ? new Uint8Array() : fields.read(HASH_SIZE));
  if (fields.remaining) throw fields.damaged("it is too long");
  const invalid = (what: string) => new FormatError(`${fields.name}: invalid: ${what}; ${ADVICE}`);
  if (width < 1 || height < 1) throw invalid(`the size is ${width}x${height}`);
  if (tile < 1) throw invalid("tiles of 0 pixels are not a multiple of 128 in 1..255 times 128");
  const enhancement = (flags >> ENHANCED!) & MOST_ENHANCEMENTS!;
  if (lossless && (model || enhancement)) throw invalid("it is lossless and names a model or an enhancement");
  if (quality > 100) throw invalid(`quality ${quality} is outside 1..100`);
  if (!lossless && !(modelLength >= 1 && modelLength <= MAX_MODEL)) {
    throw invalid(`the model id has ${modelLength} characters, not 1..${MAX_MODEL}`);
  }
  if (!lossless && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(model)) {
    throw invalid("the model id has characters other than letters, digits, '.', '-' and '_'");
  }
  const [gray, more] = [!!(flags & GRAY!), !!(flags & MORE!)];
  return { width, height, quality, gray, lossless, model, weights, tile: tile * TILE_UNIT, more, enhancement };
}

export function checkLimits(header: Header, name: string): void {
  const { width, height, tile } = header;
  const size = `${name}: ${width}x${height} pixels`;
  if (Math.max(width, height) > MAX_SIDE || width * height > MAX_PIXELS) {
    throw new LimitError(`${size} exceed the limit of ${MAX_SIDE} a side and ${MAX_PIXELS} in all`);
  }
  const count = Math.ceil(width / tile) * Math.ceil(height / tile);
  if (count > MAX_TILES) throw new LimitError(`${size} are ${count} tiles, more than ${MAX_TILES}`);
  if (Math.min(width, tile) * Math.min(height, tile) > MAX_TILE_PIXELS) {
    throw new LimitError(`${size} in tiles of ${tile} exceed the limit of ${MAX_TILE_PIXELS} pixels a tile`);
  }
}
