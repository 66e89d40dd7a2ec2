'use strict';

const SIDE = 28, PIXELS = SIDE * SIDE, MOST = 8, TILES = 13, REACH = 3;   // TILES a side on the plane; z from -REACH to REACH
const element = (id) => document.getElementById(id);

let wasm, memory;                       // the functions of web.c, and its arrays
let hasVectors;                         // whether they are those of the faster module
let model = 0, latent = 0;              // 0: it came with the page, 1: trained here
let order = [];                         // slider r shows dimension order[r]: the ones that carry most come first
const z = new Float32Array(MOST);
let posterior = null;                   // of the drawing: { mean, deviation }
let follows = true;                     // z is where the drawing lands, until somebody moves it

// ---- WebAssembly ----

/* The first `size` bytes of what `xz --format=raw --lzma1=lc=3,lp=0,pb=0` made smaller. The browsers' own gzip is
   younger than WebAssembly, and would not see that the two modules are much alike. */
function unpack(packed, size) {
  const out = new Uint8Array(size), repeated = [0, 0, 0, 0];               // the distances of the last copies, less one
  const MATCH = 0, AGAIN = 12, NEWEST = 24, SECOND = 36, THIRD = 48, LONG = 60, SLOT = 72, NEAR = 328, LOW = 443,
    NEW_LENGTH = 459, OLD_LENGTH = 733, LITERAL = 1007;
  const odds = new Uint16Array(LITERAL + 0x300 * 8).fill(1024);             // that a bit is 0, of 2048
  let next = 5, range = 0xffffffff, code = new DataView(packed.buffer).getUint32(1), state = 0, done = 0;
  const shift = () => { range *= 256, code = code * 256 + packed[next++]; };
  const bit = (at) => {
    const bound = (range >>> 11) * odds[at], one = code >= bound;
    if (one) range -= bound, code -= bound, odds[at] -= odds[at] >> 5;
    else range = bound, odds[at] += 2048 - odds[at] >> 5;
    if (range < 0x1000000) shift();
    return one ? 1 : 0;
  };
  const tree = (at, bits) => {
    let node = 1;
    for (let i = 0; i < bits; i++) node = node << 1 | bit(at + node);
    return node - (1 << bits);
  };
  const backward = (at, bits) => {
    let node = 1, value = 0;
    for (let i = 0, b; i < bits; i++) b = bit(at + node), node = node << 1 | b, value |= b << i;
    return value;
  };
  const length = (at) => !bit(at) ? 2 + tree(at + 2, 3) : !bit(at + 1) ? 10 + tree(at + 10, 3) : 18 + tree(at + 18, 8);
  const distance = (length) => {
    const slot = tree(SLOT + 64 * Math.min(length - 2, 3), 6), bits = (slot >> 1) - 1;
    if (slot < 4) return slot;
    let value = (2 | slot & 1) << bits;
    if (slot < 14) return value + backward(NEAR + value - slot, bits);
    for (let i = bits - 1; i >= 4; i--) {                                   // even odds
      range = Math.floor(range / 2);
      if (code >= range) code -= range, value += 1 << i;
      if (range < 0x1000000) shift();
    }
    return value + backward(LOW, 4);
  };
  const literal = () => {
    const at = LITERAL + 0x300 * (done ? out[done - 1] >> 5 : 0);
    let node = 1, match = state < 7 ? -1 : out[done - repeated[0] - 1];    // what stood there last time is unlikely now
    while (node < 256) {
      const likely = match < 0 ? -1 : match >> 7 & 1, b = bit(at + node + (likely < 0 ? 0 : 256 << likely));
      node = node << 1 | b;
      match = b === likely ? match << 1 : -1;
    }
    out[done++] = node;
  };
  while (done < size) {
    if (!bit(MATCH + state)) {
      literal();
      state = state < 4 ? 0 : state - (state < 10 ? 3 : 6);
      continue;
    }
    let copied = 1;
    if (!bit(AGAIN + state)) {
      copied = length(NEW_LENGTH);
      repeated.pop();
      repeated.unshift(distance(copied));
      state = state < 7 ? 7 : 10;
    } else {
      const which = !bit(NEWEST + state) ? 0 : !bit(SECOND + state) ? 1 : 2 + bit(THIRD + state);
      const isLong = which > 0 || bit(LONG + state);
      repeated.unshift(repeated.splice(which, 1)[0]);
      if (isLong) copied = length(OLD_LENGTH);
      state = state < 7 ? isLong ? 8 : 9 : 11;
    }
    for (; copied > 0 && done < size; copied--, done++) out[done] = out[done - repeated[0] - 1];
  }
  return out;
}

