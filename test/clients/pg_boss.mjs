// pg-boss, with and without a guard in front of its table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until, value, withinASecond } from './lib/database.mjs'
import { approvals, approve, attachAsGuided, attachNaively, bare, countDecisions, decisions, everything, guarded, kept } from './lib/guard.mjs'
import { start } from './lib/pg_boss.mjs'
import { script } from './lib/pg_boss_script.mjs'

const attachJobs = (database) => attachAsGuided(database, 'pg-boss')
const attachNaive = (database) => attachNaively(database, 'pgboss', 'job', `
	IF new.data->>'do' = 'hold' THEN
		new.start_after := '9000-01-01'; new.keep_until := '9000-01-01';
	ELSIF new.data->>'do' = 'deny' THEN
		new.state := 'cancelled'; new.completed_on := now();
	ELSIF new.data->>'do' = 'throttle' THEN
		new.start_after := now() + interval '1 hour';
	END IF;`)

test('allowed jobs behave as in a bare database', async (t) => {
	const databases = await Promise.all([bare(t, 'pg_boss_bare'), guarded(t, 'pg_boss_allowed', everything)])
	const [without, withGuard] = await Promise.all([script(databases[0]), script(databases[1], attachJobs)])
	assert.deepEqual(withGuard, without)
	assert.ok(await countDecisions(databases[1]) > 50, 'its jobs were decided')
})

// Takes and completes jobs, as a worker does, until one that comes after all others has
// been taken: gives the ids of the rest.
async function take(boss, queue, options)
{
	const ids = []
	const last = await boss.send(queue, { last: true }, { priority: -1000 })
	await until('the last job was taken', async () => {
		const jobs = await boss.fetch(queue, { batchSize: 10, ...options })
		if (jobs.length > 0) await boss.complete(queue, jobs.map((job) => job.id))
		ids.push(...jobs.map((job) => job.id))
		return ids.includes(last)
	})
	return ids.filter((id) => id !== last)
}

async function stateOf(boss, queue, id)
{
	return (await boss.findJobs(queue, { id }))[0]?.state
}

test('a way round a trigger before the insertion', async (t) => {
	const databases = [await bare(t, 'pg_boss_naive'), await guarded(t, 'pg_boss_round')]
	for (const database of databases) {
		database.boss = await start(database)
		await database.boss.createQueue('jobs', { retryLimit: 1 })
	}
	await attachNaive(databases[0])
	await attachJobs(databases[1])

	// Whether the job that a way round gave was taken, without the guard and with it.
	const both = async (way, options) => {
		const taken = []
		for (const { boss } of databases) {
			const id = await way(boss)
			taken.push((await take(boss, 'jobs', options)).includes(id))
		}
		return taken
	}

	await t.test('none: both stop what is sent plainly', async () => {
		for (const what of ['hold', 'deny', 'throttle']) {
			assert.deepEqual(await both((boss) => boss.send('jobs', { do: what })), [false, false], what)
		}
	})

	await t.test('resume() of a denied job', async () => {
		assert.deepEqual(await both(async (boss) => {
			const id = await boss.send('jobs', { do: 'deny' })
			await boss.resume('jobs', id)
			return id
		}), [true, false])
	})

	await t.test('fetch({ ignoreStartAfter: true }) of what is held or throttled', async () => {
		for (const what of ['hold', 'throttle']) {
			assert.deepEqual(await both((boss) => boss.send('jobs', { do: what, n: 2 }), { ignoreStartAfter: true }), [true, false], what)
		}
	})

	await t.test('update() makes a held job due', async () => {
		assert.deepEqual(await both(async (boss) => {
			const id = await boss.send('jobs', { do: 'hold', n: 3 })
			await boss.update('jobs', undefined, { id, startAfter: 0 })
			return id
		}), [true, false])
	})

	await t.test('update() swaps in a payload', async () => {
		assert.deepEqual(await both(async (boss) => {
			const id = await boss.send('jobs', { do: 'nothing' })
			await boss.update('jobs', { do: 'hold', n: 4 }, { id })
			return id
		}), [true, false])
	})

	await t.test('upsert() swaps in a payload', async () => {
		assert.deepEqual(await both(async (boss) => {
			await boss.upsert('jobs', { do: 'nothing' }, { singletonKey: 'key' })
			return (await boss.upsert('jobs', { do: 'deny', n: 5 }, { singletonKey: 'key' })).jobs[0]
		}), [true, false])
	})
})

