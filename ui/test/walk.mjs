// Walks through the page as a person would, in Chromium. PICKET_SIGNIN_URL is a one-time link of a
// running node on which `picket lab attack steal-weights` runs or ran; without it, a fake answers.
// PICKET_SCREENSHOTS is a folder for screenshots, PICKET_CHROMIUM the browser's path,
// PICKET_WAIT how many seconds the incident may take, PICKET_GPU=0 says that the node sees no GPU. respond.mjs
// says what it takes to answer an incident.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { incidents } from './data.mjs';
import { session, start } from './fake.mjs';
import { walkFakeAnswers, walkPages, walkRespond } from './respond.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const shots = process.env.PICKET_SCREENSHOTS;
const wait = Number(process.env.PICKET_WAIT ?? 60) * 1000;
const fake = process.env.PICKET_SIGNIN_URL ? undefined : await start();
const link = process.env.PICKET_SIGNIN_URL ?? fake.link;
const origin = new URL(link).origin;

const browser = await chromium.launch({
  executablePath: process.env.PICKET_CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--no-first-run', '--disable-component-update', '--disable-sync'],
});
const complaints = [];
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: 'light' });
context.on('request', (r) => { if (!r.url().startsWith(origin) && !r.url().startsWith('data:')) complaints.push('asked another host: ' + r.url()); });
const page = await context.newPage();
page.setDefaultTimeout(Math.max(15_000, wait / 4));
const theft = page.locator('[data-row]', { hasText: /weights (stolen|of .* left)/i }).first();
page.on('pageerror', (e) => complaints.push('error: ' + e.message));
page.on('console', (m) => { if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) complaints.push('console: ' + m.text()); });
page.on('dialog', (d) => { complaints.push('hostile text ran: ' + d.message()); void d.dismiss(); });

