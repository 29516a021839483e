// Every case comes out as Python has it, to the last bit, in this thread.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { DecodeError, decode } from "../build/core.mjs";
import { CASES, fileOf, newHost, optionsOf, outcome, parts, withChecksums } from "./support.mjs";

let host;
before(async () => {
  host = await newHost();
});

for (const [name, ways] of Object.entries(CASES)) {
  test(name, async () => {
    const data = fileOf(name);
    for (const { reduce, region, salvage, ...expected } of ways) {
      const way = { reduce, region, salvage };
      assert.deepEqual(await outcome(data, optionsOf(way), host), expected, JSON.stringify(way));
    }
  });
}

test("a file that arrives byte by byte comes out the same", async () => {
  for (const name of ["tiles", "alpha", "lossless-tiles", "ancillary-chunk", "trailing", "cut-level-1"]) {
    const { width, height, sha256, error } = CASES[name][0];
    const expected = error ? { error } : { width, height, sha256 };
    assert.deepEqual(await outcome(fileOf(name), {}, host, 7), expected, name);
  }
});

test("previews come coarse to fine, and are the reduced pictures", async () => {
  const found = [];
  const seen = { ...host, preview: ({ pixels, reduce }) => found.push([reduce, pixels.width, pixels.height]) };
  await decode(parts(fileOf("photo"), 500), {}, seen);
  assert.deepEqual(found, [
    [4, 12, 9],
    [3, 24, 18],
    [2, 48, 35],
    [1, 95, 70],
  ]);
});

test("nothing of a picture stays in memory", async () => {
  const used = [];
  for (let k = 0; k < 3; k++) {
    await decode(parts(fileOf("tiles")), {}, host);
    await assert.rejects(decode(parts(fileOf("wrong-token-data")), {}, host), { name: "FormatError" });
    used.push(host.kernels.heap.inUse);
  }
  assert.equal(used[2], used[0]);
});

test("any bytes give a picture or a DecodeError", async () => {
  const names = Object.keys(CASES).filter((name) => fileOf(name).length > 40 && fileOf(name).length < 4000);
  const outcomes = new Set();
  let seed = 1;
  const random = (n) => Math.floor(((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n);
  for (let k = 0; k < 150; k++) {
    const data = fileOf(names[random(names.length)]);
    for (let change = random(4); change >= 0; change--) data[random(data.length)] ^= 1 << random(8);
    const whole = random(4) ? withChecksums(data) : data.subarray(0, random(data.length));
    const options = { reduce: random(3), salvage: !random(4), maxPixels: 1 << 20 };
    try {
      await decode(parts(whole, 1 + random(500)), options, host);
      outcomes.add("picture");
    } catch (error) {
      assert.ok(error instanceof DecodeError || error.name === "WeightsError", error.stack);
      outcomes.add(error.name);
    }
  }
  for (const name of ["picture", "FormatError", "UnsupportedError"]) assert.ok(outcomes.has(name), name);
});
