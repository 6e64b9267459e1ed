// The databases that clients are tried in, and waiting for what happens there.
//
// The server is the one that PGHOST and PGUSER (a superuser) name.
import pg from 'pg'

const { Pool, Client } = pg

export const application = 'clients_application'
export const operator = 'guard'
export const approver = 'clients_approver'

async function asSuperuser(database, run)
{
	const client = new Client({ database })
	await client.connect()
	try {
		return await run(client)
	} finally {
		await client.end()
	}
}

// Roles are the server's, and tests that run at once all want them.  The operator is who
// the guide has attach tables.
async function ensureRoles(client)
{
	await client.query('SELECT pg_advisory_lock(6011)')
	for (const role of [application, operator, approver]) {
		const { rows } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role])
		if (rows.length === 0) await client.query(`CREATE ROLE ${role} LOGIN`)
	}
	await client.query('SELECT pg_advisory_unlock(6011)')
}

// What connects to a database as a role, as pg, graphile-worker and pg-boss take it.
export function connection(database, user)
{
	return { host: process.env.PGHOST, database, user }
}

// A new database of the application's, with pools of those who use it.  At the end of
// the test t everything that atEnd() was told of is undone, newest first.
export async function createDatabase(t, name)
{
	await asSuperuser('postgres', async (client) => {
		await ensureRoles(client)
		await client.query(`DROP DATABASE IF EXISTS ${name}`)
		await client.query(`CREATE DATABASE ${name} OWNER ${application}`)
	})
	const undo = []
	const database = { name, atEnd: (step) => undo.unshift(step) }
	for (const [key, user] of Object.entries({ superuser: process.env.PGUSER, application, operator, approver })) {
		database[key] = new Pool({ ...connection(name, user), max: 10 })
		database[key].on('error', () => {})
		database[key].on('connect', (client) => client.on('error', () => {}))
		database.atEnd(() => database[key].end())
	}
	t.after(async () => {
		for (const step of undo) await step()
	})
	return database
}

// The extension, a policy in force, and who may do what.
export async function install(database, policy)
{
	const { superuser } = database
	await superuser.query('CREATE EXTENSION policy_engine')
	await superuser.query("SELECT policy_grant($1, 'operate'), policy_grant($2, 'approve')", [operator, approver])
	await publish(database, policy)
}

let releases = 0

export async function publish({ superuser }, policy)
{
	const snapshot = `policy-${++releases}`
	await superuser.query('SELECT policy_stage($1, $2, $3)', [snapshot, JSON.stringify(policy), 'for clients'])
	await superuser.query('SELECT policy_publish($1, $2)', [snapshot, 'for clients'])
}

// The rows of a query, and its one value.
export async function rows(pool, query, values)
{
	return (await pool.query({ text: query, values })).rows
}

export async function value(pool, query, values)
{
	const { rows } = await pool.query({ text: query, values, rowMode: 'array' })
	return rows[0]?.[0]
}

const deadline = 20000

// Waits until something is so, and gives it.  What never comes to be so is a failure:
// nothing is concluded from time that passed.
export async function until(what, condition)
{
	const started = Date.now()
	for (;;) {
		const result = await condition()
		if (result) return result
		if (Date.now() - started > deadline) throw new Error(`waited ${deadline} ms in vain until ${what}`)
		await new Promise((resolve) => setTimeout(resolve, 10))
	}
}

// What must be done within a second of its time, and never before it, has three tries:
// others may be at work on the machine.  measure() gives how many milliseconds it took.
export async function withinASecond(measure)
{
	const took = []
	for (let attempt = 0; attempt < 3; attempt++) {
		const ms = await measure()
		if (ms < 0) throw new Error(`it came ${-ms} ms before its time`)
		if (ms < 1000) return
		took.push(ms)
	}
	throw new Error(`it took ${took.join(', ')} ms`)
}
