// The page that `make web` makes: its two modules in Node against the same C run natively, then the page in headless
// Chromium, with vectors and without: loading, dragging, drawing by mouse and finger, training; nothing on its console;
// nothing wider than the screen. Only Node's own modules.
//     make test-web [PICTURES=FOLDER]                 with a folder for screenshots
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const build = process.argv[2] ?? 'build', pictures = process.argv[3];
let passed = 0, failed = 0, skipped = 0;

async function test(name, body) {
  try {
    await body();
    passed++;
    console.log('ok      ' + name);
    return true;
  } catch (error) {
    failed++;
    console.log('FAILED  ' + name + ': ' + error.message);
    return false;
  }
}
function skip(name, why) { skipped++; console.log(`SKIPPED ${name}: ${why}`); }
function expect(condition, what) { if (!condition) throw new Error(what); }
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// ---- the module ----

/* What tests/test_web.c --hashes prints, made by the module. */
async function hashes(path) {
  const { instance } = await WebAssembly.instantiate(readFileSync(path), {});
  const wasm = instance.exports, hash = (m) => (wasm.weights_hash(m) >>> 0).toString(16).padStart(8, '0');
  const weights = readFileSync(join(build, 'web/weights')), lines = [];
  new Uint8Array(wasm.memory.buffer).set(weights, wasm.packed_at());
  expect(wasm.load(weights.length) === 0, 'the weights do not load');
  lines.push('loaded ' + hash(0));
  expect(wasm.begin(2, 7) === 0, 'no model to train');
  for (let step = 0; step < 20; step++) expect(wasm.train() === 0, 'a step fails');
  lines.push('trained ' + hash(1));
  const terms = new Float64Array(wasm.memory.buffer, wasm.terms_at(), 3);
  const posterior = new Float32Array(wasm.memory.buffer, wasm.posterior_at(), 16);
  const picture = new Float32Array(wasm.memory.buffer, wasm.picture_at(), 784);
  for (let i = 0; i < 784; i++) picture[i] = (i % 28) > 11 && (i % 28) < 16 && i > 112 && i < 672 ? 1 : 0;
  expect(wasm.encode(0) === 0, 'encoding fails');
  lines.push('encoded ' + [...posterior.slice(0, 8), terms[0]].map((x) => Math.floor(x * 1000 + 0.5)).join(' '));
  new Float32Array(wasm.memory.buffer, wasm.points_at(), 8).set(posterior.slice(0, 8));
  expect(wasm.decode(0, 1) === 0, 'decoding fails');
  const pixels = new Float32Array(wasm.memory.buffer, wasm.pixels_at(), 784);
  lines.push('decoded ' + [396, 405, 410].map((i) => Math.floor(pixels[i] * 1000 + 0.5)).join(' '));
  expect(wasm.decode(0, 65) !== 0 && wasm.begin(9, 1) !== 0, 'what does not fit must be refused');
  return lines.join('\n');
}

// ---- the page ----

