// Every case comes out as Python has it, to the last bit, in this thread.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { decode } from "../build/core.mjs";
import { CASES, fileOf, newHost, optionsOf, outcome, parts } from "./support.mjs";

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
