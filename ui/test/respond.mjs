// Answers a real incident in the browser: a process that only looks like a miner is frozen, let go and ended.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** beats reports whether the process that writes to a file goes on. */
async function beats(file) {
  const before = statSync(file).size;
  await sleep(1500);
  return statSync(file).size > before;
}

async function becomes(file, want, what) {
  for (let n = 0; n < 12; n++) if (await beats(file) === want) return;
  assert.fail(what);
}

/**
 * walkRespond needs PICKET_VICTIM, the number of a process whose start is an incident, PICKET_BEAT, the file
 * that it writes to all the time, and PICKET_CLI, how picket is called as another person.
 */
export async function walkRespond({ page, origin, step, check, wait }) {
  const { PICKET_VICTIM: victim, PICKET_BEAT: beat } = process.env;
  const cli = (...args) => {
    const [bin, ...first] = process.env.PICKET_CLI.split(' ');
    return execFileSync(bin, [...first, ...args], { encoding: 'utf8' });
  };
  const region = (name) => page.getByRole('region', { name });
  let incident;
  // Whatever else this host does may have joined the incident: nothing but the victim may be acted on.
  const only = async () => {
    const others = [...(await page.getByTestId('plan').innerText()).matchAll(/process (\d+) \([^)]*\)/g)].filter((m) => m[1] !== victim);
    assert.deepEqual(others.map((m) => m[0]), [], 'the plan is about other processes than the victim: nothing is run');
    assert.doesNotMatch(await page.getByTestId('plan').innerText(), /container [0-9a-f]{12}/, 'the plan is about a container');
  };
  await step('a real incident is planned, and nothing is done by that', async () => {
    await page.goto(origin + '/incidents?q=xmrig');
    await page.locator('[data-row]').first().click({ timeout: wait });
    await page.getByTestId('story').waitFor();
    incident = new URL(page.url()).pathname.split('/').pop();
    await page.getByRole('combobox', { name: 'Playbook' }).click();
    await page.getByRole('option', { name: /Contain a workload/ }).click();
    await page.waitForURL(/playbook=contain-weights/);
    await page.getByTestId('plan').getByText(new RegExp(`process ${victim} `)).first().waitFor();
    await only();
    assert.match(await page.getByTestId('plan').innerText(), /freeze[\s\S]*Taken back: they go on where they stood/);
    assert.ok(await beats(beat), 'a plan did something');
    const book = page.getByTestId('runbook');
    assert.ok((await book.innerText()).includes('picket incidents show ' + incident), 'the runbook has the incident in it');
    await book.getByRole('checkbox').first().click();
    await page.waitForURL(/done=0/);
    await book.getByRole('button', { name: /Write into the log/ }).click();
    await region('Log').getByText('Runbook contain-weights: done by hand: 1').first().waitFor();
    await check('plan');
  });
  await step('its run is started, asks, and freezes the process', async () => {
    await region('Response').getByLabel('Reason').fill('it only looks like a miner');
    await page.getByRole('button', { name: 'Run it' }).click();
    await page.waitForURL(/\/runs\//);
    for (const last of [false, false, true]) { // where the workload cannot be cut off, that is asked for first
      const text = await region('It asks').innerText({ timeout: wait });
      if (/Is it an attack/.test(text)) break;
      assert.ok(!last, 'it does not ask whether it is an attack: ' + text);
      await page.getByRole('button', { name: 'It is done' }).click();
      await page.waitForFunction((old) => document.querySelector('[aria-label="It asks"]')?.innerText !== old, text);
    }
    await check('run-asks');
    await region('It asks').getByLabel(/Why/).fill('seen on the host');
    await page.getByRole('button', { name: 'Yes', exact: true }).click();
    await region('It asks').getByText(/Change the keys/).waitFor();
    await becomes(beat, false, 'the process is not frozen');
    await page.getByRole('button', { name: 'It is done' }).click();
    await page.getByTestId('state').getByText('succeeded').waitFor();
    assert.match(await page.getByTestId('steps').innerText(), /Freeze it[\s\S]*freeze[\s\S]*done/);
    await check('run-done');
  });
  await step('what holds is held for longer, and taken back', async () => {
    const holds = page.getByTestId('holds');
    await holds.getByRole('combobox', { name: /Let freeze/ }).click();
    await page.getByRole('option', { name: '7 days from now' }).click();
    await holds.getByText('in 6 d').waitFor();
    await page.getByRole('button', { name: 'Take back…' }).click();
    await page.getByRole('dialog').getByText('they go on where they stood').waitFor();
    await page.getByRole('button', { name: 'Take back', exact: true }).click();
    await page.getByText('Nothing holds that could be taken back.').waitFor();
    await becomes(beat, true, 'the process stands still after the freeze was taken back');
  });
  await step('all acts are stopped, and let go on', async () => {
    await page.getByRole('link', { name: /Approvals/ }).first().click();
    await page.getByRole('button', { name: 'Stop all acts…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Stop all acts' }).click();
    await page.getByText('All acts are stopped').waitFor();
    await page.getByRole('button', { name: 'Let them go on…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Let them go on' }).click();
    await page.getByRole('button', { name: 'Stop all acts…' }).waitFor();
  });
  await step('what another person asks for is approved, and ends the process', async () => {
    cli('playbook', 'run', 'end-workload', incident, '--reason', 'end it');
    await page.getByRole('region', { name: /Plans that wait/ }).getByRole('link', { name: 'End a workload' }).click(); // it shows up by itself
    await page.getByTestId('fresh').waitFor();
    await only();
    await check('approve');
    assert.ok(await beats(beat), 'it was done before it was approved');
    await page.getByLabel('Reason').fill('read and agreed');
    await page.getByRole('button', { name: /Approve plan/ }).click();
    await page.getByTestId('state').getByText('succeeded').waitFor({ timeout: wait });
    await region('Approvals').getByText('read and agreed').waitFor();
    await becomes(beat, false, 'the process goes on after the kill');
    assert.throws(() => process.kill(Number(victim), 0), { code: 'ESRCH' }, 'the process is still there');
  });
}