/* The page holds the weights, then the module for processors with vectors, then the one that runs wherever there is
   WebAssembly: a browser that does not know all of the first one's instructions takes the second. */
function unpackParts() {
  const { textContent, dataset } = element('packed'), sizes = dataset.sizes.split(' ').map(Number);
  const text = atob(textContent.trim()), packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const [weights, vectors, plain] = sizes;
  const all = unpack(packed, weights + vectors);
  let module = all.subarray(weights);
  hasVectors = WebAssembly.validate(module);
  if (!hasVectors) module = unpack(packed, weights + vectors + plain).subarray(weights + vectors);
  return { weights: all.subarray(0, weights), module };
}

async function start() {
  if (typeof WebAssembly === 'undefined')
    throw new Error('This page needs WebAssembly, which this browser does not have, or has turned off.');
  const { weights, module } = unpackParts(), { instance } = await WebAssembly.instantiate(module, {});
  wasm = instance.exports;
  const buffer = wasm.memory.buffer;    // it never grows
  memory = {
    packed: new Uint8Array(buffer, wasm.packed_at(), weights.length),
    points: new Float32Array(buffer, wasm.points_at(), MOST * TILES),
    pixels: new Float32Array(buffer, wasm.pixels_at(), PIXELS * TILES),
    picture: new Float32Array(buffer, wasm.picture_at(), PIXELS),
    posterior: new Float32Array(buffer, wasm.posterior_at(), 2 * MOST),
    terms: new Float64Array(buffer, wasm.terms_at(), 3),
    order: new Int32Array(buffer, wasm.order_at(), MOST),
  };
  memory.packed.set(weights);
  check(wasm.load(weights.length));
}

function check(status) {
  if (status === 0) return;
  const bytes = new Uint8Array(wasm.memory.buffer, wasm.message(), 256);
  const said = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  throw new Error(said || 'vae.h returned status ' + status);
}

// ---- canvases: as many pixels as the screen has ----

const colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['ink', 'quiet', 'line', 'field', 'accent']) colors[name] = style.getPropertyValue('--' + name).trim();
}

/* The context, scaled so that the canvas is clientWidth x clientHeight, and cleared. */
function begin(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  const across = Math.round(width * ratio), down = Math.round(height * ratio);
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  return context;
}

/* Pixels of a row as ink: the color with the pixel for its opacity. */
function toImage(pixels, strength) {
  const image = new ImageData(SIDE, SIDE), ink = parseInt(colors.ink.slice(1), 16);
  for (let i = 0; i < PIXELS; i++) {
    image.data[4 * i] = ink >> 16;
    image.data[4 * i + 1] = (ink >> 8) & 255;
    image.data[4 * i + 2] = ink & 255;
    image.data[4 * i + 3] = 255 * strength * pixels[i];
  }
  return image;
}

function offscreen(width, height) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  return canvas.getContext('2d', { willReadFrequently: true });
}

// ---- what is to be drawn anew in the next frame ----

const stale = { plane: false, digit: false, chart: false, drawing: false };
let tilesDone = TILES;                  // lines of the plane that are decoded; the others follow, frame by frame
let tilesAreOld = false;                // what they show has changed meanwhile: once more
let frameIsDue = false;

function redraw(...parts) {
  for (const part of parts) stale[part] = true;
  if (frameIsDue || !wasm) return;
  frameIsDue = true;
  requestAnimationFrame(frame);
}

function frame() {
  frameIsDue = false;
  try {
    if (training.runs) trainFor(18);
    if (stale.digit) decodeDigit();
    if (tilesDone < TILES) decodeTiles(7);
    if (stale.plane) drawPlane();
    if (stale.drawing) drawDrawing();
    if (stale.chart) drawChart();
    for (const part in stale) stale[part] = false;
    if (training.runs || tilesDone < TILES) redraw();
  } catch (error) {
    training.runs = false;
    complain(error);
  }
}

