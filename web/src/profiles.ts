// The colour space that a file states, as far as a canvas can show it.

const NUMBERED: Record<number, string> = {
  1: "sRGB",
  2: "Display P3",
  3: "Adobe RGB (1998) compatible",
  4: "gray, gamma 2.2",
  5: "gray, sRGB curve",
  6: "ProPhoto RGB",
};

/** What is known of a picture's colours. */
export interface Colours {
  /** For people. */
  name: string;
  /** What a canvas shows them in. */
  space: PredefinedColorSpace;
  /** Whether a canvas shows them as they are meant. */
  isExact: boolean;
}

const SRGB = /srgb|IEC61966/i;
const P3 = /display p3/i;

/** metadata: by the type of their chunk. */
export function coloursOf(metadata: ReadonlyMap<string, Uint8Array>): Colours {
  const points = metadata.get("cICP");
  if (points?.length === 4) {
    const [primaries, transfer] = points as unknown as [number, number];
    const name = `CICP ${points.join("/")}`;
    if (transfer === 13 && primaries === 1) return { name: `sRGB (${name})`, space: "srgb", isExact: true };
    if (transfer === 13 && primaries === 12) return { name: `Display P3 (${name})`, space: "display-p3", isExact: true };
    return { name, space: "srgb", isExact: false };
  }
  const number = metadata.get("iNAM");
  const profile = metadata.get("iCCP");
  if (!number && !profile) return { name: "sRGB, as the file states no others", space: "srgb", isExact: true };
  const name = number ? (NUMBERED[number[0]!] ?? `number ${number[0]}`) : profileName(profile!);
  const isP3 = P3.test(name);
  const space = isP3 ? "display-p3" : "srgb";
  return { name: `${name}${profile ? " (ICC profile)" : ""}`, space, isExact: isP3 || SRGB.test(name) };
}

/** The description that an ICC profile gives of itself. */
function profileName(profile: Uint8Array): string {
  try {
    const view = new DataView(profile.buffer, profile.byteOffset, profile.byteLength);
    const count = Math.min(view.getUint32(128), 100);
    for (let k = 0; k < count; k++) {
      const at = 132 + 12 * k;
      if (view.getUint32(at) !== 0x64657363) continue; // desc
      const start = view.getUint32(at + 4);
      const kind = view.getUint32(start);
      if (kind === 0x64657363) return text(profile.subarray(start + 12, start + 11 + view.getUint32(start + 8)), "latin1");
      const [length, offset] = [view.getUint32(start + 20), view.getUint32(start + 24)];
      return text(profile.subarray(start + offset, start + offset + length), "utf-16be");
    }
  } catch {
    // a damaged profile has no name
  }
  return "a profile without a name";
}

function text(bytes: Uint8Array, encoding: string): string {
  const found = new TextDecoder(encoding).decode(bytes).replace(/[\0-\x1f\x7f]+/g, " ").trim();
  return found.slice(0, 100) || "a profile without a name";
}