/** walkPages goes through what is there on every node: playbooks, threats, GPUs. */
export async function walkPages({ page, step, check, wait }) {
  await step('playbooks', async () => {
    await page.getByRole('link', { name: 'Playbooks' }).click();
    await page.locator('[data-row]', { hasText: 'End a workload' }).waitFor();
    await check('playbooks');
    await page.locator('[data-row]', { hasText: 'Contain a workload' }).click();
    await page.getByTestId('flow').locator('canvas').first().waitFor();
    assert.ok(await page.getByRole('list', { name: 'Steps' }).locator('li').count() >= 8, 'the steps are listed');
    await page.getByRole('region', { name: 'Runbook' }).getByText('changes nothing').waitFor();
    await page.getByRole('button', { name: 'Simulate' }).click();
    await page.getByTestId('simulation').locator('tbody tr').first().waitFor();
    await check('playbook');
  });
  await step('threats', async () => {
    await page.getByRole('link', { name: 'Threats' }).click();
    const total = await page.getByTestId('total').innerText();
    const dark = Number(/(\d+) dark/.exec(total)[1]);
    const choose = (name) => page.getByRole('search').getByText(name, { exact: true }).click();
    await choose('Dark');
    await page.waitForURL(/coverage=dark/);
    await page.waitForFunction((n) => document.querySelectorAll('.grid tbody tr').length === n, dark); // the address changes first
    await choose('ATLAS');
    await page.locator('.counts button').first().click();
    await page.waitForURL(/key=AML/);
    await choose('All');
    await check('threats');
  });
  await step('GPUs', async () => {
    await page.getByRole('link', { name: 'GPUs' }).click();
    if (process.env.PICKET_GPU === '0') { // this machine has none: the page says why
      await page.getByText('No GPU is seen').waitFor();
      await page.locator('.why tbody tr').first().waitFor();
    } else {
      await page.getByTestId('charts').locator('canvas').first().waitFor({ timeout: wait });
      const use = page.locator('.chart', { hasText: 'Utilisation' });
      await use.locator('.legend li', { hasText: /GPU\s+\d/ }).waitFor({ timeout: wait });
      await use.locator('.legend li', { hasText: /\[\d+\].*\d/ }).first().waitFor({ timeout: wait });
      await page.getByRole('region', { name: 'Over time' }).getByText('6h', { exact: true }).click();
      await page.waitForURL(/range=6h/);
      await page.getByTestId('charts').waitFor();
    }
    await check('gpus');
  });
}

