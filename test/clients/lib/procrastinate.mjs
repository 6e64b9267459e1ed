// procrastinate, in a process of its own: it is Python's.
import { spawn } from 'node:child_process'
import { access } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { application } from './database.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

// Why there is no procrastinate; false where there is.
export async function missing()
{
	try {
		await access(here('../python/procrastinate'))
		return false
	} catch {
		return 'there is no procrastinate: pip was out of reach'
	}
}

// A client of the database, as a function: ask('defer', { args }) is what its verb gives.
export function start(database)
{
	const client = spawn('python3', [here('procrastinate_client.py'), `host=${process.env.PGHOST} dbname=${database.name} user=${application}`], {
		env: { ...process.env, PYTHONPATH: here('../python') }, stdio: ['pipe', 'pipe', 'pipe'],
	})
	let complaints = ''
	client.stderr.on('data', (text) => { complaints += text })
	const answers = createInterface({ input: client.stdout })[Symbol.asyncIterator]()
	const ask = async (verb, given = {}) => {
		client.stdin.write(`${JSON.stringify({ do: verb, ...given })}\n`)
		const { value, done } = await answers.next()
		if (done) throw new Error(`procrastinate ended: ${complaints}`)
		const { ok, error } = JSON.parse(value)
		if (error) throw new Error(error)
		return ok
	}
	const ended = new Promise((resolve) => client.on('close', resolve))
	database.atEnd(() => {
		client.stdin.end()
		return ended
	})
	return ask
}
