"use strict";
(function () {
  const places = Array.from(document.querySelectorAll("[data-figure]"));

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // What must follow light, dark and paper; everything else stands in the figures themselves.
  function themed(layout) {
    const ink = colour("--ink"), grid = colour("--grid"), page = colour("--page");
    const changes = {"font.color": ink, "hoverlabel.bgcolor": page, "hoverlabel.bordercolor": grid, "hoverlabel.font.color": ink};
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        changes[key + ".gridcolor"] = grid;
        changes[key + ".zerolinecolor"] = grid;
        changes[key + ".linecolor"] = grid;
      }
    }
    return changes;
  }

  function drawn(place) {
    return place.classList.contains("js-plotly-plot");
  }

  function restyle() {
    for (const place of places) if (drawn(place)) Plotly.relayout(place, themed(place.layout));
  }

  function draw(place) {
    const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    place.replaceChildren();
    const options = {responsive: true, displayModeBar: false, doubleClick: "reset"};
    return Plotly.newPlot(place, figure.data, figure.layout, options).then(() => Plotly.relayout(place, themed(place.layout)));
  }

  // The axis of time is the one that zooms: a way back for those who cannot double-click.
  function addButton(place) {
    if (!place.layout.hoversubplots) return;
    const whole = place.layout.xaxis.range.slice();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show the whole run";
    button.addEventListener("click", () => Plotly.relayout(place, {"xaxis.range": whole.slice()}));
    place.after(button);
  }

  // Beside one spike that is a hundred times as long, all else is a line at 0 on a linear axis.
  function addScale(place) {
    const axis = (place.layout.meta || {}).latency;
    if (!axis) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Logarithmic latency";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const log = place.layout[axis].type !== "log";
      button.setAttribute("aria-pressed", String(log));
      Plotly.relayout(place, {[axis + ".type"]: log ? "log" : "linear", [axis + ".autorange"]: true});
    });
    place.after(button);
  }

  for (const place of places) {
    draw(place).then(() => {
      addScale(place);
      addButton(place);
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  window.matchMedia("print").addEventListener("change", restyle);
})();
