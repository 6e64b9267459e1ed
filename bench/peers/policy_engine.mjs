// policy_engine in SQL: the jobs are in a table, and one statement decides them all.
// Its time is the server's, reading the table included; a decision's is the mean.

import pg from 'pg';

async function publish(client, policy, rules) {
  const name = `peers-${rules}`;

  await client.query("LOAD 'policy_engine'");
  const { rows } = await client.query("SELECT 1 FROM pg_settings WHERE name = 'policy_engine.require_simulation'");
  if (rows.length > 0) await client.query('SET policy_engine.require_simulation = off');
  await client.query('SELECT FROM policy_stage($1, $2::text::policy_document, $3)',
    [name, JSON.stringify(policy), 'for a benchmark']).catch((error) => {
    if (error.code !== 'PE003') throw error;
  });
  await client.query('SELECT FROM policy_publish($1, $2, $3)', [name, 'for a benchmark', 'a benchmark']);
}

export async function connect(policy, rules) {
  const client = new pg.Client({ host: process.env.PGHOST, user: 'postgres', database: 'postgres' });

  await client.connect();
  await publish(client, policy, rules);
  return client;
}

export async function version(client) {
  const { rows } = await client.query("SELECT extversion FROM pg_extension WHERE extname = 'policy_engine'");

  return rows[0].extversion;
}

async function runs(client, jobs) {
  const times = [];

  for (let round = 0; round < 7; round++) {
    const { rows } = await client.query('EXPLAIN (ANALYZE, TIMING OFF) SELECT count(policy_evaluate(job)) FROM peer_jobs');
    const line = rows.map((row) => row['QUERY PLAN']).find((text) => text.startsWith('Execution Time'));

    times.push(parseFloat(line.split(': ')[1]) * 1000 / jobs.length);
  }
  return times;
}

export async function open(policy, { jobs, rules }) {
  const client = await connect(policy, rules);

  await client.query('DROP TABLE IF EXISTS peer_jobs');
  await client.query('CREATE UNLOGGED TABLE peer_jobs AS SELECT value AS job FROM jsonb_array_elements($1::jsonb)',
    [JSON.stringify(jobs)]);
  await client.query('VACUUM ANALYZE peer_jobs');
  return {
    kind: 'in SQL',
    version: await version(client),
    bulk: async () => {
      const { rows } = await client.query('SELECT v.decision FROM peer_jobs, policy_evaluate(job) v');

      return { decisions: rows.map((row) => row.decision), times: await runs(client, jobs) };
    },
    close: () => client.end(),
  };
}
