// Times each engine on the same rules and the same jobs, and believes no time
// before all decisions are the same.
//
//	node peers.mjs DIRECTORY OUTPUT
//
// DIRECTORY has policy-N.json for each number of rules, jobs.json, and is where
// engines keep their files; the server is found by PGHOST.

import { readFileSync, writeFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const sizes = [10, 100, 1000, 10000];
const engines = ['policy_engine', 'policy_engine-round-trip', 'cerbos', 'opa', 'cedar-native', 'cedar', 'casbin',
  'json-rules-engine'];
const budgetMs = Number(process.env.PEERS_SECONDS ?? 3) * 1000;
const leastJobs = 50;

const [directory, output] = process.argv.slice(2);
const jobs = JSON.parse(readFileSync(join(directory, 'jobs.json'), 'utf8'));
const rounded = (us) => Number(us.toPrecision(4));

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function summary(engine, name, rules, times) {
  const sorted = times.toSorted((a, b) => a - b);

  return {
    engine: name,
    rules,
    kind: engine.kind,
    version: engine.version,
    decisions: times.length,
    p50_us: rounded(percentile(sorted, 0.5)),
    p99_us: rounded(percentile(sorted, 0.99)),
    mean_us: rounded(times.reduce((sum, time) => sum + time, 0) / times.length),
  };
}

// One decision at a time, until the budget is spent or there is no job left.
async function timeEngine(engine) {
  const decisions = [];
  const times = [];
  const end = performance.now() + budgetMs;

  for (let i = 0; i < Math.min(jobs.length, 20); i++) await engine.decide(jobs[i]);
  for (let i = 0; i < jobs.length && (i < leastJobs || performance.now() < end); i++) {
    const begin = process.hrtime.bigint();
    const answer = engine.decide(jobs[i]);
    const decision = answer instanceof Promise ? await answer : answer;

    times.push(Number(process.hrtime.bigint() - begin) / 1000);
    decisions.push(decision);
  }
  return { decisions, times };
}

function assertEqual(name, rules, decisions, expected) {
  const differ = decisions.findIndex((decision, i) => decision !== expected[i]);

  if (decisions.length === 0) throw new Error(`${name} decided nothing`);
  if (differ >= 0) {
    throw new Error(`${name} at ${rules} rules decides ${decisions[differ]}, not ${expected[differ]}: ` +
      JSON.stringify(jobs[differ]));
  }
}

async function measure(name, rules, policy, expected) {
  const module = await import(`./${name}.mjs`);
  const place = join(directory, `${name}-${rules}`);
  let engine;

  mkdirSync(place, { recursive: true });
  const loading = performance.now();
  try {
    engine = await module.open(policy, { jobs, rules, place });
    const loadMs = performance.now() - loading;
    const { decisions, times } = engine.bulk ? await engine.bulk() : await timeEngine(engine);

    assertEqual(name, rules, decisions, expected);
    return { ...summary(engine, name, rules, times), load_ms: rounded(loadMs) };
  } finally {
    await engine?.close?.();
    rmSync(place, { recursive: true, force: true });
  }
}

// What every other engine must decide.
async function expectedDecisions(policy, rules) {
  const { open } = await import('./policy_engine.mjs');
  const engine = await open(policy, { jobs, rules });
  const { decisions } = await engine.bulk();

  await engine.close();
  return decisions;
}

// How many jobs have each decision.
function mix(decisions) {
  const counts = new Map();

  for (const decision of decisions) counts.set(decision, (counts.get(decision) ?? 0) + 1);
  return [...counts].map(([decision, count]) => `${decision} ${count}`).join(', ');
}

const rows = [];
const skipped = [];
const missing = new Set();
let failed = false;

for (const rules of sizes) {
  const policy = JSON.parse(readFileSync(join(directory, `policy-${rules}.json`), 'utf8'));
  const expected = await expectedDecisions(policy, rules);

  console.log(`\n== ${rules} rules; ${mix(expected)}`);
  for (const name of engines.filter((engine) => !missing.has(engine))) {
    try {
      const row = await measure(name, rules, policy, expected);

      rows.push(row);
      console.log(`${name.padEnd(26)} ${row.kind.padEnd(11)} p50 ${row.p50_us} us, mean ${row.mean_us} us, ` +
        `p99 ${row.p99_us} us; ${row.decisions} decisions, all equal; loaded in ${row.load_ms} ms`);
    } catch (error) {
      const unavailable = error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'UNAVAILABLE';

      if (unavailable) missing.add(name);
      else failed = true;
      skipped.push({ engine: name, rules, why: String(error.message).slice(0, 300) });
      console.log(`${unavailable ? 'SKIPPED' : 'FAILED'} ${name}: ${error.message}`);
    }
  }
}
writeFileSync(output, JSON.stringify({
  date: new Date().toISOString().slice(0, 10),
  node: process.version,
  commit: process.env.BENCH_COMMIT,
  machine: process.env.BENCH_MACHINE,
  rows,
  skipped,
}, null, 2));
process.exit(failed ? 1 : 0);
