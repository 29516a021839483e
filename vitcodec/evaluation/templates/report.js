"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const press = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === chosen)));

// light and dark: the reader's system decides until the button is pressed
{
  const button = one("#theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const isDark = () => (chosen ?? (dark.matches ? "dark" : "light")) === "dark";
  const show = () => {
    document.documentElement.style.colorScheme = chosen ?? "";
    button.textContent = isDark() ? "Light" : "Dark";
  };
  button.hidden = false;
  button.addEventListener("click", () => { chosen = isDark() ? "light" : "dark"; show(); });
  dark.addEventListener("change", show);
  show();
}

// plots: the nearest point says its values, by pointer or arrow keys
for (const plot of all(".plot")) {
  const svg = one("svg", plot), tip = one(".tip", plot);
  all("title", svg).forEach((title) => title.remove()); // the tip says the same, sooner
  const visible = () => all(".curve:not(.off)", svg).map((g) => all("circle", g)).filter((c) => c.length).reverse(); // drawn last, listed first
  let current = null;
  const show = (circle) => {
    all(".on", svg).forEach((c) => c.classList.remove("on"));
    current = circle;
    tip.hidden = !circle;
    if (!circle) return;
    circle.classList.add("on");
    const name = document.createElement("b");
    name.textContent = circle.parentNode.dataset.name;
    tip.replaceChildren(name, circle.dataset.text);
    const at = circle.getBoundingClientRect(), box = plot.getBoundingClientRect();
    const x = at.left + at.width / 2 - box.left, y = at.top - box.top;
    tip.style.left = `${clamp(x - tip.offsetWidth / 2, 4, box.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${y - tip.offsetHeight - 8 > 0 ? y - tip.offsetHeight - 8 : y + at.height + 8}px`;
  };
  const nearest = (event) => {
    let best = null, least = 60 ** 2;
    for (const circle of visible().flat()) {
      const box = circle.getBoundingClientRect();
      const d = (box.left + box.width / 2 - event.clientX) ** 2 + (box.top + box.height / 2 - event.clientY) ** 2;
      if (d < least) [best, least] = [circle, d];
    }
    return best;
  };
  plot.addEventListener("pointermove", (event) => show(nearest(event)));
  plot.addEventListener("pointerdown", (event) => show(nearest(event)));
  plot.addEventListener("pointerleave", () => show(null));
  plot.addEventListener("blur", () => show(null));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") show(null);
    if (!step) return;
    event.preventDefault();
    const curves = visible();
    if (!curves.length) return;
    const row = curves.findIndex((c) => c.includes(current));
    if (row < 0) return show(curves[0][0]);
    const curve = curves[(row + step[0] + curves.length) % curves.length];
    show(curve[clamp(curves[row].indexOf(current) + step[1], 0, curve.length - 1)]);
  });
}
for (const button of all(".legend button")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    all(`.curve[data-curve="${button.dataset.curve}"]`).forEach((g) => g.classList.toggle("off", !on));
  });
}

// tables: two columns stay at the left where a table is scrolled, the second beside the first
for (const table of all("table.two")) {
  new ResizeObserver(([entry]) => table.style.setProperty("--first", `${entry.target.offsetWidth}px`)).observe(one("th", table));
}

