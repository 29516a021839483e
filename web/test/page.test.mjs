// The page and the custom element, as people use them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, UNDER } from "./pages.mjs";
import { CASES } from "./support.mjs";

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser?.stop());

/** In the page: the hash of a canvas's pixels. */
async function hashOf(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The names that a screen reader has for everything of a role. */
async function namesOf(page, role) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  return nodes.filter((node) => !node.ignored && node.role.value === role).map((node) => node.name.value);
}

test("a linked picture is shown, and what it holds", async () => {
  const { page, problems } = await browser.page(`${UNDER}?src=/cases/photo.vitc`);
  await page.getByRole("status").filter({ hasText: "photo.vitc: 190x140, 5.2 KB, decoded in" }).waitFor();
  assert.equal(await page.locator("#canvas").evaluate(hashOf), CASES.photo[0].sha256);
  const facts = await page.locator("#rows").innerText();
  for (const text of ["190x140 pixels", "5,209 bytes", "60", "swin (weights 0e787fa93eae0b68)", "sRGB"]) {
    assert.ok(facts.includes(text), text);
  }
  assert.match(await page.locator("#levels").innerText(), /details of level 1/);
  assert.equal(await page.title(), "photo.vitc – vitcodec viewer");
  assert.deepEqual(problems, []);
});

test("the keyboard zooms", async () => {
  const { page } = await browser.page(`${UNDER}?src=/cases/photo.vitc`);
  await page.getByRole("status").filter({ hasText: "decoded in" }).waitFor();
  await page.locator("#view").focus();
  const zooms = [];
  for (const key of ["+", "+", "-", "1", "0"]) {
    await page.keyboard.press(key);
    zooms.push(await page.locator("#zoom").innerText());
  }
  assert.deepEqual(zooms, ["150 %", "200 %", "150 %", "100 %", "100 %"]);
});

test("everything that can be used has a name", async () => {
  const { page } = await browser.page(`${UNDER}?src=/cases/photo.vitc`);
  await page.getByRole("status").filter({ hasText: "decoded in" }).waitFor();
  const buttons = ["Open a .vitc file", "Show", "Zoom out", "Zoom in", "Fit", "Original size", "Save as PNG"];
  assert.deepEqual(await namesOf(page, "button"), buttons);
  assert.deepEqual(await namesOf(page, "textbox"), ["Address of a .vitc file"]);
  assert.deepEqual(await namesOf(page, "image"), ["photo.vitc, 190 by 140 pixels"]);
});

test("damage is said, and what is intact can be decoded", async () => {
  const { page, problems } = await browser.page(`${UNDER}?src=/cases/cut-level-1.vitc`);
  const problem = page.getByRole("alert");
  await problem.filter({ hasText: "cut-level-1.vitc: truncated: it ends too early, after 572 bytes" }).waitFor();
  await page.getByRole("button", { name: "Decode what is intact" }).click();
  await problem.filter({ hasText: "erased: the details of level 1" }).waitFor();
  assert.equal(await page.locator("#canvas").evaluate(hashOf), CASES["cut-level-1"][2].sha256);
  assert.deepEqual(problems, []);
});

test("a file is opened", async () => {
  const { page, problems } = await browser.page(UNDER);
  const buffer = Buffer.from("GIF89a, say");
  await page.locator("#file").setInputFiles({ name: "cat.gif", mimeType: "image/gif", buffer });
  await page.getByRole("alert").filter({ hasText: "cat.gif: not a .vitc file" }).waitFor();
  assert.ok(await page.locator("#rescue").isVisible());
  assert.deepEqual(problems, []);
});

test("the custom element is an image", async () => {
  const { page, problems } = await browser.page(UNDER);
  const found = await page.evaluate(async () => {
    await import("./vitc-img.js");
    const image = Object.assign(document.createElement("vitc-img"), { src: "/cases/alpha.vitc", alt: "A bubble" });
    document.body.append(image);
    const previews = [];
    image.addEventListener("preview", ({ detail }) => previews.push(detail.reduce));
    await new Promise((resolve, reject) => {
      image.addEventListener("load", resolve);
      image.addEventListener("error", ({ message }) => reject(new Error(message)));
    });
    const { width, height } = image.getBoundingClientRect();
    return { previews, width, height, natural: [image.naturalWidth, image.naturalHeight], complete: image.complete };
  });
  assert.deepEqual(found, { previews: [4, 3, 2, 1], width: 90, height: 60, natural: [90, 60], complete: true });
  assert.ok((await namesOf(page, "image")).includes("A bubble"));
  assert.deepEqual(problems, []);
});

test("an element that cannot show its picture says why", async () => {
  const { page, problems } = await browser.page(UNDER);
  const message = await page.evaluate(async () => {
    await import("./vitc-img.js");
    const image = Object.assign(document.createElement("vitc-img"), { src: "/cases/other-weights.vitc", alt: "A cat" });
    document.body.append(image);
    await new Promise((resolve) => image.addEventListener("error", resolve));
    return image.shadowRoot.querySelector("span").textContent;
  });
  assert.match(message, /^A cat – the file needs model 'swin' \(0000000000000000\)/);
  assert.deepEqual(problems, []);
});

test("a picture that is not wanted any more is stopped", async () => {
  const { page, problems } = await browser.page(UNDER);
  const name = await page.evaluate(async () => {
    const { decode } = await import("./vitcodec.js");
    const stop = new AbortController();
    const decoding = decode("/cases/wide.vitc", { signal: stop.signal, onPreview: () => stop.abort() });
    return decoding.then(() => "decoded", (error) => error.name);
  });
  assert.equal(name, "AbortError");
  assert.deepEqual(problems, []);
});

test("a response that stops halfway has shown its coarser levels", async () => {
  const { page } = await browser.page(UNDER);
  const found = await page.evaluate(async () => {
    const { decode } = await import("./vitcodec.js");
    const data = new Uint8Array(await (await fetch("/cases/photo.vitc")).arrayBuffer());
    const previews = [];
    let at = 0;
    const stream = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (at > data.length / 2) controller.close();
        else controller.enqueue(data.slice(at, (at += 300)));
      },
    });
    const options = { onPreview: ({ image }) => previews.push(image.width), name: "half" };
    const error = await decode(stream, options).then(() => null, (error) => `${error.name}: ${error.message}`);
    return { previews, error };
  });
  assert.deepEqual(found.previews, [12, 24, 48]);
  assert.match(found.error, /^FormatError: half: truncated/);
});
