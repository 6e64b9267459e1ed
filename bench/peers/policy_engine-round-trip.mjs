// policy_engine from outside: one prepared statement over a Unix socket, a job at a
// time, as a client would ask.

import { connect, version } from './policy_engine.mjs';

export async function open(policy, { rules }) {
  const client = await connect(policy, rules);

  return {
    kind: 'round trip',
    version: await version(client),
    decide: async (job) => {
      const { rows } = await client.query({
        name: 'decide',
        text: 'SELECT (policy_evaluate($1::jsonb)).decision',
        values: [JSON.stringify(job)],
      });

      return rows[0].decision;
    },
    close: () => client.end(),
  };
}
