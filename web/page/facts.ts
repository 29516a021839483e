// What the page says of a file, as `vitcodec info` does.
import type { DecodedImage, FileInfo } from "../src/index.js";

const PIXELS = 5;
const UNITS = ["bytes", "KB", "MB"];
const METADATA: Record<string, string> = { eXIF: "EXIF", xMPD: "XMP", ALPH: "alpha channel" };

export function sizeText(bytes: number): string {
  const unit = bytes < 1000 ? 0 : bytes < 1e6 ? 1 : 2;
  return `${unit ? (bytes / 1000 ** unit).toFixed(1) : bytes} ${UNITS[unit]}`;
}

/** (what, how) of a file. decoded: once it is. */
export function rowsOf(info: FileInfo, decoded?: DecodedImage): [string, string][] {
  const { width, height, bytes } = info;
  const kinds = [info.gray && "gray", info.alpha && "with alpha", info.lossless && "lossless"].filter(Boolean);
  const [low, high] = info.tileQualities ?? [info.quality, info.quality];
  const rows: [string, string][] = [
    ["size", [`${width}x${height} pixels`, ...kinds].join(", ")],
    ["file", `${bytes.toLocaleString("en")} bytes, ${((8 * bytes) / (width * height)).toFixed(3)} bits per pixel`],
  ];
  if (!info.lossless) {
    rows.push(["quality", low === high ? String(low) : `${low} to ${high}, by tile`]);
    rows.push(["model", `${info.model} (weights ${info.weights})`]);
  }
  rows.push(["colours", info.colours.name]);
  rows.push(["tiles", info.tiles === 1 ? "1" : `${info.tiles} of up to ${info.tile}x${info.tile} pixels`]);
  if (info.metadata["FILT"]) rows.push(["filter", `adapted to the picture, ${info.metadata["FILT"]} bytes`]);
  if (info.dpi) rows.push(["resolution", `${info.dpi.map((dots) => +dots.toFixed(3)).join(" x ")} dots per inch`]);
  for (const [type, what] of Object.entries(METADATA)) {
    if (info.metadata[type]) rows.push([what, `${info.metadata[type].toLocaleString("en")} bytes`]);
  }
  if (decoded) {
    const { times, memory, threads } = decoded;
    const tokens = info.lossless ? "" : `tokens ${times.tokens.toFixed(2)} s, `;
    rows.push(["time", `${times.all.toFixed(2)} s in all: ${tokens}pixels ${times.pixels.toFixed(2)} s, weights there after ${times.weights.toFixed(2)} s`]);
    rows.push(["decoder", `${threads === 1 ? "1 thread" : `${threads} threads`}, ${(memory / 1e6).toFixed(0)} MB of memory`]);
  }
  return rows;
}

/** Part, bytes and share of each level and of what is left. */
export function levelRows(info: FileInfo): [string, string, string][] {
  const parts = info.levelBytes.map(({ level, bytes }): [string, number] => [
    level === PIXELS ? "pixels" : level ? `details of level ${level}` : "low band",
    bytes,
  ]);
  parts.push(["all else", info.bytes - parts.reduce((sum, [, bytes]) => sum + bytes, 0)]);
  return parts.map(([what, bytes]) => [what, bytes.toLocaleString("en"), `${((100 * bytes) / info.bytes).toFixed(1)} %`]);
}
