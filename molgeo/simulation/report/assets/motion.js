"use strict";
(() => {
  const play = document.getElementById("play"), slider = document.getElementById("frame");
  const count = document.getElementById("count"), box = document.getElementById("viewer");
  const { times, edges } = JSON.parse(document.getElementById("motion").textContent), n = times.length;
  let viewer;
  try {
    viewer = $3Dmol.createViewer(box, { backgroundColor: "white", backgroundAlpha: 0 });
  } catch (error) {
    box.textContent = "This browser offers no WebGL, which the structure needs.";
    return;
  }
  viewer.addModelsAsFrames(document.getElementById("frames").textContent.trimStart(), "xyz");
  viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.22 } });
  const point = ([x, y, z]) => ({ x, y, z });
  for (const [start, end] of edges) {
    viewer.addLine({ start: point(start), end: point(end), color: "grey" });
  }
  viewer.zoomTo();
  viewer.zoom(0.9);
  let now = 0, timer = null;
  const show = (k) => {
    now = k;
    slider.value = k;
    count.textContent = `${times[k].toFixed(2)} ps`;
    viewer.setFrame(k).then(() => viewer.render());
  };
  const run = (on) => {
    clearInterval(timer);
    timer = on && n > 1 ? setInterval(() => show((now + 1) % n), 60) : null;
    play.textContent = on ? "Pause" : "Play";
  };
  play.onclick = () => run(timer === null);
  slider.oninput = () => { run(false); show(Number(slider.value)); };
  show(0);
  viewer.render();
  run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
})();