/* Chromium driven by its DevTools protocol over a pipe: messages are JSON, ended by a zero byte. */
class Browser {
  constructor(command, ...flags) {
    this.profile = mkdtempSync(join(tmpdir(), 'vae-web-'));
    this.child = spawn(command, ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
      '--disable-dev-shm-usage', '--user-data-dir=' + this.profile, '--remote-debugging-pipe', ...flags, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.pending = new Map();
    this.heard = [];                    // errors and warnings on the console
    this.last = 0;
    let text = '';
    this.child.stdio[4].setEncoding('utf8');
    this.child.stdio[4].on('data', (piece) => {
      text += piece;
      const messages = text.split('\0');
      text = messages.pop();
      for (const message of messages) this.receive(JSON.parse(message));
    });
  }
  receive(message) {
    const { method, params } = message;
    if (this.pending.has(message.id)) {
      const { resolve, reject } = this.pending.get(message.id);
      this.pending.delete(message.id);
      if (message.error) reject(new Error(message.error.message));
      else resolve(message.result);
    } else if (method === 'Runtime.exceptionThrown') this.heard.push(params.exceptionDetails.exception?.description);
    else if (method === 'Runtime.consoleAPICalled') this.heard.push(params.args.map((a) => a.value ?? a.description).join(' '));
    else if (method === 'Log.entryAdded') this.heard.push(params.entry.text);
  }
  send(method, params = {}) {
    const id = ++this.last;
    this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId: this.session }) + '\0');
    return new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
  }
  async open(url, width, height, touches, dark, before) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.session = sessionId;
    for (const domain of ['Runtime', 'Log', 'Page']) await this.send(domain + '.enable');
    await this.send('Emulation.setDeviceMetricsOverride',
      { width, height, deviceScaleFactor: 2, mobile: touches });
    if (touches) await this.send('Emulation.setTouchEmulationEnabled', { enabled: true });
    await this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    if (before) await this.send('Page.addScriptToEvaluateOnNewDocument', { source: before });
    await this.send('Page.navigate', { url });
  }
  async ready() {
    await this.until('typeof wasm === "object" && !element("start").disabled && tilesDone === TILES', 'the page to be ready');
  }
  async close() {
    const { session } = this;
    this.session = undefined;
    const { targetInfos } = await this.send('Target.getTargets');
    for (const { type, targetId } of targetInfos) if (type === 'page') await this.send('Target.closeTarget', { targetId });
    return session;
  }
  async value(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }
  async until(expression, what, seconds = 60) {
    for (let i = 0; i < seconds * 10; i++) {
      if (await this.value(expression).catch(() => false)) return;
      await wait(100);
    }
    throw new Error('waited in vain for ' + what + '; the page says: ' + await this.value('element("problem").textContent'));
  }
  /* Places as parts of an element's box, gone through by mouse or finger. */
  async drag(id, places, touches) {
    await this.value(`element("${id}").scrollIntoView({ block: "center" })`);
    const box = await this.value(`element("${id}").getBoundingClientRect().toJSON()`);
    const points = places.map(([x, y]) => ({ x: box.x + x * box.width, y: box.y + y * box.height }));
    const at = (i) => points[Math.min(i, points.length - 1)];
    for (let i = 0; i <= points.length; i++) {
      const step = i === 0 ? 0 : i < points.length ? 1 : 2;
      if (touches) await this.send('Input.dispatchTouchEvent',
        { type: ['touchStart', 'touchMove', 'touchEnd'][step], touchPoints: step < 2 ? [at(i)] : [] });
      else await this.send('Input.dispatchMouseEvent', { type: ['mousePressed', 'mouseMoved', 'mouseReleased'][step],
        ...at(i), button: 'left', buttons: step < 2 ? 1 : 0, clickCount: 1 });
    }
    await wait(100);
  }
  async picture(name) {
    if (!pictures) return;
    mkdirSync(pictures, { recursive: true });
    await this.value('scrollTo(0, 0)');
    await wait(300);
    const { cssContentSize } = await this.send('Page.getLayoutMetrics');
    name = name.replace(/ /g, '-');
    for (const [suffix, whole] of [['', false], ['-whole', true]]) {
      const { data } = await this.send('Page.captureScreenshot', whole ? { captureBeyondViewport: true,
        clip: { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 } } : {});
      writeFileSync(join(pictures, name + suffix + '.png'), Buffer.from(data, 'base64'));
    }
  }
  async quit() {
    const gone = new Promise((resolve) => this.child.on('exit', resolve));
    this.session = undefined;
    this.child.stdio[3].write(JSON.stringify({ id: ++this.last, method: 'Browser.close' }) + '\0');
    await Promise.race([gone, wait(5000)]);
    if (this.child.exitCode === null) this.child.kill('SIGKILL');
    await wait(200);
    rmSync(this.profile, { recursive: true, force: true });
  }
}

const SEVEN = [[.25, .2], [.4, .2], [.6, .2], [.75, .2], [.68, .35], [.6, .5], [.52, .65], [.45, .85]];
const ink = 'memory.pixels.subarray(0, 784).reduce((a, b) => a + b)';