// ---- the decoder: one digit, and a plane of them ----

const digit = offscreen(SIDE, SIDE), tiles = offscreen(TILES * SIDE, TILES * SIDE);

function decodeDigit() {
  memory.points.set(z);
  check(wasm.decode(model, 1));
  digit.putImageData(toImage(memory.pixels, 1), 0, 0);
  const canvas = element('digit'), context = begin(canvas);
  context.drawImage(digit.canvas, 0, 0, canvas.clientWidth, canvas.clientHeight);
}

function axes() { return [order[+element('across').value], order[+element('up').value]]; }

/* Line after line of the plane, until the time is up. */
function decodeTiles(milliseconds) {
  const [across, up] = axes(), end = performance.now() + milliseconds;
  do {
    for (let i = 0; i < TILES; i++) {
      memory.points.set(z.subarray(0, latent), i * latent);
      memory.points[i * latent + across] = ((i + 0.5) / TILES * 2 - 1) * REACH;
      memory.points[i * latent + up] = (1 - (tilesDone + 0.5) / TILES * 2) * REACH;
    }
    check(wasm.decode(model, TILES));
    for (let i = 0; i < TILES; i++)
      tiles.putImageData(toImage(memory.pixels.subarray(i * PIXELS, (i + 1) * PIXELS), 0.62), i * SIDE, tilesDone * SIDE);
  } while (++tilesDone < TILES && performance.now() < end);
  if (tilesDone === TILES && tilesAreOld) renewTiles();
  stale.plane = true;
}

/* A round that has begun is finished first: its lower lines would never come while a slider moves. */
function renewTiles() {
  tilesAreOld = tilesDone < TILES;
  if (!tilesAreOld) tilesDone = 0;
}

function drawPlane() {
  const canvas = element('plane'), context = begin(canvas), size = canvas.clientWidth, [across, up] = axes();
  const place = (values) => [(values[across] / REACH + 1) / 2 * size, (1 - values[up] / REACH) / 2 * size];
  context.drawImage(tiles.canvas, 0, 0, size, size);
  context.strokeStyle = context.fillStyle = colors.accent;
  if (posterior) {                      // one and two standard deviations
    const [x, y] = place(posterior.mean);
    for (const times of [2, 1]) {
      const radii = [across, up].map((d) => Math.max(posterior.deviation[d] * times / REACH / 2 * size, 1));
      context.beginPath();
      context.ellipse(x, y, radii[0], radii[1], 0, 0, 2 * Math.PI);
      context.globalAlpha = 0.22;
      context.fill();
      context.globalAlpha = 0.8;
      context.stroke();
    }
    context.globalAlpha = 1;
  }
  const [x, y] = place(z);
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 5.5, 0, 2 * Math.PI);
  context.fill();
  context.strokeStyle = colors.field;
  context.stroke();
  if (!plane.drags) return;
  /* While a finger hides the place, the digit shows beside it. */
  const lens = 84, left = Math.min(Math.max(x - lens / 2, 4), size - lens - 4), above = y > lens + 40 ? y - lens - 30 : y + 30;
  context.fillStyle = colors.field;
  context.strokeStyle = colors.accent;
  context.fillRect(left, above, lens, lens);
  context.strokeRect(left, above, lens, lens);
  context.drawImage(digit.canvas, left, above, lens, lens);
}

/* z has changed: everything that shows it follows. */
function show(onlyAxes) {
  for (const [rank, slider] of sliders.entries()) {
    slider.input.value = z[order[rank]];
    slider.output.textContent = z[order[rank]].toFixed(2).replace('-', '−');
  }
  if (!onlyAxes) renewTiles();
  redraw('digit', 'plane');
}

const plane = { drags: false };

function movePlane(event) {
  const box = element('plane').getBoundingClientRect(), [across, up] = axes();
  const bounded = (part) => Math.min(Math.max(part, 0), 1) * 2 - 1;
  z[across] = bounded((event.clientX - box.left) / box.width) * REACH;
  z[up] = -bounded((event.clientY - box.top) / box.height) * REACH;
  follows = false;
  show(true);
}

