// Guarding a client's table, and what people then do with its jobs.
import { readFile } from 'node:fs/promises'
import { createDatabase, install, rows, value } from './database.mjs'

export const everything = { version: 'v1', defaults: { decision: 'allow', constraints: {} } }

// A job says itself what is to become of it: {"do": "hold" | "deny" | "throttle" | "bound"}.
const does = (what) => ({ when: `lax $.payload.do == "${what}"` })
export const careful = {
	...everything,
	rules: [
		{ id: 'hold', match: does('hold'), decision: 'require_approval', constraints: { max_retries: 2 } },
		{ id: 'deny', match: does('deny'), decision: 'deny', reason: 'not here' },
		{ id: 'throttle', match: does('throttle'), decision: 'throttle', retry_after_sec: 1 },
		{ id: 'bound', match: does('bound'), decision: 'allow_with_constraints', constraints: { region: 'eu' } },
	],
}

// A database with a policy in force, for the test t.
export async function guarded(t, name, policy = careful)
{
	const database = await createDatabase(t, name)
	await install(database, policy)
	return database
}

export function bare(t, name)
{
	return createDatabase(t, name)
}

const guide = new URL('../../../docs/guard-your-jobs.md', import.meta.url)

// What the guide has the owner of a queue do, in the first block of its section: each
// statement as its owner, but what is said to be done as guard.  changed() may put other
// names in.
export async function attachAsGuided({ application: owner, operator: attaching }, section, changed = (sql) => sql)
{
	const text = await readFile(guide, 'utf8')
	const block = text.split(`\n## ${section}\n`)[1].match(/```sql\n([^`]*)```/)[1]
	for (const statement of changed(block).split(/;/).slice(0, -1)) {
		await (/policy_attach/.test(statement) ? attaching : owner).query(statement)
	}
}

// A guard that people write first: a trigger before the insertion, and no other.
export async function attachNaively({ application: owner }, schema, table, body)
{
	await owner.query(`
		CREATE FUNCTION ${schema}.naive_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN new; END $$;
		CREATE TRIGGER naive_guard BEFORE INSERT ON ${schema}.${table} FOR EACH ROW EXECUTE FUNCTION ${schema}.naive_guard()`)
}

// The approvals that a job has had, oldest first.
export function approvals({ superuser }, key)
{
	return rows(superuser, `
		SELECT approval_id AS id, status, rule FROM policy.approvals WHERE job_key = $1 ORDER BY approval_id`, [String(key)])
}

// Somebody says yes to the job's open approval.
export async function approve(database, key)
{
	const open = (await approvals(database, key)).filter(({ status }) => status === 'pending')
	if (open.length !== 1) throw new Error(`job ${key} has ${open.length} open approvals`)
	await database.approver.query('SELECT policy_approve($1)', [open[0].id])
}

// What is kept of a job that is not plainly allowed.
export async function kept({ superuser }, key)
{
	return (await rows(superuser, 'SELECT * FROM policy.guarded_jobs WHERE job_key = $1', [String(key)]))[0]
}

// The decisions of a job, oldest first.
export function decisions({ superuser }, key)
{
	return rows(superuser, `
		SELECT decision::text, matched_rule AS rule, source FROM policy.decisions WHERE job_key = $1 ORDER BY decision_id`, [String(key)])
}

export function countDecisions({ superuser })
{
	return value(superuser, 'SELECT count(*)::integer FROM policy.decisions')
}