const url = (name) => 'file://' + resolve(build, name);
const part = (name) => readFileSync(join(build, 'web', name));
const hash = (bytes) => bytes.reduce((sum, byte) => (Math.imul(sum, 16777619) ^ byte) >>> 0, 1);

async function visit(browser, name, width, height, touches, dark, module = 'vae.wasm', before = '') {
  const loads = await test(name + ': the page loads', async () => {
    await browser.open(url('vae.html'), width, height, touches, dark, before);
    await browser.ready();
    const got = await browser.value(`(${hash})(unpackParts().module)`);
    expect(got === hash(part(module)), 'it is not ' + module);
    expect(await browser.value('element("sliders").children.length') === 8, 'eight sliders');
    expect(await browser.value('posterior !== null'), 'the example lands somewhere');
  });
  if (!loads) return browser.close();
  await test(name + ': nothing is wider than the screen', async () => {
    const wide = await browser.value('document.documentElement.scrollWidth');
    expect(wide <= width, `${wide} pixels on a screen of ${width}`);
  });
  await browser.picture(name);
  await test(name + ': dragging over the plane changes the digit', async () => {
    const before = await browser.value('Array.from(memory.pixels.subarray(0, 784))');
    await browser.drag('plane', [[.5, .5], [.3, .4], [.2, .25]], touches);
    const after = await browser.value('Array.from(memory.pixels.subarray(0, 784))');
    const [x, y] = await browser.value('axes().map((d) => z[d])');
    expect(Math.abs(x + 1.8) < 0.05 && Math.abs(y - 1.5) < 0.05, `z is ${x}, ${y}`);
    expect(after.some((p, i) => Math.abs(p - before[i]) > 0.2), 'the same digit');
  });
  await test(name + ': a slider moves z and the plane', async () => {
    await browser.value('sliders[2].input.value = 2; sliders[2].input.dispatchEvent(new Event("input"))');
    expect(await browser.value('z[order[2]] === 2'), 'z stayed');
    await browser.until('tilesDone === TILES', 'the plane');
  });
  await test(name + ': a drawn seven lands, and becomes a digit', async () => {
    await browser.drag('drawing', SEVEN, touches);
    expect(await browser.value('strokes.length') === 1, 'one stroke');
    expect(await browser.value('posterior.deviation.every((d) => d > 0 && d < 2)'), 'a spread');
    expect(await browser.value('posterior.mean.every((m, d) => Math.abs(z[d] - m) < 1e-6)'), 'z is where it lands');
    const total = await browser.value(ink);
    expect(total > 30 && total < 250, `the decoded digit has ${total} pixels of ink`);
    expect(/reconstruction [0-9.]+ \+ KL [0-9.]+ = [0-9.]+ nats/.test(await browser.value('element("terms").textContent')), 'its terms');
  });
  await test(name + ': it trains, and the loss falls', async () => {
    await browser.value('element("start").click()');
    await browser.until('training.steps >= 60', '60 steps');
    const [first, last] = await browser.value('[training.curve[0][0], training.means[0]]');
    expect(last < 0.6 * first, `the loss went from ${first} to ${last}`);
    expect(await browser.value('model === 1 && latent === 2 && sliders.length === 2'), 'the page shows the new model');
    if (pictures) await browser.until('training.steps >= 600', '600 steps', 120);
    await browser.value('element("start").click()');
    await browser.until('!training.runs && tilesDone === TILES', 'a pause');
    const steps = await browser.value('training.steps');
    await wait(300);
    expect(await browser.value('training.steps') === steps, 'a pause is a pause');
  });
  await browser.picture(name + '-trained');
  await test(name + ': back to the model that came with it, clear, random z, eight numbers', async () => {
    await browser.value('element("built-in").click(); element("clear").click(); element("random").click()');
    expect(await browser.value('model === 0 && posterior === null && z.some((x) => x !== 0)'), 'the built-in model');
    await browser.value('element("size").value = 8; element("size").dispatchEvent(new Event("change"))');
    await browser.until('model === 1 && latent === 8 && training.steps > 0', 'a step');
    await browser.value('element("start").click()');
  });
  await test(name + ': nothing on the console', async () => {
    expect(await browser.value('element("problem").hidden'), await browser.value('element("problem").textContent'));
    expect(!browser.heard.length, browser.heard.join('\n'));
  });
  await browser.close();
}

