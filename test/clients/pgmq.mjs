// pgmq, with and without a guard in front of its queues' tables.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rows, until, value, withinASecond } from './lib/database.mjs'
import { approvals, approve, attachAsGuided, attachNaively, bare, countDecisions, decisions, everything, guarded, kept } from './lib/guard.mjs'
import { call, missing, prepare, send } from './lib/pgmq.mjs'
import { script } from './lib/pgmq_script.mjs'

const skip = await missing()

async function attachQueues(database, queues)
{
	for (const queue of queues) await attachAsGuided(database, 'pgmq', (sql) => sql.replaceAll('q_orders', `q_${queue}`))
}

test('allowed messages behave as in a bare database', { skip }, async (t) => {
	const databases = await Promise.all([bare(t, 'pgmq_bare'), guarded(t, 'pgmq_allowed', everything)])
	const [without, withGuard] = await Promise.all([script(databases[0]), script(databases[1], attachQueues)])
	assert.deepEqual(withGuard, without)
	assert.ok(await countDecisions(databases[1]) > 50, 'its messages were decided')
})

// Reads and deletes, as a worker does, until a message that was sent last has been read:
// gives the ids of the rest.
async function take(database, queue, verb = 'read')
{
	const last = await send(database, queue, { last: true })
	const ids = []
	await until('the last message was read', async () => {
		const messages = await (verb === 'pop' ? call(database, 'pop', queue, 10) : call(database, 'read', queue, 60, 10))
		for (const { msg_id } of messages) {
			ids.push(msg_id)
			if (verb === 'read') await call(database, 'delete', queue, [msg_id])
		}
		return ids.includes(last)
	})
	return ids.filter((id) => id !== last)
}

test('a way round a trigger before the insertion', { skip }, async (t) => {
	const databases = [await bare(t, 'pgmq_naive'), await guarded(t, 'pgmq_round')]
	for (const database of databases) await prepare(database, 'work')
	await attachNaively(databases[0], 'pgmq', 'q_work', `
		IF new.message->>'do' IN ('hold', 'deny') THEN new.vt := '9000-01-01'; END IF;
		IF new.message->>'do' = 'throttle' THEN new.vt := now() + interval '1 hour'; END IF;`)
	await attachQueues(databases[1], ['work'])

	const both = async (way, verb) => {
		const taken = []
		for (const database of databases) {
			const id = await way(database)
			taken.push((await take(database, 'work', verb)).includes(id))
		}
		return taken
	}
	const set = (what) => async (database) => {
		const id = await send(database, 'work', { do: what })
		await call(database, 'set_vt', 'work', Number(id), 0)
		return id
	}

	await t.test('none: both stop what is sent plainly', async () => {
		for (const what of ['hold', 'deny', 'throttle']) {
			for (const verb of ['read', 'pop']) {
				assert.deepEqual(await both((database) => send(database, 'work', { do: what }), verb), [false, false], what)
			}
		}
	})

	for (const what of ['hold', 'deny', 'throttle']) {
		await t.test(`set_vt makes a message visible: ${what}`, async () => {
			assert.deepEqual(await both(set(what), 'read'), [true, false])
			assert.deepEqual(await both(set(what), 'pop'), [true, false])
		})
	}
})

test('a guarded queue', { skip }, async (t) => {
	const database = await guarded(t, 'pgmq_guarded')
	await prepare(database, 'work')
	await attachQueues(database, ['work'])

	await t.test('what is held is read within a second of its approval', async () => {
		await withinASecond(async () => {
			const id = await send(database, 'work', { do: 'hold' })
			assert.deepEqual(await take(database, 'work'), [])
			const read = call(database, 'read_with_poll', 'work', 60, 1, 20, 50)
			const approved = Date.now()
			await approve(database, id)
			const messages = await read
			const waited = Date.now() - approved
			assert.deepEqual(messages.map(({ msg_id }) => msg_id), [id])
			assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['consumed'])
			await call(database, 'delete', 'work', [id])
			return waited
		})
	})

	await t.test('what is read again, as its time is over, needs no second approval', async () => {
		const id = await send(database, 'work', { do: 'hold' })
		await approve(database, id)
		for (const attempt of [1, 2, 3]) {
			const [message] = await call(database, 'read', 'work', 0, 1)
			assert.deepEqual([message?.msg_id, message?.read_ct], [id, attempt])
		}
		assert.equal((await approvals(database, id)).length, 1)
		assert.deepEqual(await call(database, 'delete', 'work', [id]), [], 'to delete it when its time is over is to take it')
		assert.deepEqual(await call(database, 'read', 'work', 0, 1), [], 'its rule allows two retries, and no third')
	})

	await t.test('what is denied is never read', async () => {
		const id = await send(database, 'work', { do: 'deny' })
		assert.deepEqual(await take(database, 'work'), [])
		assert.deepEqual((await decisions(database, id)).map(({ decision }) => decision), ['DENY'])
	})

	await t.test('what is throttled is read at its time', async () => {
		await withinASecond(async () => {
			const id = await send(database, 'work', { do: 'throttle' })
			const { run_after: due } = await kept(database, id)
			const [message] = await call(database, 'read_with_poll', 'work', 60, 1, 20, 50)
			assert.equal(message.msg_id, id)
			await call(database, 'delete', 'work', [id])
			return message.last_read_at - due
		})
	})

	await t.test('a constraint reaches who reads', async () => {
		await send(database, 'work', { do: 'bound' })
		await send(database, 'work', { do: 'nothing' })
		const messages = await call(database, 'read', 'work', 60, 2)
		assert.deepEqual(messages.map(({ headers }) => headers), [{ policy_constraints: { region: 'eu' } }, null])
		await call(database, 'delete', 'work', messages.map(({ msg_id }) => msg_id))
	})

	await t.test('a batch is decided message by message', async () => {
		const sent = await rows(database.application, `
			SELECT pgmq.send_batch('work', ARRAY['{"do": "nothing"}', '{"do": "deny"}', '{"do": "hold"}', '{"do": "nothing"}']::jsonb[]) AS id`)
		const ids = sent.map(({ id }) => id)
		assert.deepEqual(await take(database, 'work'), [ids[0], ids[3]])
		assert.deepEqual((await Promise.all(ids.map((id) => decisions(database, id)))).map(([{ decision }]) => decision),
			['ALLOW', 'DENY', 'REQUIRE_APPROVAL', 'ALLOW'])
	})

	await t.test('a queue that is created later is guarded once it is asked for', async () => {
		await database.application.query("SELECT pgmq.create('later')")
		await database.application.query('GRANT SELECT, UPDATE, TRIGGER ON pgmq.q_later TO guard')
		await database.operator.query('SELECT policy_reattach_all()')
		await send(database, 'later', { do: 'deny' })
		assert.deepEqual(await take(database, 'later'), [])
	})

	await t.test('what is rolled back leaves no evidence', async () => {
		const before = await countDecisions(database)
		await value(database.application, `
			DO $$ BEGIN PERFORM pgmq.send('work', '{"do": "deny"}'); RAISE EXCEPTION 'not now'; EXCEPTION WHEN OTHERS THEN NULL; END $$`)
		assert.equal(await countDecisions(database), before)
	})
})
