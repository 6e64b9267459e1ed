// An engine that evaluates in a process of its own, in its own language: the program
// is given the rules and all inputs, and writes what it found and how long it took.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { strictest } from './policy.mjs';

//	program		its path, or undefined where run could not build it
//	rules		their text; inputs: what it decides, a job each
export function runExternal(program, policy, place, rules, inputs) {
  const decide = strictest(policy);
  const [rulesPath, inputsPath, answersPath] = ['rules', 'inputs.json', 'answers.json'].map((name) => join(place, name));

  if (!program || !existsSync(program)) {
    throw Object.assign(new Error('its program could not be built; run says why'), { code: 'UNAVAILABLE' });
  }
  writeFileSync(rulesPath, rules);
  writeFileSync(inputsPath, JSON.stringify(inputs));
  execFileSync(program, [rulesPath, inputsPath, answersPath, String(process.env.PEERS_SECONDS ?? 3)],
    { stdio: ['ignore', 'inherit', 'inherit'] });

  const { version, answers } = JSON.parse(readFileSync(answersPath, 'utf8'));

  return {
    kind: 'in-process',
    version,
    bulk: async () => ({
      decisions: answers.map((answer) => decide(answer.rules)),
      times: answers.map((answer) => answer.us),
    }),
  };
}
