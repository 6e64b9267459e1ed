// pgmq, from the SQL that its Python package carries.
import { readFile } from 'node:fs/promises'
import { rows, value } from './database.mjs'

const source = new URL('../python/pgmq/sql/pgmq.sql', import.meta.url)

// Why there is no pgmq; false where there is.
export async function missing()
{
	try {
		await readFile(source)
		return false
	} catch (error) {
		return `there is no pgmq: ${error.message}`
	}
}

export async function prepare({ application }, ...queues)
{
	await application.query(await readFile(source, 'utf8'))
	for (const queue of queues) await application.query('SELECT pgmq.create($1)', [queue])
}

// What a verb gives: pgmq.read(queue, 30, 1) is call(database, 'read', queue, 30, 1).
export function call({ application }, verb, ...args)
{
	const type = (arg) => (Array.isArray(arg) ? 'bigint[]' : typeof arg === 'number' ? 'integer' : arg[0] === '{' ? 'jsonb' : 'text')
	const places = args.map((arg, n) => `$${n + 1}::${type(arg)}`).join(', ')
	return rows(application, `SELECT * FROM pgmq.${verb}(${places})`, args)
}

// Sends a message and gives its id.
export function send({ application }, queue, message)
{
	return value(application, 'SELECT pgmq.send($1, $2::jsonb)', [queue, message])
}

// A message without what two runs of one script differ in.
export function plain({ enqueued_at, last_read_at, archived_at, vt, ...message })
{
	const ahead = Math.round((vt - Date.now()) / 60000) + 0
	return { ...message, ahead, read: last_read_at != null }
}
