// The platform's hash needs a secure context; a page from plain http has this one.

const K = new Uint32Array(64);
const INITIAL = new Uint32Array(8);
{
  // the first 32 bits of the fractional parts of cube roots and square roots of primes
  const part = (x: number) => Math.floor((x - Math.floor(x)) * 2 ** 32);
  let found = 0;
  for (let n = 2; found < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) prime &&= n % d !== 0;
    if (!prime) continue;
    if (found < 8) INITIAL[found] = part(Math.sqrt(n));
    K[found++] = part(Math.cbrt(n));
  }
}

function block(state: Uint32Array, w: Uint32Array): void {
  const turn = (x: number, n: number) => (x >>> n) | (x << (32 - n));
  for (let i = 16; i < 64; i++) {
    const [x, y] = [w[i - 15]!, w[i - 2]!];
    const s0 = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3);
    const s1 = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10);
    w[i] = w[i - 16]! + s0 + w[i - 7]! + s1;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((value, k) => (state[k]! += value));
}

export function sha256Here(data: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil((data.length + 9) / 64) * 64);
  padded.set(data);
  padded[data.length] = 128;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(data.length) * 8n);
  const [state, w] = [Uint32Array.from(INITIAL), new Uint32Array(64)];
  for (let at = 0; at < padded.length; at += 64) {
    for (let k = 0; k < 16; k++) w[k] = view.getUint32(at + 4 * k);
    block(state, w);
  }
  const out = new DataView(new ArrayBuffer(32));
  state.forEach((word, k) => out.setUint32(4 * k, word));
  return new Uint8Array(out.buffer);
}

export async function sha256(data: Uint8Array): Promise<Uint8Array> {
  const subtle = globalThis.crypto?.subtle;
  return subtle ? new Uint8Array(await subtle.digest("SHA-256", data as BufferSource)) : sha256Here(data);
}