// tables: a click on a heading sorts, a second one the other way round; empty cells stay last
for (const table of all(".sortable")) {
  const body = table.tBodies[0];
  const value = (row, i) => {
    const cell = row.cells[i], text = cell.textContent.trim();
    const number = Number(cell.dataset.value ?? (text.replaceAll(",", "") || NaN));
    return text === "-" ? null : Number.isNaN(number) ? text : number;
  };
  all("thead th", table).forEach((heading, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      all("thead th", table).forEach((h) => h.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row, i), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// the table of images shows one codec at one quality until told otherwise
if (one("#by-codec")) {
  const codec = one("#by-codec"), quality = one("#by-quality"), rows = [...one("#rows").tBodies[0].rows];
  const filter = () => {
    let count = 0;
    for (const row of rows) {
      row.hidden = (codec.value && row.dataset.codec !== codec.value) || (quality.value && row.dataset.quality !== quality.value);
      count += !row.hidden;
    }
    one(".filters .count").textContent = `${count} of ${rows.length} rows`;
  };
  const offer = () => {
    const measured = rows.filter((row) => !codec.value || row.dataset.codec === codec.value).map((row) => row.dataset.quality);
    const sorted = [...new Set(measured)].sort((a, b) => a - b);
    quality.replaceChildren(new Option("all", ""), ...sorted.map((q) => new Option(q)));
    if (codec.value === quality.dataset.first) quality.value = quality.dataset.quality;
    filter();
  };
  one(".filters").hidden = false;
  codec.addEventListener("change", offer);
  quality.addEventListener("change", filter);
  offer();
}

// pictures
const RAMP = [[0, 0, 4], [58, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]]; // dark to light: no difference to much
const colours = new Uint8ClampedArray(256 * 3);
for (let i = 0; i < 256; i++) {
  const t = (i / 255) * (RAMP.length - 1), k = Math.min(Math.floor(t), RAMP.length - 2);
  for (let c = 0; c < 3; c++) colours[3 * i + c] = RAMP[k][c] + (t - k) * (RAMP[k + 1][c] - RAMP[k][c]);
}

async function pixels(image, width, height) {
  await image.decode();
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

// one image's pictures -> { scene, press(event): whether it was a key of theirs }
const views = all(".scene").map((scene) => {
  const stage = one(".stage", scene), view = one(".view", scene), sheet = one(".sheet", scene), divider = one(".divider", scene);
  const pics = all(".pic", scene), selects = { left: one('[data-side="left"]', scene), right: one('[data-side="right"]', scene) };
  const gain = one("[data-gain]", scene), numbers = one(".numbers", scene);
  const width = Number(scene.dataset.width), height = Number(scene.dataset.height);
  const spot = scene.dataset.spotX && [scene.dataset.spotX / width, scene.dataset.spotY / height];
  let at = 0.5; // the divider, as a part of the stage's width
  let middle = spot || [0.5, 0.5]; // what an enlarged picture shows in the middle, as parts of its sides
  let placed = [0, 0]; // how far the view was scrolled by this script
  const mode = () => stage.dataset.mode, zoom = () => Number(stage.dataset.zoom);
  // 1:1 is one pixel of the picture for one of the screen
  const sides = () => [width, height].map((side) => (side * zoom()) / devicePixelRatio);
  const room = () => (mode() === "grid" ? one(".frame", scene) : view);

  const cut = () => {
    stage.style.setProperty("--at", `${at * 100}%`);
    sheet.style.setProperty("--cut", `${at * stage.clientWidth + view.scrollLeft}px`);
    divider.setAttribute("aria-valuenow", String(Math.round(at * 100)));
  };
  const place = () => {
    sheet.style.setProperty("--x", middle[0]);
    sheet.style.setProperty("--y", middle[1]);
    if (zoom() && mode() !== "grid") {
      const [w, h] = sides();
      view.scrollTo({ left: middle[0] * w - view.clientWidth / 2, top: middle[1] * h - view.clientHeight / 2, behavior: "instant" });
      placed = [view.scrollLeft, view.scrollTop];
    }
    cut();
  };
  const move = (dx, dy) => { // the picture under the view, in pixels of the screen, as far as its edges
    const [w, h] = sides(), inside = (at, side, length) => (length > side ? 0.5 : clamp(at, length / side / 2, 1 - length / side / 2));
    middle = [inside(middle[0] - dx / w, w, room().clientWidth), inside(middle[1] - dy / h, h, room().clientHeight)];
    place();
  };
  const layout = () => {
    const most = [scene.clientWidth, Math.max(0.85 * innerHeight, 240)];
    const fit = Math.min(most[0] / width, most[1] / height, Math.max(1, Math.min(2, 640 / width)));
    const [w, h] = zoom() ? sides() : [width * fit, height * fit];
    sheet.style.setProperty("--w", `${w}px`);
    sheet.style.setProperty("--h", `${h}px`);
    sheet.style.setProperty("--ratio", `${width} / ${height}`);
    stage.style.width = `${Math.min(most[0], w)}px`;
    stage.style.height = `${Math.min(most[1], h)}px`;
    place();
  };

  const heat = async () => {
    const canvas = one(".heat", scene), context = canvas.getContext("2d");
    const [a, b] = await Promise.all(["left", "right"].map((side) => pixels(one("img", pics[selects[side].value]), width, height)));
    const result = context.createImageData(width, height), out = result.data, times = Number(gain.value);
    for (let i = 0; i < out.length; i += 4) {
      const error = Math.max(Math.abs(a[i] - b[i]), Math.abs(a[i + 1] - b[i + 1]), Math.abs(a[i + 2] - b[i + 2]));
      const k = 3 * Math.min(error * times, 255);
      out[i] = colours[k]; out[i + 1] = colours[k + 1]; out[i + 2] = colours[k + 2]; out[i + 3] = 255;
    }
    context.putImageData(result, 0, 0);
  };
  const ramp = () => {
    const strip = document.createElement("span");
    strip.className = "ramp";
    strip.style.background = `linear-gradient(to right, ${RAMP.map((c) => `rgb(${c})`).join(", ")})`;
    return strip;
  };
  const show = () => {
    const [left, right] = ["left", "right"].map((side) => pics[selects[side].value]);
    for (const pic of pics) {
      pic.classList.toggle("left", pic === left);
      pic.classList.toggle("right", pic === right);
    }
    one(".tag.left", scene).textContent = left.dataset.name;
    one(".tag.right", scene).textContent = right.dataset.name;
    const text = (pic) => `${pic.dataset.name}${pic.dataset.numbers && `: ${pic.dataset.numbers}`}`;
    if (mode() === "grid") {
      const sideways = matchMedia("(pointer: coarse)").matches ? ", sideways first" : "";
      numbers.textContent = zoom() ? `Drag a picture${sideways}: all show the same part.` : "";
    } else {
      const shown = [...new Set([left, right])].filter((pic) => pic.dataset.numbers || pics.length < 3).map(text).join(" · ");
      numbers.textContent = shown;
      if (mode() === "heat") {
        const most = (255 / Number(gain.value)).toFixed(0);
        numbers.prepend("Largest difference of the three colours, in levels of 255: 0", ramp(), `${most} and more. `);
        heat();
      }
    }
    layout();
  };
  const setMode = (name) => {
    stage.dataset.mode = name;
    press(all("[data-mode]", one(".bar", scene)), one(`.bar [data-mode="${name}"]`, scene));
    show();
  };
  const setZoom = (value) => { // what was in the middle stays there
    stage.dataset.zoom = value;
    press(all(".bar [data-zoom]", scene), one(`.bar [data-zoom="${value}"]`, scene));
    show();
  };
  const toSpot = () => { middle = spot; setZoom("4"); };

  all(".bar [data-mode]", scene).forEach((b) => b.addEventListener("click", () => setMode(b.dataset.mode)));
  all(".bar [data-zoom]", scene).forEach((b) => b.addEventListener("click", () => setZoom(b.dataset.zoom)));
  one(".spot", scene)?.addEventListener("click", toSpot);
  [selects.left, selects.right, gain].forEach((s) => s.addEventListener("change", show));
  view.addEventListener("scroll", () => {
    const now = [view.scrollLeft, view.scrollTop];
    if (zoom() && mode() !== "grid" && now.some((v, i) => Math.abs(v - placed[i]) > 1)) { // by the reader
      const [w, h] = sides();
      middle = [(now[0] + view.clientWidth / 2) / w, (now[1] + view.clientHeight / 2) / h];
      placed = now;
    }
    cut();
  });
  new ResizeObserver(layout).observe(scene);

  // the divider follows the pointer; in an enlarged picture only its handle does, and the rest moves the picture
  let dragging = null, last = null;
  const divide = (event) => {
    const box = stage.getBoundingClientRect();
    at = clamp((event.clientX - box.left) / box.width, 0, 1);
    cut();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    const grid = mode() === "grid";
    if (mode() === "slide" && (divider.contains(event.target) || !zoom())) {
      dragging = "divider";
      divider.focus({ preventScroll: true });
      divide(event);
    } else if (zoom() && (grid ? event.target.closest(".frame") : event.pointerType === "mouse" && event.target !== view)) {
      dragging = "picture"; // in the other views a finger scrolls it
    } else return;
    last = [event.clientX, event.clientY];
    stage.classList.add("dragging");
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (dragging === "divider") divide(event);
    if (dragging === "picture") move(event.clientX - last[0], event.clientY - last[1]);
    last = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => { dragging = null; stage.classList.remove("dragging"); });
  }

  const turn = (select, by) => {
    select.value = String((Number(select.value) + by + pics.length) % pics.length);
    show();
  };
  const pressed = (event) => {
    const key = event.key.toLowerCase(), sideways = { arrowleft: -1, arrowright: 1 }[key], upwards = { arrowup: 1, arrowdown: -1 }[key];
    const enlarged = zoom() && (event.shiftKey || mode() === "grid");
    const far = event.target === divider && { pagedown: -10, pageup: 10, home: -100, end: 100 }[key];
    // up and down scroll the page, as everywhere, unless they can mean nothing else
    if (enlarged && (sideways || (upwards && event.shiftKey))) {
      move(-(sideways ?? 0) * room().clientWidth / 10, (upwards ?? 0) * room().clientHeight / 10);
    } else if (mode() === "slide" && (sideways || far || (upwards && event.target === divider))) {
      at = clamp(at + (sideways || far || upwards) / 100, 0, 1);
      cut();
    } else if (key === "s" || key === "b" || key === "d") {
      setMode({ s: "slide", b: "grid", d: "heat" }[key]);
    } else if (key === "z") {
      setZoom({ 0: "1", 1: "4", 4: "0" }[zoom()]);
    } else if (key === "m" && spot) {
      toSpot();
    } else if (key === "x") {
      [selects.left.value, selects.right.value] = [selects.right.value, selects.left.value];
      show();
    } else if (key === "[" || key === "]") {
      turn(selects.right, key === "]" ? 1 : -1);
    } else return false;
    return true;
  };
  show();
  return { scene, stage, divider, pressed };
});

// keys, without focusing anything first: they are for the image that was used last while it is in view, else the one in view
{
  let used = views[0];
  const share = ({ stage }) => {
    const box = stage.getBoundingClientRect();
    return Math.max(Math.min(box.bottom, innerHeight) - Math.max(box.top, 0), 0) / Math.max(Math.min(box.height, innerHeight), 1);
  };
  const current = () => {
    const most = views.reduce((a, b) => (share(b) > share(a) ? b : a));
    return share(used) > 0.3 || !share(most) ? used : most;
  };
  const go = (view) => {
    used = view;
    view.scene.scrollIntoView();
    (view.stage.dataset.mode === "slide" ? view.divider : one("button", view.scene)).focus({ preventScroll: true });
  };
  for (const view of views) {
    for (const kind of ["pointerdown", "focusin"]) view.scene.addEventListener(kind, () => { used = view; });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Unidentified") document.documentElement.classList.add("keyboard");
    const other = (event.ctrlKey || event.altKey) && !event.getModifierState("AltGraph"); // [ and ] need AltGr on many keyboards
    if (!views.length || event.defaultPrevented || other || event.metaKey || event.isComposing) return;
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    const arrow = event.key.startsWith("Arrow"), key = event.key.toLowerCase();
    if (arrow && event.target.closest?.(".scroll")) return; // they scroll a table
    const view = current(), unseen = !share(view);
    if (key === "n" || key === "p") {
      const next = unseen ? view : views[views.indexOf(view) + (key === "n" ? 1 : -1)];
      if (next) go(next);
    } else if ((arrow && unseen) || !view.pressed(event)) {
      return;
    } else {
      used = view;
      if (unseen) view.scene.scrollIntoView();
    }
    event.preventDefault();
  });
}