// A held job has no time: its queue's retention must not end it before people have voted.
test('retention', async (t) => {
	const databases = [await bare(t, 'pg_boss_retention_bare'), await guarded(t, 'pg_boss_retention')]
	const left = []
	for (const database of databases) {
		const boss = await start(database)
		if (database === databases[1]) await attachJobs(database)
		await boss.createQueue('jobs')
		const id = await boss.send('jobs', { do: 'hold' }, { startAfter: new Date('2020-01-01'), retentionSeconds: 60 })
		await boss.supervise('jobs')
		left.push(await stateOf(boss, 'jobs', id))
		if (database === databases[1]) {
			await approve(database, id)
			await boss.supervise('jobs')
			assert.deepEqual(await take(boss, 'jobs'), [id], 'once approved, it has its time again')
		}
	}
	assert.deepEqual(left, [undefined, 'created'])
})

test('a guarded table', async (t) => {
	const database = await guarded(t, 'pg_boss_guarded')
	const boss = await start(database, { useListenNotify: true })
	await attachJobs(database)
	await boss.createQueue('jobs', { retryLimit: 3, retryDelay: 0 })

	await t.test('what is held runs within a second of its approval', async () => {
		await boss.createQueue('polled')
		const ran = new Map()
		await boss.work('polled', { pollingIntervalSeconds: 0.5 }, async ([job]) => { ran.set(job.id, Date.now()) })
		await withinASecond(async () => {
			const id = await boss.send('polled', { do: 'hold' })
			const last = await boss.send('polled', { do: 'nothing' })
			await until('the other has run', () => ran.has(last))
			assert.ok(!ran.has(id))
			const approved = Date.now()
			await approve(database, id)
			await until('it has run', () => ran.has(id))
			await until('it is completed', async () => await stateOf(boss, 'polled', id) === 'completed')
			assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['consumed'])
			return ran.get(id) - approved
		})
		await boss.offWork('polled')
	})

	await t.test('and is told to workers that listen', async () => {
		await boss.createQueue('told', { notify: true })
		const ran = new Map()
		await boss.work('told', { pollingIntervalSeconds: 600, notifyPollingIntervalSeconds: 600 }, async ([job]) => { ran.set(job.id, Date.now()) })
		await withinASecond(async () => {
			const id = await boss.send('told', { do: 'hold' })
			const last = await boss.send('told', { do: 'nothing' })
			await until('the other has run', () => ran.has(last))
			const approved = Date.now()
			await approve(database, id)
			await until('it has run', () => ran.has(id))
			return ran.get(id) - approved
		})
		await boss.offWork('told')
	})

	await t.test('a retry, which deletes and inserts, needs no second approval', async () => {
		const id = await boss.send('jobs', { do: 'hold' })
		assert.deepEqual(await take(boss, 'jobs'), [])
		await approve(database, id)
		for (const attempt of [0, 1, 2]) {
			const [job] = await boss.fetch('jobs')
			assert.deepEqual([job?.id, job?.retryCount], [id, attempt])
			await boss.fail('jobs', id, { attempt })
			assert.equal(await stateOf(boss, 'jobs', id), 'retry')
		}
		assert.equal((await approvals(database, id)).length, 1)
		assert.deepEqual(await take(boss, 'jobs'), [], 'its rule allows two retries, and no third')
		await boss.deleteAllJobs('jobs')
	})

	await t.test('what is cancelled while held, and resumed, is asked about again', async () => {
		const id = await boss.send('jobs', { do: 'hold', n: 1 })
		await boss.cancel('jobs', id)
		assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['superseded'])
		await boss.resume('jobs', id)
		assert.deepEqual(await take(boss, 'jobs'), [])
		await approve(database, id)
		assert.deepEqual(await take(boss, 'jobs'), [id])
	})

	await t.test('what is completed while held is asked about no more', async () => {
		const id = await boss.send('jobs', { do: 'hold', n: 2 })
		await boss.complete('jobs', id, {}, { includeQueued: true })
		assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['superseded'])
		assert.equal(await kept(database, id), undefined)
	})

	await t.test('what is denied is cancelled, and says why', async () => {
		const id = await boss.send('jobs', { do: 'deny' })
		assert.deepEqual(await take(boss, 'jobs'), [])
		const [job] = await boss.findJobs('jobs', { id })
		assert.equal(job.state, 'cancelled')
		assert.match(JSON.stringify(job.output), /not here/)
	})

	await t.test('what is throttled runs at its time', async () => {
		await withinASecond(async () => {
			const id = await boss.send('jobs', { do: 'throttle' })
			const { run_after: due } = await kept(database, id)
			await until('it was fetched', async () => (await boss.fetch('jobs')).length === 1)
			const late = Date.now() - due
			await boss.complete('jobs', id)
			return late
		})
	})

	await t.test('a constraint reaches the worker', async () => {
		await boss.createQueue('bound')
		await boss.send('bound', { do: 'bound' })
		await boss.send('bound', { do: 'nothing' }, { priority: -1 })
		const fetched = [...await boss.fetch('bound'), ...await boss.fetch('bound')]
		assert.deepEqual(fetched.map(({ data }) => data), [{ do: 'bound', policy_constraints: { region: 'eu' } }, { do: 'nothing' }])
	})

	await t.test('a queue that gets a partition of its own later is guarded', async () => {
		await boss.createQueue('apart', { partition: true })
		await boss.send('apart', { do: 'deny' })
		await boss.send('apart', { do: 'hold' })
		const id = await boss.send('apart', { do: 'nothing' })
		assert.deepEqual(await take(boss, 'apart'), [id])
		assert.equal((await decisions(database, id)).length, 1)
	})

	await t.test('a flow goes on where both its parents and people are done', async () => {
		await boss.createQueue('flow')
		const add = async () => boss.flow([
			{ ref: 'parent', name: 'flow', data: { do: 'nothing' }, options: { priority: 1 } },
			{ ref: 'child', name: 'flow', data: { do: 'hold' }, dependsOn: ['parent'] },
		])
		const first = await add()
		await approve(database, first.child)
		const [parent] = await boss.fetch('flow')
		assert.equal(parent.id, first.parent)
		assert.deepEqual(await take(boss, 'flow'), [], 'its parent is not done')
		await boss.complete('flow', parent.id)
		await boss.resolveFlow()
		assert.deepEqual(await take(boss, 'flow'), [first.child])

		const second = await add()
		assert.deepEqual(await take(boss, 'flow'), [second.parent])
		await boss.resolveFlow()
		assert.deepEqual(await take(boss, 'flow'), [], 'nobody has said yes')
		await approve(database, second.child)
		assert.deepEqual(await take(boss, 'flow'), [second.child])
	})

	await t.test('what is halted waits, approved or not', async () => {
		await boss.createQueue('stopped')
		const held = await boss.send('stopped', { do: 'hold' })
		const plain = await boss.send('stopped', { do: 'nothing' })
		await approve(database, held)
		const halt = await value(database.operator, `SELECT halt_id FROM policy_halt('{"topic": "stop*"}', 'smoke')`)
		const late = await boss.send('stopped', { do: 'nothing' })
		assert.deepEqual(await boss.fetch('stopped', { batchSize: 10, ignoreStartAfter: true }), [])
		assert.equal((await take(boss, 'jobs', {})).length, 0, 'the other queues go on')
		await database.operator.query('SELECT policy_resume($1)', [halt])
		assert.deepEqual((await take(boss, 'stopped')).sort(), [held, plain, late].sort())
	})

	await t.test('a migration that takes the guard away is seen, and put right', async () => {
		const denied = async () => {
			const id = await boss.send('jobs', { do: 'deny' })
			return (await take(boss, 'jobs')).includes(id)
		}
		const seen = async () => [await value(database.operator, "SELECT present FROM policy_attachments WHERE job_table = 'pgboss.job'"),
			/pgboss\.job/.test(await value(database.superuser, "SELECT array_to_string(warnings, ' ') FROM policy_status()"))]
		await database.operator.query('SELECT policy_reattach_all()')
		assert.deepEqual(await seen(), [true, false])
		await database.application.query(`DO $$ DECLARE made record; BEGIN
			FOR made IN SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger WHERE tgname LIKE 'zzz_policy%' AND tgparentid = 0 LOOP
				EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, made.relation);
			END LOOP; END $$`)
		assert.equal(await denied(), true)
		assert.deepEqual(await seen(), [false, true])
		await database.operator.query('SELECT policy_reattach_all()')
		assert.deepEqual(await seen(), [true, false])
		assert.equal(await denied(), false)
	})

	await t.test('there is evidence for what was stored, and none for what was not', async () => {
		const before = await countDecisions(database)
		assert.notEqual(await boss.sendThrottled('jobs', { n: 1 }, {}, 365 * 86400), null)
		assert.equal(await countDecisions(database), before + 1)
		assert.equal(await boss.sendThrottled('jobs', { n: 2 }, {}, 365 * 86400), null)
		assert.equal(await boss.sendThrottled('jobs', { do: 'hold' }, {}, 365 * 86400), null)
		assert.equal(await countDecisions(database), before + 1)
	})

	assert.deepEqual(boss.errors, [])
})

