// Cedar, as the Rust crate that it is; built by run where cargo and crates.io are in
// reach.  The same policies as for its WebAssembly.

import { runExternal } from './external.mjs';
import { attributes } from './policy.mjs';
import { translatePolicies } from './cedar.mjs';

export async function open(policy, { jobs, place }) {
  const inputs = jobs.map((job) => ({ actor: job.actor?.id ?? '', topic: job.topic, context: attributes(job) }));

  return runExternal(process.env.CEDAR_PEER, policy, place, JSON.stringify(translatePolicies(policy)), inputs);
}