/** walkFakeAnswers sees what only the fake has: hostile words in plans, a plan that changes, a viewer. */
export async function walkFakeAnswers({ page, origin, step, check, incidents, session }) {
  await step('hostile words in a plan and a run', async () => {
    await page.goto(origin + '/incidents/inc-steal?playbook=contain-weights');
    await page.getByTestId('plan').getByText(/‹ESC›\[2K.*<img src=x/).first().waitFor();
    await page.getByRole('button', { name: 'Run it' }).click();
    await page.getByTestId('steps').getByText(/<img src=x/).first().waitFor();
    await page.getByText('SHA-256').first().waitFor();
    await page.getByRole('button', { name: 'No', exact: true }).click();
    await page.getByTestId('state').getByText('succeeded').waitFor();
    await check('run-hostile');
  });
  await step('targets are left out, and the hash is another', async () => {
    await page.goto(origin + '/incidents/inc-steal?playbook=end-workload');
    const shown = await page.getByTestId('hash').innerText();
    await page.getByRole('checkbox', { name: /^kill / }).uncheck();
    await page.getByText('left out: not done').waitFor();
    await page.getByRole('button', { name: 'Run it' }).waitFor(); // nothing in it is for good any more
    assert.notEqual(await page.getByTestId('hash').innerText(), shown);
    await check('targets');
    await page.getByRole('button', { name: 'tick all' }).click();
    await page.getByRole('button', { name: 'Ask for approval' }).waitFor();
    await page.goto(origin + '/runs/run-kill');
    const old = await page.getByRole('button', { name: /Approve plan/ }).innerText();
    await page.getByRole('checkbox', { name: /^capture / }).uncheck();
    await page.getByRole('button', { name: 'Use these targets' }).click();
    await page.getByText('You chose its targets').waitFor();
    assert.notEqual(await page.getByRole('button', { name: /Approve plan/ }).innerText(), old);
    await check('targets-chosen');
  });
  await step('a plan that changed is said, and not run', async () => {
    await page.goto(origin + '/incidents/inc-steal?playbook=end-workload');
    await page.getByRole('button', { name: 'Ask for approval' }).waitFor();
    const shown = await page.getByTestId('hash').innerText();
    incidents.find((i) => i.id === 'inc-steal').version++;
    await page.getByRole('button', { name: 'Ask for approval' }).click();
    await page.getByText('The plan is another one now').waitFor();
    await page.waitForFunction((was) => {
      const hash = document.querySelector('[data-testid=hash]');
      return hash && hash.innerText !== was;
    }, shown);
    await page.goto(origin + '/runs/run-kill');
    await page.getByText('A plan made now would be another one').waitFor();
    await check('plan-changed');
    await page.getByRole('button', { name: 'Reject' }).click();
    await page.getByTestId('state').getByText('rejected').waitFor();
  });
  await step('who asked does not approve', async () => {
    await page.goto(origin + '/incidents/inc-steal?playbook=end-workload');
    await page.getByRole('button', { name: 'Ask for approval' }).click();
    await page.getByText('another person approves it').waitFor();
    assert.ok(await page.getByRole('button', { name: /Approve plan/ }).isDisabled());
  });
  await step('a viewer sees and changes nothing', async () => {
    session.role = 'viewer';
    const run = page.url();
    for (const [path, there] of [[run, 'an analyst approves or rejects it'], [origin + '/incidents/inc-steal?playbook=end-workload', 'an analyst plans and runs playbooks'], [origin + '/approvals', 'Plans that wait'], [origin + '/playbooks/end-workload', 'Runbook']]) {
      await page.goto(path);
      await page.getByText(there).first().waitFor();
      const buttons = await page.locator('#content').getByRole('button', { name: /approv|reject|run it|targets|tick all|stop|take back|simulate|end run|write into/i }).allInnerTexts();
      assert.deepEqual(buttons, [], path);
    }
    session.role = 'admin';
  });
  await step('GPUs with hostile names and findings', async () => {
    await page.goto(origin + '/gpus?gpu=gpu-1%2FGPU-5d1c&range=24h');
    await page.locator('.legend').getByText(/<img src=x/).first().waitFor();
    await page.getByTestId('marks').getByText('fallen off the bus').waitFor();
    await check('gpus-hostile');
  });
}
