// What a user's system does with procrastinate, and what came of it.
import { rows, value } from './database.mjs'
import { start } from './procrastinate.mjs'

export async function script(database, prepared = async () => {})
{
	const log = []
	const ask = start(database)
	await ask('install')
	await prepared(database)
	const tell = async (title, verb, given) => log.push([title, await ask(verb, given)])

	await tell('defer', 'defer', { args: { n: 1 } })
	await tell('with all', 'defer', { args: { n: 2 }, queue: 'mail', priority: 5, lock: 'one', queueing_lock: 'q' })
	await tell('queueing lock', 'defer', { args: { n: 3 }, queueing_lock: 'q' })
	await tell('later', 'defer', { args: { n: 4 }, seconds: 3600 })
	await tell('same lock', 'defer', { args: { n: 5 }, lock: 'one', priority: 1 })
	await tell('batch', 'batch', { args: [6, 7, 8].map((n) => ({ n })) })
	await tell('fails', 'defer', { args: { n: 9, fails: 2 }, queue: 'brittle' })
	await tell('fails for good', 'defer', { args: { n: 10, fails: 99 } })
	await tell('cancelled', 'cancel', { id: await ask('defer', { args: { n: 11 } }) })
	await tell('periodic', 'periodic', { timestamp: 1800000000 })
	await tell('periodic again', 'periodic', { timestamp: 1800000000 })
	await tell('as deferred', 'jobs')
	await ask('run')
	log.push(['ran', (await ask('ran')).map(({ at, ...run }) => run)])
	await tell('after the run', 'jobs')
	await ask('retry', { id: Number(await value(database.application, "SELECT id FROM procrastinate_jobs WHERE status = 'failed'")), priority: 3 })
	await ask('run')
	log.push(['ran', (await ask('ran')).map(({ at, ...run }) => run)])
	await tell('in the end', 'jobs')
	log.push(['events', await rows(database.application, 'SELECT job_id, type::text FROM procrastinate_events ORDER BY id')])
	return log
}
