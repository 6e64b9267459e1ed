// What a user's system does with graphile-worker, and what came of it.
import { parseCronItems } from 'graphile-worker'
import { rows, until } from './database.mjs'
import { plain, prepare, work } from './graphile_worker.mjs'

// The tasks of the application: each run is told in `ran`.
function tasks(ran)
{
	let active = 0
	const tell = async (task, payload, { job, getQueueName }) =>
		ran.push({
			task, payload, attempts: job.attempts, max: job.max_attempts, key: job.key,
			priority: job.priority, flags: job.flags, queue: await getQueueName(),
		})
	return {
		echo: (payload, helpers) => tell('echo', payload, helpers),
		async flaky(payload, helpers) {
			await tell('flaky', payload, helpers)
			if (helpers.job.attempts < payload.works) throw new Error(`attempt ${helpers.job.attempts} of ${payload.works}`)
		},
		async alone(payload, helpers) {
			const together = ++active
			await helpers.query('SELECT pg_sleep(0.01)')
			active--
			await tell('alone', { ...payload, together }, helpers)
		},
		async batch(payload, helpers) {
			await tell('batch', payload, helpers)
			return payload.map(async ({ n }) => {
				if (helpers.job.attempts === 1 && n % 2 === 1) throw new Error(`odd: ${n}`)
			})
		},
		async cron(payload, helpers) {
			const { _cron, ...rest } = payload
			await tell('cron', { ...rest, backfilled: _cron.backfilled }, helpers)
		},
	}
}

// What is not due yet is made so, in the order that it was added in.
async function makeDue({ application }, utils)
{
	const later = await rows(application, `
		SELECT id FROM graphile_worker._private_jobs WHERE run_at > now() AND is_available AND attempts < max_attempts ORDER BY id`)
	for (const [n, { id }] of later.entries()) {
		await utils.rescheduleJobs([id], { runAt: new Date(Date.now() - later.length + n) })
	}
}

// Waits until nothing is left that may be tried again, whenever.
async function drain(database, utils)
{
	await until('the queue is empty', async () => {
		await makeDue(database, utils)
		const [{ left }] = await rows(database.application, `
			SELECT count(*)::integer AS left FROM graphile_worker._private_jobs WHERE attempts < max_attempts OR locked_at IS NOT NULL`)
		return left === 0
	})
}

async function left({ application }, log, when)
{
	log.push([when, (await rows(application, `
		SELECT * FROM graphile_worker._private_jobs ORDER BY payload::text COLLATE "C", priority`)).map(plain)])
}

async function addAll(utils, { application }, log)
{
	log.push(['addJob', plain(await utils.addJob('echo', { n: 1 }))])
	log.push(['addJob with all', plain(await utils.addJob('echo', { n: 2 }, {
		queueName: 'mail', maxAttempts: 3, jobKey: 'two', priority: 5, flags: ['big'],
	}))])
	log.push(['addJobs', (await utils.addJobs([7, 3, 9, 1].map((priority) => ({
		identifier: 'echo', payload: { batch: priority }, priority,
	})))).sort((a, b) => a.priority - b.priority).map(plain)])
	log.push(['add_job', plain((await rows(application, `
		SELECT * FROM graphile_worker.add_job('echo', '{"sql": true}', max_attempts := 2)`))[0])])
	log.push(['none', plain(await utils.addJob('echo'))])
}

async function keys(utils, log)
{
	const ids = []
	const later = new Date(Date.now() + 3600000)
	const add = async (title, payload, spec) => {
		const job = await utils.addJob('echo', payload, spec)
		log.push([title, plain(job), ids.indexOf(job.id)])
		ids.push(job.id)
	}
	await add('key', { key: 1 }, { jobKey: 'replaced' })
	await add('replace', { key: 2 }, { jobKey: 'replaced', jobKeyMode: 'replace', runAt: later })
	await add('preserve_run_at', { key: 3 }, { jobKey: 'replaced', jobKeyMode: 'preserve_run_at' })
	await add('unsafe_dedupe', { key: 4 }, { jobKey: 'replaced', jobKeyMode: 'unsafe_dedupe' })
	await add('array', [{ n: 1 }], { jobKey: 'merged' })
	await add('merged array', [{ n: 2 }], { jobKey: 'merged', runAt: later })
	await add('removed', {}, { jobKey: 'removed' })
	await utils.withPgClient(async (client) => {
		const remove = async (key) => (await client.query('SELECT * FROM graphile_worker.remove_job($1)', [key])).rows.map(plain)
		log.push(['remove_job', await remove('removed'), await remove('unknown')])
	})
}

async function administer(utils, log)
{
	const jobs = await utils.addJobs([0, 1, 2, 3].map((n) => ({ identifier: 'echo', payload: { n }, runAt: new Date(Date.now() + 3600000) })))
	const ids = jobs.sort((a, b) => a.payload.n - b.payload.n).map((job) => job.id)
	log.push(['completeJobs', (await utils.completeJobs([ids[0]])).map(plain)])
	log.push(['permanentlyFailJobs', (await utils.permanentlyFailJobs([ids[1]], 'given up')).map(plain)])
	log.push(['rescheduleJobs', (await utils.rescheduleJobs([ids[1], ids[2]], {
		runAt: new Date(), priority: 2, attempts: 1, maxAttempts: 4,
	})).map(plain)])
}

