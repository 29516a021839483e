
// attention: the mean over the heads until a head is chosen
for (const select of all("#attention [data-heads]")) {
  select.parentNode.hidden = false;
  select.addEventListener("change", () => {
    for (const figure of all("figure", select.closest(".attention"))) {
      const layers = all("svg > image", figure), chosen = layers[select.value] ?? layers[0];
      layers.forEach((layer) => layer.classList.toggle("off", layer !== chosen));
      one(".figures", figure).textContent = chosen.dataset.text;
    }
  });
}
