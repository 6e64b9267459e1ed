// graphile-worker, with and without a guard in front of its table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publish, rows, until, value, withinASecond } from './lib/database.mjs'
import { approvals, approve, attachAsGuided, attachNaively, bare, careful, countDecisions, decisions, everything, guarded, kept } from './lib/guard.mjs'
import { prepare, work } from './lib/graphile_worker.mjs'
import { script } from './lib/graphile_worker_script.mjs'

const attachJobs = (database) => attachAsGuided(database, 'graphile-worker')
const attachNaive = (database) => attachNaively(database, 'graphile_worker', '_private_jobs', `
	IF new.payload->>'do' = 'hold' THEN new.run_at := '9000-01-01'; END IF;
	IF new.payload->>'do' = 'deny' THEN new.attempts := new.max_attempts; END IF;`)

test('allowed jobs behave as in a bare database', async (t) => {
	const databases = await Promise.all([bare(t, 'graphile_bare'), guarded(t, 'graphile_allowed', everything)])
	const [without, withGuard] = await Promise.all([script(databases[0]), script(databases[1], attachJobs)])
	assert.deepEqual(withGuard, without)
	assert.ok(await countDecisions(databases[1]) > 50, 'its jobs were decided')
})

// A worker that tells what it runs, until the test t ends.
async function watch(t, database, options)
{
	const ran = []
	const worker = await work(database, {
		async act(payload, { job }) {
			ran.push({ ...payload, id: job.id, at: Date.now(), attempts: job.attempts })
			if (payload.fails >= job.attempts) throw new Error('it fails')
		},
	}, options)
	t.after(worker.stop)
	return { ran }
}

// Runs a job that comes after all others: what could run before it has been taken by then.
async function pass(utils, ...workers)
{
	const { id } = await utils.addJob('act', { last: true }, { priority: 1000 })
	await until('the last job has run', () => workers.some(({ ran }) => ran.some((job) => job.id === id)))
}

const ids = ({ ran }) => ran.filter((job) => !job.last).map((job) => job.id)

test('a way round a trigger before the insertion', async (t) => {
	const databases = [await bare(t, 'graphile_naive'), await guarded(t, 'graphile_round')]
	for (const database of databases) database.utils = await prepare(database)
	const [naive, round] = databases
	await attachNaive(naive)
	await attachJobs(round)
	for (const database of databases) database.worker = await watch(t, database)

	// The ids of what ran of the jobs that a way round gave.
	const go = async ({ utils, worker }, way) => {
		const id = await way(utils)
		await pass(utils, worker)
		return ids(worker).includes(id)
	}
	const both = async (way) => [await go(naive, way), await go(round, way)]

	await t.test('none: both stop what is added plainly', async () => {
		assert.deepEqual(await both(async (utils) => (await utils.addJob('act', { do: 'hold' })).id), [false, false])
		assert.deepEqual(await both(async (utils) => (await utils.addJob('act', { do: 'deny' })).id), [false, false])
	})

	await t.test("jobKeyMode 'preserve_run_at' swaps in a payload", async () => {
		assert.deepEqual(await both(async (utils) => utils.withPgClient(async (client) => {
			// In one transaction, so that no worker takes the harmless job before.
			await client.query('BEGIN')
			const add = async (payload, mode) => (await client.query(
				"SELECT id FROM graphile_worker.add_job('act', $1, job_key := 'key', run_at := now(), job_key_mode := $2)", [payload, mode])).rows[0].id
			const id = await add({ do: 'nothing' }, 'replace')
			assert.equal(await add({ do: 'hold' }, 'preserve_run_at'), id)
			await client.query('COMMIT')
			return id
		})), [true, false])
	})

	await t.test('rescheduleJobs makes a held job due', async () => {
		assert.deepEqual(await both(async (utils) => {
			const { id } = await utils.addJob('act', { do: 'hold' })
			await utils.rescheduleJobs([id], { runAt: new Date() })
			return id
		}), [true, false])
	})

	await t.test('reschedule_jobs gives a denied job its attempts back', async () => {
		assert.deepEqual(await both(async (utils) => {
			const { id } = await utils.addJob('act', { do: 'deny' })
			await utils.withPgClient((client) => client.query(
				'SELECT graphile_worker.reschedule_jobs(ARRAY[$1]::bigint[], run_at := now(), attempts := 0, max_attempts := 50)', [id]))
			return id
		}), [true, false])
	})
})

