// Every case in headless Chromium: the same pixels as Python's, errors that are said, and nothing on the console.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Browser, UNDER } from "./pages.mjs";
import { CASES, optionsOf } from "./support.mjs";

// with one thread, and kernels without relaxed SIMD, all of them are tested in exact.test.mjs
const SOME = [
  ...["photo", "tiles", "alpha", "lossless-tiles", "cut-level-1", "floating-point"],
  ...["enhanced-qualities", "enhanced-tall", "unknown-enhancement"],
];
const PAGES = {
  "in an isolated page, with threads": { isolated: true, names: Object.keys(CASES) },
  "in any page, with one": { isolated: false, names: SOME },
  "without relaxed SIMD, with threads": { isolated: true, names: SOME, relaxed: false },
};

for (const [where, { isolated, names, relaxed = true }] of Object.entries(PAGES)) {
  test(where, async (t) => {
    const browser = await Browser.start({ isolated });
    t.after(() => browser.stop());
    if (!relaxed) await browser.context.route("**/kernels-relaxed*.wasm", (route) => route.fulfill({ body: "none" }));
    const { page, problems } = await browser.page(`${UNDER}index.html`);
    const fetched = [];
    page.on("request", (request) => fetched.push(request.url().split("/").pop()));
    for (const name of names) {
      await t.test(name, async () => {
        for (const { reduce, region, salvage, ...expected } of CASES[name]) {
          const way = { reduce, region, salvage };
          const found = await page.evaluate(outcome, [`/cases/${name}.vitc`, optionsOf(way)]);
          assert.deepEqual(found, expected, JSON.stringify(way));
        }
      });
    }
    const last = fetched.filter((name) => name.startsWith("kernels")).at(-1);
    const threads = isolated && (await page.evaluate(() => navigator.hardwareConcurrency)) > 1 ? "-threads" : "";
    assert.equal(last, `kernels${relaxed ? "-relaxed" : ""}${threads}.wasm`);
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