async function check(name) {
  await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))));
  for (const scheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(300);
    // Colours that change with the theme take a moment, in which neither theme's contrast holds.
    await page.evaluate(() => document.getAnimations().forEach((one) => { if (one instanceof CSSTransition) one.finish(); }));
    // As a test's own tool, axe is put in past the page's policy.
    const result = await page.evaluate(`(() => { const module = undefined; const define = undefined; ${axe}; return axe.run(document, { resultTypes: ['violations'] }); })()`);
    const bad = result.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
    for (const v of bad) complaints.push(`${name}, ${scheme}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
    if (shots) {
      await page.evaluate(() => scrollTo(0, 0));
      mkdirSync(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `${name}-${scheme}.png`), fullPage: name !== 'live' });
    }
  }
}

const step = async (name, fn) => {
  const begin = Date.now();
  await fn();
  console.log(`ok  ${name} (${Date.now() - begin} ms)`);
};

/** walkFake sees what only the fake has: hostile names, a query that fails, an incident that is not there. */
async function walkFake() {
  await step('close with a verdict', async () => {
    await page.goto(origin + '/incidents/inc-tamper');
    await page.getByRole('heading', { name: /mistral-small/ }).waitFor();
    await page.keyboard.press('c');
    await page.getByRole('radio', { name: /False positive/ }).check();
    await page.getByRole('dialog').getByLabel('Note').fill('a planned update');
    await page.getByRole('button', { name: 'Close incident' }).click();
    await page.getByText('closed · false positive').waitFor();
    await page.getByRole('region', { name: 'Log' }).getByText('a planned update').waitFor();
  });
  await step('live change', async () => {
    await page.goto(origin + '/incidents?q=metadata');
    await page.locator('[data-row]').first().waitFor();
    await page.waitForTimeout(300);
    const probe = incidents.find((i) => i.id === 'inc-probe');
    probe.title = 'A notebook asked the metadata address for keys';
    fake.publish('incident', probe);
    await page.locator('[data-row]', { hasText: 'for keys' }).waitFor();
  });
  await step('hostile text is shown, not run', async () => {
    await page.goto(origin + '/incidents?q=alert');
    await page.locator('[data-row]', { hasText: '<script>alert(1)</script> ‹ESC›[31m‹U+202E›lla' }).waitFor();
    await page.goto(origin + '/events?q=AAAA');
    await page.getByRole('button', { name: /show all 3,0\d\d characters/ }).click();
    await page.getByRole('button', { name: 'show less' }).waitFor();
  });
  await step('errors and empty lists', async () => {
    await page.goto(origin + '/incidents/none');
    await page.getByRole('button', { name: 'Try again' }).waitFor();
    await page.goto(origin + '/events?q=((');
    await page.getByText('a bracket is not closed').waitFor();
    await check('error');
    await page.goto(origin + '/incidents?q=nothingatall');
    await page.getByText('No incident matches').waitFor();
  });
  await step('completion of field names', async () => {
    await page.goto(origin + '/events');
    await page.getByLabel('Query, LogsQL').fill('comm');
    await page.getByRole('option', { name: /process.cmdline/ }).waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('input[aria-label^=Query]').value === 'process.cmdline:');
  });
  await step('a search is started while another runs', async () => {
    let letGo;
    const held = new Promise((done) => { letGo = done; });
    await page.route(/\/api\/v1\/events\?/, async (r) => {
      if (!r.request().url().includes('q=weights')) await held;
      await r.continue().catch(() => {}); // the page gave it up
    });
    await page.goto(origin + '/events');
    await page.getByLabel('Query, LogsQL').fill('weights');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=weights/);
    await page.locator('.events .open').first().waitFor();
    letGo();
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  });
  await step('narrow window', async () => {
    await page.setViewportSize({ width: 620, height: 800 });
    await page.goto(origin + '/incidents/inc-steal');
    await page.getByTestId('story').waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out to the side');
    await check('narrow');
    await page.setViewportSize({ width: 390, height: 800 }); // a phone
    for (const path of ['incidents', 'incidents/inc-steal', 'approvals', 'runs/run-kill', 'playbooks/contain-weights', 'inventory', 'gpus', 'fleet', 'threats']) {
      await page.goto(origin + '/' + path);
      await page.getByRole('heading', { level: 1 }).waitFor();
      await page.waitForTimeout(500);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path + ' sticks out to the side');
      if (path === 'incidents') assert.ok((await page.locator('[data-row]').first().boundingBox()).width > 100, 'titles of incidents have room');
    }
  });
}

async function walk() {
  await step('sign-in page', async () => {
    await page.goto(origin);
    await page.getByRole('heading', { name: 'Sign in to Picket' }).waitFor();
    await check('signin');
  });
  await step('one-time link', async () => {
    await page.goto(link);
    await page.getByRole('heading', { name: 'Incidents', level: 1 }).waitFor();
  });
  await step('incidents list shows the theft of weights', async () => {
    await theft.waitFor({ timeout: wait });
    await check('incidents');
  });
  await step('keys', async () => {
    await page.keyboard.press('j');
    assert.ok(await page.evaluate(() => document.activeElement.hasAttribute('data-row')), 'j focuses a row');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Search incidents');
    await page.keyboard.press('Escape');
  });
  await step('incident', async () => {
    await theft.click();
    await page.getByTestId('story').waitFor();
    assert.ok((await page.getByTestId('story').innerText()).length > 30, 'the story says something');
    await page.getByTestId('process-graph').locator('canvas').first().waitFor();
    assert.ok(await page.locator('.tree li').count() >= 2, 'the process list has processes');
    assert.ok(await page.getByTestId('timeline').locator('li').count() >= 2, 'the timeline has passages');
    assert.match(await page.getByTestId('techniques').innerText(), /\bT\d{4}/, 'an ATT&CK technique is named');
    assert.match(await page.getByTestId('techniques').innerText(), /AML\.T\d{4}/, 'an ATLAS technique is named');
    const entities = await page.getByTestId('entities').innerText();
    for (const kind of ['model', 'container']) assert.match(entities, new RegExp(`\\b${kind}\\b`), `the ${kind} is named`);
    await page.locator('.finding').first().waitFor();
    await page.locator('.finding .open').first().click();
    await page.getByText('process.cmdline').first().waitFor();
    await check('incident');
  });
  await step('acknowledge and reopen', async () => {
    await page.getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByRole('button', { name: 'Reopen' }).click();
    await page.getByRole('button', { name: 'Acknowledge' }).waitFor();
  });
  await step('hunt', async () => {
    await page.keyboard.press('g');
    await page.keyboard.press('e');
    await page.getByRole('heading', { name: 'Events', level: 1 }).waitFor();
    await page.getByLabel('Query, LogsQL').fill('weights');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=weights/);
    await page.locator('.events .open').first().waitFor({ timeout: wait });
    await page.locator('.events .open').first().click();
    await page.locator('.histogram canvas').waitFor();
    await check('events');
  });
  await step('live', async () => {
    await page.getByRole('switch', { name: 'Live' }).click();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('button', { name: /Resume/ }).waitFor();
    await check('live');
  });
  await step('fleet', async () => {
    await page.getByRole('link', { name: 'Fleet' }).click();
    await page.getByTestId('capabilities').first().waitFor();
    assert.ok(await page.getByTestId('capabilities').first().locator('tbody tr').count() >= 2, 'capabilities are listed');
    await check('fleet');
  });
  await step('inventory', async () => {
    await page.getByRole('link', { name: 'Inventory' }).click();
    await page.locator('.grid tbody tr, .empty').first().waitFor();
    await check('inventory');
  });
  await step('rules', async () => {
    await page.getByRole('link', { name: 'Rules' }).click();
    await page.locator('.grid tbody tr').first().waitFor();
    await check('rules');
  });
}

try {
  await walk();
  const tools = { page, origin, step, check, wait, incidents, session };
  await walkPages(tools);
  if (process.env.PICKET_VICTIM) await walkRespond(tools);
  if (fake) {
    await walkFakeAnswers(tools);
    await walkFake();
  }
  assert.deepEqual(complaints, []);
  console.log('the walk found nothing wrong');
} catch (e) {
  console.error(e instanceof Error ? e.message : e);
  if (complaints.length) console.error(complaints.join('\n'));
  if (shots) await page.screenshot({ path: join(shots, 'failed.png') }).catch(() => {});
  process.exitCode = 1;
} finally {
  await browser.close();
  fake?.stop();
}
