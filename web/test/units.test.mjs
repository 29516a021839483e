import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { selfTest, sha256Here } from "../build/core.mjs";
import { newKernels } from "./support.mjs";

test("SHA-256 without the platform's", () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 1000]) {
    const data = randomBytes(size);
    assert.deepEqual(Buffer.from(sha256Here(data)), createHash("sha256").update(data).digest());
  }
});

test("the kernels are exact", async () => {
  selfTest(await newKernels());
});

test("memory that was released is used again", async () => {
  const { heap } = await newKernels();
  const [a, b, c] = [heap.alloc(1000), heap.alloc(2000), heap.alloc(3000)];
  heap.release(a, c, b);
  assert.equal(heap.alloc(5900), a);
  assert.ok(heap.bytes(heap.zeros(5000), 5000).every((byte) => byte === 0));
});
