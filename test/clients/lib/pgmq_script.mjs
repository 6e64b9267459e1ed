// What a user's system does with pgmq, and what came of it.
import { rows, value } from './database.mjs'
import { call, plain, prepare } from './pgmq.mjs'

const queues = ['work', 'quick', 'topics']

export async function script(database, prepared = async () => {})
{
	const { application } = database
	const log = []
	const tell = async (title, verb, ...args) => log.push([title, (await call(database, verb, ...args))
		.map((row) => ('msg_id' in row ? plain(row) : row))])
	const ask = async (title, query, ...values) => log.push([title, await rows(application, query, values)])
	const left = async (queue) => {
		for (const table of [`q_${queue}`, `a_${queue}`]) {
			log.push([table, (await rows(application, `SELECT * FROM pgmq.${table} ORDER BY msg_id`)).map(plain)])
		}
	}

	await prepare(database, 'work', 'topics')
	await application.query("SELECT pgmq.create_unlogged('quick')")
	await prepared(database, queues)

	await ask('send', "SELECT pgmq.send('work', '{\"n\": 1}')")
	await ask('with a delay', "SELECT pgmq.send('work', '{\"n\": 2}', 3600)")
	await ask('at a time', "SELECT pgmq.send('work', '{\"n\": 3}', now() + interval '2 hours')")
	await ask('with headers', "SELECT pgmq.send('work', '{\"n\": 4}'::jsonb, '{\"x-pgmq-group\": \"a\"}'::jsonb)")
	await ask('send_batch', "SELECT pgmq.send_batch('work', ARRAY['{\"n\": 5}', '{\"n\": 6}', '{\"n\": 7}']::jsonb[])")
	await left('work')

	await tell('read', 'read', 'work', 1800, 2)
	await tell('read again', 'read', 'work', 1800, 10)
	await tell('nothing is left to read', 'read', 'work', 1800, 10)
	await tell('read_with_poll', 'read_with_poll', 'work', 1800, 10, 1, 50)
	await tell('set_vt', 'set_vt', 'work', 1, 0)
	await ask('set_vt of several', "SELECT msg_id FROM pgmq.set_vt('work', ARRAY[2, 4]::bigint[], 0)")
	await tell('conditional', 'read', 'work', 0, 10, '{"n": 2}')
	await tell('retried', 'read', 'work', 0, 10)
	await tell('pop', 'pop', 'work')
	await ask('delete', "SELECT pgmq.delete('work', 2), pgmq.delete('work', 99)")
	await ask('archive', "SELECT pgmq.archive('work', 4), pgmq.archive('work', 99)")
	await ask('of several', "SELECT pgmq.delete('work', ARRAY[5, 99]::bigint[]), pgmq.archive('work', ARRAY[6, 98]::bigint[])")
	await left('work')
	await ask('purge', "SELECT pgmq.purge_queue('work')")

	await ask('many', "SELECT count(*)::integer FROM pgmq.send_batch('quick', (SELECT array_agg(jsonb_build_object('n', n)) FROM generate_series(1, 200) n))")
	const seen = []
	for (;;) {
		const batch = await call(database, 'read', 'quick', 60, 30)
		if (batch.length === 0) break
		seen.push(...batch.map((message) => message.message.n))
		await call(database, 'delete', 'quick', batch.map((message) => message.msg_id))
	}
	log.push(['read in batches', seen])

	await application.query("SELECT pgmq.create_fifo_index('topics'), pgmq.bind_topic('order.*', 'topics')")
	await ask('send_topic', "SELECT pgmq.send_topic('order.new', '{\"n\": 1}', '{\"x-pgmq-group\": \"a\"}'::jsonb, 0), pgmq.send_topic('other', '{\"n\": 2}')")
	await ask('groups', "SELECT pgmq.send('topics', jsonb_build_object('n', n), jsonb_build_object('x-pgmq-group', n % 2)) FROM generate_series(1, 6) n")
	await tell('read_grouped', 'read_grouped', 'topics', 60, 4)
	await tell('read_grouped_rr', 'read_grouped_rr', 'topics', 60, 4)

	const { rows: [metrics] } = await application.query("SELECT queue_name, queue_length, queue_visible_length, total_messages FROM pgmq.metrics('work')")
	log.push(['metrics', metrics])
	await ask('drop_queue', "SELECT pgmq.drop_queue('quick')")
	log.push(['dropped', await value(application, "SELECT to_regclass('pgmq.q_quick')")])
	return log
}
