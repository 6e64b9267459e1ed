// Casbin: a rule is a line of the policy, a column a condition.  Lines are in order
// of strictness, and the first that holds decides, so that it need not look further.

import { newEnforcer, newModel } from 'casbin';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { attributes, conditions, decisions, isPattern, regexOf } from './policy.mjs';

const columns = ['topic', 'tenants', 'tags_all', 'tags_any', 'tags_none', 'env', 'team', 'region',
  'actor_types', 'actor_id', 'amount'];

const model = `
[request_definition]
r = job

[policy_definition]
p = id, ${columns.join(', ')}, decision, eft

[policy_effect]
e = priority(p.eft) || deny

[matchers]
m = matches(r.job.topic, p.topic) && oneOf(r.job.tenant, p.tenants) && hasAll(r.job.risk_tags, p.tags_all) && \
hasAny(r.job.risk_tags, p.tags_any) && hasNone(r.job.risk_tags, p.tags_none) && oneOf(r.job.env, p.env) && \
oneOf(r.job.team, p.team) && oneOf(r.job.region, p.region) && oneOf(r.job.actor_type, p.actor_types) && \
matches(r.job.actor_id, p.actor_id) && above(r.job.amount, p.amount)
`;

const cell = (list) => (list && list.length > 0 ? list.join('|') : '-');

function line(rule) {
  const c = conditions(rule);
  const labels = Object.fromEntries(c.labels);
  const unknown = Object.keys(labels).find((name) => !['env', 'team', 'region'].includes(name));

  if (unknown) throw new Error(`no column for the label ${unknown}`);
  return [rule.id, c.topic ?? '-', cell(c.tenants), cell(c.tagsAll), cell(c.tagsAny), cell(c.tagsNone),
    cell(labels.env), cell(labels.team), cell(labels.region), cell(c.actorTypes), c.actorId ?? '-',
    c.amountAbove ? String(c.amountAbove) : '-', rule.decision.toUpperCase(), 'allow'];
}

// Cells are split, and patterns compiled, once.
function remembered(make) {
  const known = new Map();

  return (text) => {
    if (!known.has(text)) known.set(text, make(text));
    return known.get(text);
  };
}

function addFunctions(enforcer) {
  const split = remembered((text) => text.split('|'));
  const regex = remembered(regexOf);
  const functions = {
    matches: (value, cell) => cell === '-' || (isPattern(cell) ? regex(cell).test(value) : value === cell),
    oneOf: (value, cell) => cell === '-' || split(cell).includes(value),
    hasAll: (values, cell) => cell === '-' || split(cell).every((item) => values.includes(item)),
    hasAny: (values, cell) => cell === '-' || split(cell).some((item) => values.includes(item)),
    hasNone: (values, cell) => cell === '-' || !split(cell).some((item) => values.includes(item)),
    above: (value, cell) => cell === '-' || value > Number(cell),
  };

  return Promise.all(Object.entries(functions).map(([name, code]) => enforcer.addFunction(name, code)));
}

export async function open(policy) {
  const require = createRequire(import.meta.url);
  const enforcer = await newEnforcer(newModel(model));
  const lines = policy.rules.map(line)
    .sort((a, b) => decisions.indexOf(b.at(-2)) - decisions.indexOf(a.at(-2)));

  await addFunctions(enforcer);
  await enforcer.addPolicies(lines);
  return {
    kind: 'in-process',
    version: JSON.parse(readFileSync(require.resolve('casbin').replace(/lib\/.*/, 'package.json'))).version,
    decide: (job) => {
      const { labels, ...facts } = attributes(job);
      const [allowed, explanation] = enforcer.enforceExSync({ ...facts, ...labels });

      return allowed ? explanation.at(-2) : 'DENY';
    },
  };
}
