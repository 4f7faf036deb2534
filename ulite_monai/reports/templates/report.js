"use strict";

// Slices: the slider shows one of a case's, and says which. A click on the picture lets wheel and arrow keys move it.
for (const figure of document.querySelectorAll(".stack")) {
  const slider = figure.querySelector("input[type=range]");
  if (!slider) continue;
  const picture = figure.querySelector("svg");
  const slices = [...picture.querySelectorAll(":scope > g")];
  const show = () => {
    slices.forEach((slice, n) => slice.setAttribute("display", n === Number(slider.value) ? "inline" : "none"));
    figure.querySelector("output").textContent = slices[slider.value].dataset.name;
    slider.setAttribute("aria-valuetext", slices[slider.value].dataset.name);
  };
  slider.addEventListener("input", show);
  picture.addEventListener("click", () => slider.focus({ preventScroll: true }));
  picture.addEventListener("wheel", (event) => {
    if (document.activeElement !== slider) return;
    event.preventDefault();
    slider.value = Number(slider.value) + Math.sign(event.deltaY);
    show();
  }, { passive: false });
  show();
}

// Tables: a heading sorts by its column, and once more the other way; what has no value comes last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const sign = heading.ariaSort === "ascending" ? -1 : 1;
    for (const other of heading.parentElement.cells) other.ariaSort = null;
    heading.ariaSort = sign > 0 ? "ascending" : "descending";
    const key = (row) => {
      const { dataset, textContent } = row.cells[heading.cellIndex];
      return dataset.value === undefined ? textContent : dataset.value === "" ? null : Number(dataset.value);
    };
    body.append(...[...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true }));
    }));
  });
}

// The filter of the table of cases.
const filter = document.getElementById("filter");
if (filter) {
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase();
    for (const row of document.querySelectorAll("#cases tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(words);
    }
  });
}