function listenToPlane() {
  const canvas = element('plane');
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    plane.drags = true;
    movePlane(event);
  });
  canvas.addEventListener('pointermove', (event) => { if (plane.drags) movePlane(event); });
  for (const type of ['pointerup', 'pointercancel'])
    canvas.addEventListener(type, () => { plane.drags = false; redraw('plane'); });
  canvas.addEventListener('keydown', (event) => {
    const [across, up] = axes();
    const step = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [up, 1], ArrowDown: [up, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    follows = false;
    z[step[0]] = Math.min(Math.max(z[step[0]] + 0.1 * step[1], -REACH), REACH);
    show(true);
  });
  for (const id of ['across', 'up']) {
    element(id).addEventListener('change', () => {
      const other = element(id === 'up' ? 'across' : 'up');
      if (other.value === element(id).value) other.value = (+other.value + 1) % latent;
      show();
    });
  }
}

// ---- one slider a dimension ----

let sliders = [];
const nameOf = (rank) => 'z' + '₁₂₃₄₅₆₇₈'[rank];

function makeSliders() {
  const list = element('sliders');
  list.replaceChildren();
  sliders = order.map((dimension, rank) => {
    const row = document.createElement('label'), track = document.createElement('div');
    const spread = document.createElement('i'), input = document.createElement('input');
    const output = document.createElement('output');
    row.className = 'slider';
    track.className = 'track';
    Object.assign(input, { type: 'range', min: -REACH, max: REACH, step: 0.01 });
    input.setAttribute('aria-label', nameOf(rank));
    input.addEventListener('input', () => {
      z[dimension] = +input.value;
      follows = false;
      show(axes().includes(dimension));
    });
    track.append(spread, input);
    row.append(nameOf(rank), track, output);
    list.append(row);
    return { input, output, spread };
  });
  for (const id of ['across', 'up']) {
    const options = order.map((_, rank) => new Option(nameOf(rank), rank));
    element(id).replaceChildren(...options);
    element(id).value = id === 'up' ? Math.min(1, latent - 1) : 0;
  }
}

/* The band behind each slider: where the drawing lands, give or take two standard deviations. */
function showSpread() {
  const thumb = 14, part = (value) => Math.min(Math.max((value / REACH + 1) / 2, 0), 1);
  for (const [rank, slider] of sliders.entries()) {
    slider.spread.hidden = !posterior;
    if (!posterior) continue;
    const mean = posterior.mean[order[rank]], deviation = posterior.deviation[order[rank]];
    const from = part(mean - 2 * deviation), to = part(mean + 2 * deviation);
    slider.spread.style.left = `calc(${thumb / 2}px + ${from} * (100% - ${thumb}px))`;
    slider.spread.style.width = `calc(${to - from} * (100% - ${thumb}px))`;
  }
  element('spread').textContent = posterior ? 'Bands and ellipses: where your digit lands, give or take two standard deviations.' : ' ';
}

// ---- drawing ----

const PEN = 2.4, BOX = 20, FINE = 4;    // in pixels of the picture; FINE: of a finer one, from which its greys come
const EXAMPLE = [[.29, .27], [.36, .19], [.47, .15], [.58, .17], [.65, .25], [.64, .34], [.57, .42], [.46, .47], [.58, .50],
  [.67, .57], [.69, .68], [.63, .79], [.52, .85], [.40, .85], [.30, .79]];
let strokes = [EXAMPLE];                // each a list of points, as parts of the canvas
let isExample = true, draws = false;
const fine = offscreen(SIDE * FINE, SIDE * FINE);

function trace(context, point) {
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach((from, i) => {       // curves through the middles of the pieces: no corners
      const [x, y] = point(from), next = stroke[i + 1];
      if (i === 0) context.moveTo(x, y);
      if (!next) return context.lineTo(x, y + 0.01);
      const [nextX, nextY] = point(next);
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    });
    context.stroke();
  }
}

