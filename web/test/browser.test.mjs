// Every case in headless Chromium: the same pixels as Python's, errors that are said, and nothing on the console.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Browser, UNDER } from "./pages.mjs";
import { CASES, optionsOf } from "./support.mjs";

// with one thread all of them are tested in exact.test.mjs
const SOME = ["photo", "tiles", "alpha", "lossless-tiles", "cut-level-1", "floating-point"];

for (const isolated of [true, false]) {
  test(isolated ? "in an isolated page, with threads" : "in any page, with one", async (t) => {
    const browser = await Browser.start({ isolated });
    t.after(() => browser.stop());
    const { page, problems } = await browser.page(`${UNDER}index.html`);

    for (const name of isolated ? Object.keys(CASES) : SOME) {
      const ways = CASES[name];
      await t.test(name, async () => {
        for (const { reduce, region, salvage, ...expected } of ways) {
          const way = { reduce, region, salvage };
          const found = await page.evaluate(outcome, [`/cases/${name}.vitc`, optionsOf(way)]);
          assert.deepEqual(found, expected, JSON.stringify(way));
        }
      });
    }
    assert.deepEqual(problems, []);
  });
}

/** In the page. */
async function outcome([address, options]) {
  const { decode } = await import("./vitcodec.js");
  try {
    const { data, width, height } = await decode(address, options);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { width, height, sha256 };
  } catch (error) {
    return { error: error.name };
  }
}