async function runInOrder(database, utils, log)
{
	const ran = []
	await makeDue(database, utils)
	const worker = await work(database, tasks(ran))
	await drain(database, utils)
	await worker.stop()
	log.push(['ran in order', ran])
	await left(database, log, 'after the run')
}

async function retry(database, utils, log)
{
	const ran = []
	await utils.addJob('flaky', { works: 3 }, { maxAttempts: 5 })
	await utils.addJob('flaky', { works: 9 }, { maxAttempts: 2, queueName: 'brittle', priority: 1 })
	await utils.addJob('batch', [1, 2, 3].map((n) => ({ n })), { priority: 2 })
	const worker = await work(database, tasks(ran))
	await drain(database, utils)
	await worker.stop()
	log.push(['retried', ran.sort((a, b) => a.priority - b.priority || a.attempts - b.attempts)])
	await left(database, log, 'after retries')
}

async function schedule(database, utils, log)
{
	const ran = []
	const at = new Date(Date.now() + 300)
	await utils.addJob('echo', { later: true }, { runAt: at })
	const worker = await work(database, {
		echo: async () => ran.push((await rows(database.application, 'SELECT now() >= $1 AS due', [at]))[0].due),
	})
	await until('the scheduled job has run', () => ran.length === 1)
	await worker.stop()
	log.push(['scheduled', ran])
}

async function queues(database, utils, log)
{
	const ran = []
	await utils.addJobs(Array.from({ length: 8 }, (_, n) => ({ identifier: 'alone', payload: { n }, queueName: 'one by one' })))
	const worker = await work(database, tasks(ran), { concurrency: 4 })
	await drain(database, utils)
	await worker.stop()
	log.push(['one by one', ran.sort((a, b) => a.payload.n - b.payload.n)])
	log.push(['queues', await rows(database.application,
		'SELECT queue_name, locked_at, locked_by FROM graphile_worker._private_job_queues ORDER BY queue_name')])
}

// A worker that takes batches, and gives back what it did.
async function batches(database, utils, log)
{
	const ran = []
	await utils.addJobs(Array.from({ length: 50 }, (_, n) => ({
		identifier: n % 10 === 9 ? 'flaky' : 'echo', payload: { n, works: 2 }, queueName: n % 5 === 0 ? 'fifth' : undefined,
	})))
	const worker = await work(database, tasks(ran), {
		concurrency: 4,
		preset: { worker: { localQueue: { size: 10 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
	})
	await drain(database, utils)
	await worker.stop()
	log.push(['in batches', ran.sort((a, b) => a.payload.n - b.payload.n || a.attempts - b.attempts)])
	await left(database, log, 'after batches')
}

// The minutes that passed while no worker was there are made up for.
async function cron(database, log)
{
	const ran = []
	await database.application.query(`
		INSERT INTO graphile_worker._private_known_crontabs (identifier, known_since, last_execution)
		SELECT 'minutely', m - interval '1 hour', m - interval '3 minutes' FROM date_trunc('minute', now()) m`)
	const worker = await work(database, tasks(ran), {
		parsedCronItems: parseCronItems([{
			task: 'cron', match: '* * * * *', identifier: 'minutely', payload: { report: 1 }, options: { backfillPeriod: 150000, queueName: 'cron', priority: 3, max: 2 },
		}]),
	})
	await until('the missed minutes have run', () => ran.length >= 2)
	await worker.stop()
	log.push(['cron', ran.slice(0, 2)])
}

// A worker's jobs that it died with.
async function unlock(database, utils, log)
{
	await utils.addJob('echo', { died: true }, { queueName: 'dead' })
	await database.application.query(`
		WITH job AS (UPDATE graphile_worker._private_jobs SET attempts = attempts + 1, locked_by = 'dead', locked_at = now() WHERE payload->>'died' = 'true' RETURNING job_queue_id)
		UPDATE graphile_worker._private_job_queues SET locked_by = 'dead', locked_at = now() FROM job WHERE id = job_queue_id`)
	await utils.forceUnlockWorkers(['dead'])
	const ran = []
	const worker = await work(database, tasks(ran))
	await drain(database, utils)
	await worker.stop()
	log.push(['unlocked', ran])
}

export async function script(database, prepared = async () => {})
{
	const log = []
	const utils = await prepare(database)
	await prepared(database)
	await addAll(utils, database, log)
	await keys(utils, log)
	await administer(utils, log)
	await left(database, log, 'before the run')
	await runInOrder(database, utils, log)
	await retry(database, utils, log)
	await schedule(database, utils, log)
	await queues(database, utils, log)
	await batches(database, utils, log)
	await unlock(database, utils, log)
	await utils.cleanup({ tasks: ['GC_TASK_IDENTIFIERS', 'GC_JOB_QUEUES', 'DELETE_PERMAFAILED_JOBS'] })
	await left(database, log, 'after the cleanup')
	await cron(database, log)
	return log
}