/* The strokes as MNIST has digits: in a box of 20 x 20 pixels, then moved so that the ink's center is the image's. */
function toPicture() {
  const all = strokes.flat(), xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const left = Math.min(...xs), top = Math.min(...ys), width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  const scale = (BOX - PEN) / Math.max(width, height, 0.2), grey = new Float32Array(PIXELS);
  let moveX = 0, moveY = 0;
  for (let pass = 0; pass < 2; pass++) {
    fine.clearRect(0, 0, SIDE * FINE, SIDE * FINE);
    Object.assign(fine, { lineWidth: PEN * FINE, lineCap: 'round', lineJoin: 'round', strokeStyle: '#000' });
    trace(fine, ([x, y]) => [(SIDE / 2 + (x - left - width / 2) * scale + moveX) * FINE,
      (SIDE / 2 + (y - top - height / 2) * scale + moveY) * FINE]);
    const data = fine.getImageData(0, 0, SIDE * FINE, SIDE * FINE).data;
    let ink = 0, inkX = 0, inkY = 0;
    grey.fill(0);
    for (let y = 0; y < SIDE * FINE; y++) {
      for (let x = 0; x < SIDE * FINE; x++) {
        const part = data[4 * (y * SIDE * FINE + x) + 3] / 255;
        grey[(y / FINE | 0) * SIDE + (x / FINE | 0)] += part / (FINE * FINE);
        ink += part, inkX += part * (x + 0.5) / FINE, inkY += part * (y + 0.5) / FINE;
      }
    }
    if (ink > 0) moveX = SIDE / 2 - inkX / ink, moveY = SIDE / 2 - inkY / ink;
  }
  return grey.map((part) => Math.min(part, 1));
}

/* The drawing has changed: z goes where it lands. */
function take() {
  follows = strokes.length > 0;
  if (follows) memory.picture.set(toPicture());
  encode();
  redraw('drawing');
}

/* Where the drawing lands with the weights as they are. */
function encode() {
  posterior = null;
  if (strokes.length) {
    check(wasm.encode(model));
    posterior = { mean: memory.posterior.slice(0, latent),
      deviation: memory.posterior.slice(MOST, MOST + latent).map((logVariance) => Math.exp(logVariance / 2)) };
    const [loss, reconstruction, kl] = memory.terms;
    element('terms').textContent = `reconstruction ${reconstruction.toFixed(1)} + KL ${kl.toFixed(1)} = ${loss.toFixed(1)} nats`;
    if (follows) z.set(posterior.mean);
  } else element('terms').textContent = 'Draw with the mouse or a finger.';
  showSpread();
  show(!follows);
}

function drawDrawing() {
  const canvas = element('drawing'), context = begin(canvas), size = canvas.clientWidth;
  Object.assign(context, { lineWidth: size * 0.075, lineCap: 'round', lineJoin: 'round', strokeStyle: colors.ink });
  trace(context, ([x, y]) => [x * size, y * size]);
}

function listenToDrawing() {
  const canvas = element('drawing');
  const add = (event) => {
    const box = canvas.getBoundingClientRect(), all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of all.length ? all : [event])
      strokes[strokes.length - 1].push([(each.clientX - box.left) / box.width, (each.clientY - box.top) / box.height]);
    take();
  };
  canvas.addEventListener('pointerdown', (event) => {
    if (isExample) strokes = [];
    isExample = false;
    draws = true;
    canvas.setPointerCapture(event.pointerId);
    strokes.push([]);
    add(event);
  });
  canvas.addEventListener('pointermove', (event) => { if (draws) add(event); });
  for (const type of ['pointerup', 'pointercancel']) canvas.addEventListener(type, () => { draws = false; });
  element('clear').addEventListener('click', () => { strokes = []; isExample = false; take(); });
  element('random').addEventListener('click', () => {
    follows = false;
    for (let i = 0; i < latent; i++)    // two uniform numbers make a normal one
      z[i] = Math.min(Math.max(Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()), -3), 3);
    show();
  });
}

// ---- training ----

const training = { runs: false, exists: false, steps: 0, curve: [], merged: 1, pending: [], means: [0, 0, 0] };
const BATCH = 64, POINTS = 400;

function trainFor(milliseconds) {
  const end = performance.now() + milliseconds;
  do {
    check(wasm.train());
    const loss = memory.terms[0];
    training.steps++;
    const share = Math.max(1 / training.steps, 0.06);        // of a running mean
    training.means = training.means.map((mean, k) => mean + (memory.terms[k] - mean) * share);
    training.pending.push([loss, training.means[0]]);
    if (training.pending.length < training.merged) continue;
    training.curve.push([0, 1].map((k) => training.pending.reduce((sum, point) => sum + point[k], 0) / training.merged));
    training.pending = [];
    if (training.curve.length < 2 * POINTS) continue;       // the curve is full: every two points become one
    training.curve = training.curve.filter((_, i) => i % 2).map((point, i) =>
      point.map((value, k) => (value + training.curve[2 * i][k]) / 2));
    training.merged *= 2;
  } while (performance.now() < end);
  ['loss', 'reconstruction', 'kl'].forEach((id, k) => { element(id).textContent = training.means[k].toFixed(1); });
  element('seen').textContent = (training.steps * BATCH).toLocaleString('en');
  stale.chart = true;
  if (model !== 1) return;
  encode();                             // the drawing moves as the model learns
  renewTiles();
}

