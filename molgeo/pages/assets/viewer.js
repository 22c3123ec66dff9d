"use strict";
// What pages with structures share: text that hides nothing, packed blocks, and one viewer.

// Marks of direction, control characters and half characters show as escapes.
const visible = (text) => text.replace(/[\p{C}\u2028\u2029]/gu, (c) => "\\u" + c.codePointAt(0).toString(16).padStart(4, "0"));

const unpacked = new Map();
// The list of a block, which was packed as JSON by gzip.
const unpack = (k) => {
  if (!unpacked.has(k)) {
    const bytes = Uint8Array.from(atob(document.getElementById(`block-${k}`).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    unpacked.set(k, new Response(stream).json());
  }
  return unpacked.get(k);
};

let viewer = null;
// Show a structure that turns by hand; "" for none.
const showStructure = (box, block) => {
  box.hidden = !block;
  if (!block) return;
  try {
    viewer ??= $3Dmol.createViewer(box, { backgroundColor: "white", backgroundAlpha: 0 });
  } catch (error) {
    box.textContent = "This browser offers no WebGL, which the structure needs.";
    return;
  }
  viewer.removeAllModels();
  viewer.addModel(block, "sdf", { keepH: true });
  viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.22 } });
  viewer.resize();
  viewer.zoomTo();
  viewer.zoom(0.9);
  viewer.render();
};