test('many workers, votes and ways round at once', async (t) => {
	const database = await guarded(t, 'pg_boss_stress')
	const boss = await start(database)
	await attachJobs(database)
	const queues = ['shared', 'apart']
	await boss.createQueue('shared')
	await boss.createQueue('apart', { partition: true })
	const what = ['nothing', 'hold', 'deny', 'throttle', 'bound']
	const jobs = []
	for (const queue of queues) {
		const ids = await boss.insert(queue, Array.from({ length: 100 }, (_, n) => ({ data: { do: what[n % what.length], n } })), { returnId: true })
		for (const id of ids) jobs.push({ queue, id, ...(await boss.findJobs(queue, { id }))[0].data })
	}
	const held = jobs.filter((job) => job.do === 'hold')
	const approved = held.filter((_, n) => n % 2 === 0)
	const due = [...jobs.filter((job) => !['hold', 'deny'].includes(job.do)), ...approved].map((job) => job.id).sort()
	const ran = []
	let over = false
	const take = async (queue, options) => {
		while (!over) {
			const taken = await boss.fetch(queue, { batchSize: 7, ...options })
			ran.push(...taken.map((job) => job.id))
			if (taken.length > 0) await boss.complete(queue, taken.map((job) => job.id))
			else await new Promise((resolve) => setImmediate(resolve))
		}
	}
	const workers = queues.flatMap((queue) => [take(queue), take(queue), take(queue, { ignoreStartAfter: true })])
	const push = async () => {
		for (const { queue, id, n } of jobs) {
			await boss.resume(queue, id)
			await boss.update(queue, undefined, { id, startAfter: 0, priority: n })
		}
	}
	const vote = async () => {
		for (const { id } of approved) await approve(database, id)
	}
	await Promise.all([push(), vote()])
	await until('all that may run has run', () => ran.length >= due.length)
	over = true
	await Promise.all(workers)
	assert.deepEqual(ran.sort(), due, 'each once, and nothing else')
	assert.equal(await value(database.superuser, 'SELECT count(*)::integer FROM policy_verify()'), 0, 'its evidence is whole')
})