function drawChart() {
  const canvas = element('chart'), context = begin(canvas), width = canvas.clientWidth, height = canvas.clientHeight;
  const curve = training.curve, margin = { left: 34, right: 12, top: 12, bottom: 22 };
  const all = curve.map((point) => point[0]);
  const high = Math.log(Math.max(...all, 400)), low = Math.log(Math.min(...all, 120) * 0.93);
  const y = (value) => margin.top + (high - Math.log(value)) / (high - low) * (height - margin.top - margin.bottom);
  const x = (i) => margin.left + i / Math.max(curve.length - 1, 1) * (width - margin.left - margin.right);
  context.font = '12px system-ui, sans-serif';
  context.lineWidth = 1;
  for (const tick of [20, 30, 50, 70, 100, 150, 200, 300, 500]) {
    if (Math.log(tick) < low || Math.log(tick) > high) continue;
    context.strokeStyle = colors.line;
    context.beginPath();
    context.moveTo(margin.left, y(tick));
    context.lineTo(width - margin.right, y(tick));
    context.stroke();
    context.fillStyle = colors.quiet;
    context.textAlign = 'right';
    context.fillText(tick, margin.left - 6, y(tick) + 4);
  }
  context.fillText(curve.length ? `step ${training.steps.toLocaleString('en')}` : 'loss by step', width - margin.right, height - 7);
  for (const k of [0, 1]) {             // each step, faint; their running mean
    context.strokeStyle = colors.accent;
    context.globalAlpha = k ? 1 : 0.3;
    context.lineWidth = k ? 2 : 1;
    context.beginPath();
    curve.forEach((point, i) => context.lineTo(x(i), y(point[k])));
    context.stroke();
  }
}

function beginTraining() {
  check(wasm.begin(+element('size').value, Date.now() & 0xfffffff));
  Object.assign(training, { runs: true, exists: true, steps: 0, curve: [], merged: 1, pending: [], means: [0, 0, 0] });
  choose(1);
}

function listenToTraining() {
  const label = () => {
    element('start').textContent = training.runs ? 'Pause' : training.exists ? 'Go on' : 'Start';
    element('restart').disabled = !training.exists;
    element('own').disabled = !training.exists;
  };
  element('start').addEventListener('click', () => {
    if (!training.exists) beginTraining();
    else training.runs = !training.runs;
    if (training.runs && model !== 1) choose(1);
    label();
    redraw('chart');
  });
  const restart = () => {
    if (!training.exists) return;
    beginTraining();
    label();
    redraw('chart');
  };
  element('restart').addEventListener('click', restart);
  element('size').addEventListener('change', restart);
  element('built-in').addEventListener('click', () => choose(0));
  element('own').addEventListener('click', () => choose(1));
}

// ---- which model everything above is about ----

function choose(which) {
  model = which;
  latent = wasm.latent(model);
  check(wasm.sort_dimensions(model));
  order = Array.from(memory.order.subarray(0, latent));
  element('built-in').setAttribute('aria-pressed', model === 0);
  element('own').setAttribute('aria-pressed', model === 1);
  z.fill(0);
  makeSliders();
  take();
  show();
}

function complain(error) {
  element('problem').textContent = error.message;
  element('problem').hidden = false;
  console.error(error);
}

start().then(() => {
  readColors();
  listenToPlane();
  listenToDrawing();
  listenToTraining();
  choose(0);
  element('start').disabled = false;
  redraw('chart');
  new ResizeObserver(() => redraw('plane', 'digit', 'drawing', 'chart')).observe(document.body);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    readColors();
    renewTiles();
    redraw('plane', 'digit', 'drawing', 'chart');
  });
}).catch(complain);