test('a guarded table', async (t) => {
	const database = await guarded(t, 'graphile_guarded')
	const utils = await prepare(database)
	await attachJobs(database)

	await t.test('what is held runs within a second of its approval, woken by it', async (t) => {
		const worker = await watch(t, database, { pollInterval: 3600000 })
		await withinASecond(async () => {
			const { id } = await utils.addJob('act', { do: 'hold' })
			await pass(utils, worker)
			assert.ok(!ids(worker).includes(id))
			const approved = Date.now()
			await approve(database, id)
			await until('the approved job has run', () => ids(worker).includes(id))
			assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['consumed'])
			return worker.ran.find((job) => job.id === id).at - approved
		})
	})

	await t.test('it runs when its client wants it to, where that is later', async (t) => {
		const worker = await watch(t, database)
		const { id } = await utils.addJob('act', { do: 'hold' }, { runAt: new Date(Date.now() + 3600000) })
		await approve(database, id)
		await pass(utils, worker)
		assert.deepEqual(ids(worker), [])
		await utils.rescheduleJobs([id], { runAt: new Date() })
		await until('it has run', () => ids(worker).includes(id))
	})

	await t.test('a retry of what was approved needs no second approval', async (t) => {
		const worker = await watch(t, database)
		const { id } = await utils.addJob('act', { do: 'hold', fails: 1 })
		await approve(database, id)
		await until('it has failed', async () => (await rows(database.application,
			"SELECT FROM graphile_worker._private_jobs WHERE id = $1 AND last_error = 'it fails' AND locked_at IS NULL", [id])).length === 1)
		await utils.rescheduleJobs([id], { runAt: new Date() })
		await until('it has run again', () => worker.ran.some((job) => job.id === id && job.attempts === 2))
		assert.equal((await approvals(database, id)).length, 1)
	})

	await t.test('another payload needs another approval', async (t) => {
		const worker = await watch(t, database)
		const { id } = await utils.addJob('act', { do: 'hold', n: 1 }, { jobKey: 'other', runAt: new Date(Date.now() + 3600000) })
		await approve(database, id)
		const swapped = await utils.addJob('act', { do: 'hold', n: 2 }, { jobKey: 'other' })
		assert.equal(swapped.id, id)
		await pass(utils, worker)
		assert.deepEqual(ids(worker), [])
		await approve(database, id)
		await until('it has run', () => worker.ran.some((job) => job.id === id && job.n === 2))
	})

	await t.test('what is rejected never runs', async (t) => {
		const worker = await watch(t, database)
		const { id } = await utils.addJob('act', { do: 'hold' })
		const [approval] = await approvals(database, id)
		await database.approver.query('SELECT policy_reject($1)', [approval.id])
		await utils.rescheduleJobs([id], { runAt: new Date() })
		await pass(utils, worker)
		assert.deepEqual(ids(worker), [])
	})

	await t.test('who deletes what is held ends the asking', async () => {
		const { id } = await utils.addJob('act', { do: 'hold' })
		await utils.completeJobs([id])
		assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['superseded'])
		assert.equal(await kept(database, id), undefined)
	})

	await t.test('what is denied never runs, and says why', async (t) => {
		const worker = await watch(t, database)
		const { id } = await utils.addJob('act', { do: 'deny' })
		await pass(utils, worker)
		assert.deepEqual(ids(worker), [])
		const [job] = await rows(database.application, 'SELECT * FROM graphile_worker._private_jobs WHERE id = $1', [id])
		assert.equal(job.is_available, false)
		assert.match(job.last_error, /not here/)
	})

	await t.test('what is throttled runs at its time', async (t) => {
		const worker = await watch(t, database)
		await withinASecond(async () => {
			const { id, run_at: due } = await utils.addJob('act', { do: 'throttle' })
			await until('it has run', () => ids(worker).includes(id))
			return worker.ran.find((job) => job.id === id).at - due
		})
	})

	await t.test('a constraint reaches the worker', async (t) => {
		const seen = []
		const worker = await work(database, { act: async (payload, { job }) => { seen.push(job.flags) } })
		t.after(worker.stop)
		await utils.addJob('act', { do: 'bound' }, { flags: ['mine'] })
		await utils.addJob('act', { do: 'nothing' }, { flags: ['mine'], priority: 1 })
		await until('both have run', () => seen.length === 2)
		assert.deepEqual(seen, [{ mine: true, policy: { region: 'eu' } }, { mine: true }])
	})

	await t.test('of what comes too often, as many as its rate allows run', async (t) => {
		await publish(database, { ...careful, rules: [...careful.rules, {
			id: 'rate', match: { when: 'lax $.payload.do == "often"' }, decision: 'throttle',
			velocity: { max_requests: 3, window_seconds: 3600, key: 'tenant' },
		}] })
		const worker = await watch(t, database, { concurrency: 5 })
		await utils.addJobs(Array.from({ length: 20 }, (_, n) => ({ identifier: 'act', payload: { do: 'often', n } })))
		await until('as many have run', () => ids(worker).length >= 3)
		await pass(utils, worker)
		assert.equal(ids(worker).length, 3)
	})

	await t.test('a start that is refused leaves the queue to the others', async (t) => {
		const jobs = await utils.addJobs([{ do: 'later' }, { do: 'nothing' }].map((payload, priority) => (
			{ identifier: 'act', payload, priority, queueName: 'shared' })))
		const [stopped, other] = jobs.sort((a, b) => a.priority - b.priority).map(({ id }) => id)
		await publish(database, { ...careful, rules: [...careful.rules,
			{ id: 'later', match: { when: 'lax $.payload.do == "later"' }, decision: 'deny' }] })
		const worker = await watch(t, database)
		await until('the other has run', () => ids(worker).includes(other))
		await pass(utils, worker)
		assert.deepEqual(ids(worker), [other])
		assert.deepEqual((await decisions(database, stopped)).map(({ decision, rule }) => [decision, rule]), [['ALLOW', null], ['DENY', 'later']])
	})

	await t.test('there is evidence for what was stored, and none for what was not', async (t) => {
		const { id } = await utils.addJob('act', { do: 'nothing' }, { jobKey: 'once', runAt: new Date(Date.now() + 3600000) })
		const before = await countDecisions(database)
		assert.equal((await utils.addJob('act', { do: 'deny' }, { jobKey: 'once', jobKeyMode: 'unsafe_dedupe' })).id, id)
		assert.equal(await countDecisions(database), before)
		assert.equal((await utils.addJob('act', { do: 'deny' }, { jobKey: 'once' })).id, id)
		assert.deepEqual((await decisions(database, id)).map(({ decision }) => decision), ['ALLOW', 'DENY'])
	})
})