/* What a browser that cannot run the page shows. */
async function refuse(browser, name, page, before, sentence) {
  await test(name, async () => {
    await browser.open(url(page), 390, 844, true, false, before);
    await browser.until('document.getElementById("problem").hidden === false', 'a sentence');
    const said = await browser.value('document.getElementById("problem").textContent');
    expect(said.includes(sentence), said);
  });
  await browser.picture(name);
  browser.heard = [];
  await browser.close();
}

/* Without SSE 4.1 Chromium has no vectors in WebAssembly. On other processors it knows no such flag: there the page is
   told that the first module is none. */
async function visitWithoutVectors(command) {
  const browser = new Browser(command, '--js-flags=--no-enable-sse4-1');
  const before = process.arch === 'x64' ? '' : 'WebAssembly.validate = () => false';
  try {
    await visit(browser, 'phone without vectors', 390, 844, true, false, 'plain.wasm', before);
    await visit(browser, 'desktop without vectors', 1280, 800, false, true, 'plain.wasm', before);
  } finally { await browser.quit(); }
}

// ---- all of it ----

if (!existsSync(join(build, 'vae.html'))) {
  console.log('0 passed, 0 failed, 1 skipped: make web made no page here');
  process.exit(0);
}
await test('the page has less than 150,000 bytes', () => {
  const { size } = statSync(join(build, 'vae.html'));
  expect(size < 150000, `it has ${size}`);
});
await test('the page unpacks what xz has packed', () => {
  const script = readFileSync('examples/web/page.js', 'utf8'), at = script.indexOf('function unpack(');
  const unpack = new Function('return ' + script.slice(at, script.indexOf('\n}\n', at) + 2))();
  const all = Buffer.concat(['weights', 'vae.wasm', 'plain.wasm'].map(part));
  for (const size of [all.length, 1000]) {
    const got = unpack(new Uint8Array(part('packed')), size);
    expect(got.length === size && all.subarray(0, size).equals(got), `other bytes of ${size}`);
  }
});
const native = execFileSync(join(build, 'test_web'), ['--hashes', join(build, 'web/weights')]).toString().trim();
for (const module of ['vae.wasm', 'plain.wasm'])
  await test(module + ' gives the same bits as the library here', async () => {
    const got = await hashes(join(build, 'web', module));
    expect(got === native, `\n${got}\ninstead of\n${native}`);
  });
const command = ['chromium', 'chromium-browser', 'chromium-headless-shell', 'google-chrome'].find((name) => {
  try { return execFileSync('sh', ['-c', 'command -v ' + name]).length; } catch { return false; }
});
if (!command) skip('the page in a browser', 'chromium is not installed');
else {
  const browser = new Browser(command);
  try {
    await visit(browser, 'desktop', 1280, 800, false, false);
    await visit(browser, 'phone', 390, 844, true, true);
    await refuse(browser, 'without WebAssembly', 'vae.html', 'delete self.WebAssembly', 'needs WebAssembly');
    const page = readFileSync(join(build, 'vae.html'), 'latin1');
    writeFileSync(join(build, 'web/younger.html'), page.replace("'use strict';", 'a word of tomorrow;'), 'latin1');
    await refuse(browser, 'with words it does not know', 'web/younger.html', '', 'This browser is too old');
  } finally { await browser.quit(); }
  await visitWithoutVectors(command);
}
console.log(`${passed} passed, ${failed} failed` + (skipped ? `, ${skipped} skipped` : ''));
process.exit(failed ? 1 : 0);