test('many workers, votes and ways round at once', async (t) => {
	const database = await guarded(t, 'graphile_stress')
	const utils = await prepare(database)
	await attachJobs(database)
	const what = ['nothing', 'hold', 'deny', 'throttle', 'bound']
	const jobs = (await utils.addJobs(Array.from({ length: 200 }, (_, n) => ({
		identifier: 'act', payload: { do: what[n % what.length], n }, jobKey: `key ${n}`,
		queueName: n % 7 === 0 ? `queue ${n % 3}` : undefined,
	})))).map(({ id, payload }) => ({ id, ...payload }))
	const held = jobs.filter((job) => job.do === 'hold')
	const approved = held.filter((_, n) => n % 2 === 0)
	const workers = await Promise.all(Array.from({ length: 3 }, () => watch(t, database, { concurrency: 4 })))
	const vote = async () => {
		for (const { id } of approved) await approve(database, id)
	}
	const push = async () => {
		for (let turn = 0; turn < 10; turn++) {
			await utils.rescheduleJobs(jobs.filter((job) => job.n % 10 !== turn).map(({ id }) => id), { runAt: new Date(), attempts: 0 })
		}
	}
	await Promise.all([vote(), push()])
	const ran = () => workers.flatMap((worker) => worker.ran).filter((job) => !job.last).map((job) => job.id).sort()
	const due = [...jobs.filter((job) => !['hold', 'deny'].includes(job.do)), ...approved].map((job) => job.id).sort()
	await until('all that may run has run', () => ran().length >= due.length)
	await pass(utils, ...workers)
	assert.deepEqual(ran(), due, 'each once, and nothing else')
	assert.equal(await value(database.superuser, 'SELECT count(*)::integer FROM policy_verify()'), 0, 'its evidence is whole')
})

test('nothing starts after a halt has committed, and all goes on after it', async (t) => {
	const database = await guarded(t, 'graphile_halt')
	const utils = await prepare(database)
	await attachJobs(database)
	const wanted = 1000
	await utils.addJobs(Array.from({ length: wanted }, (_, n) => ({ identifier: 'act', payload: { n } })))
	const ran = []
	const worker = await work(database, {
		async act({ n }, { job, query }) {
			await query('SELECT pg_sleep(0.005)')
			ran.push({ n, at: job.locked_at })
		},
	}, { concurrency: 8 })
	t.after(worker.stop)
	await until('the workers are busy', () => ran.length > 20)
	const halt = await value(database.operator, "SELECT halt_id FROM policy_halt('{}', 'smoke')")
	const halted = await value(database.operator, 'SELECT clock_timestamp()')
	await until('what was running is done', async () => await value(database.application,
		'SELECT count(*) = 0 FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL'))
	const left = await value(database.application, 'SELECT count(*)::integer FROM graphile_worker._private_jobs')
	assert.ok(left > 0, 'it came in time to stop some')
	assert.deepEqual(ran.filter(({ at }) => at > halted), [])
	await database.operator.query('SELECT policy_resume($1)', [halt])
	await until('all have run', () => ran.length >= wanted)
	assert.ok(ran.filter(({ at }) => at > halted).length >= left)
	assert.deepEqual(ran.map(({ n }) => n).sort((a, b) => a - b), Array.from({ length: wanted }, (_, n) => n), 'each once')
})
