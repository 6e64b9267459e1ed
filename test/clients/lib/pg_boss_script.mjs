// What a user's system does with pg-boss, and what came of it.
import { until } from './database.mjs'
import { plain, start } from './pg_boss.mjs'

const all = { includeMetadata: true }
const year = 365 * 86400
const order = (a, b) => JSON.stringify(a.data).localeCompare(JSON.stringify(b.data)) || a.state.localeCompare(b.state)

async function left(boss, log, queue, when)
{
	log.push([`${queue} ${when}`, (await boss.findJobs(queue)).map(plain).sort(order)])
}

async function add(boss, log)
{
	await boss.createQueue('dead')
	await boss.createQueue('work', { retryLimit: 1, deadLetter: 'dead' })
	await boss.createQueue('alone', { partition: true })
	const data = (n) => ({ n, list: [n] })
	log.push(['send', typeof await boss.send('work', data(1))])
	await boss.send('work', data(2), { priority: 10, expireInSeconds: 60, retryLimit: 3, retryDelay: 1, retryDelayMax: 1, retryBackoff: true })
	await boss.sendAfter('work', data(3), { retentionSeconds: 1000 }, 100)
	await boss.send('work', data(4), { startAfter: new Date('2020-01-01') })
	log.push(['throttled', [await boss.sendThrottled('work', data(5), {}, year), await boss.sendThrottled('work', data(6), {}, year)]
		.map((id) => id != null)])
	log.push(['debounced', [await boss.sendDebounced('work', data(7), {}, year, 'k'), await boss.sendDebounced('work', data(8), {}, year, 'k')]
		.map((id) => id != null)])
	log.push(['insert', (await boss.insert('work', [11, 12, 13].map((n) => ({ data: data(n), priority: n })), { returnId: true })).length])
	const id = '00000000-0000-4000-8000-000000000001'
	log.push(['id', [await boss.send('work', data(14), { id }), await boss.send('work', data(15), { id })]])
	await boss.insert('alone', [21, 22].map((n) => ({ data: data(n) })))
	await left(boss, log, 'work', 'as sent')
	await left(boss, log, 'alone', 'as sent')
}

async function change(boss, log)
{
	const id = await boss.send('work', { changed: 0 }, { startAfter: 3600 })
	await boss.update('work', { changed: 1 }, { id, priority: 7, startAfter: 0 })
	log.push(['update', plain((await boss.findJobs('work', { id }))[0])])
	const upsert = async (n) => (await boss.upsert('work', { upserted: n }, { singletonKey: 'upserted', startAfter: n * 100 })).jobs.length
	log.push(['upsert', [await upsert(1), await upsert(2)],
		(await boss.findJobs('work', { key: 'upserted' })).map(plain)])
	const cancelled = await boss.send('work', { cancelled: true })
	const affected = async (call) => (await boss[call]('work', cancelled)).affected
	log.push(['cancel', await affected('cancel'), plain((await boss.findJobs('work', { id: cancelled }))[0])])
	log.push(['resume', await affected('resume'), plain((await boss.findJobs('work', { id: cancelled }))[0])])
	log.push(['deleteJob', await affected('deleteJob'), await boss.findJobs('work', { id: cancelled })])
}

async function fetchAndSettle(boss, log)
{
	const [first] = await boss.fetch('work', all)
	log.push(['fetch', plain(first)])
	log.push(['touch', (await boss.touch('work', first.id)).affected])
	log.push(['complete', (await boss.complete('work', first.id, { done: true })).affected])
	const batch = await boss.fetch('work', { batchSize: 4, ...all })
	log.push(['batch', batch.map(plain).sort(order)])
	log.push(['fail', (await boss.fail('work', batch.map((job) => job.id), { message: 'broken' })).affected])
	await left(boss, log, 'work', 'after failures')
	const again = await boss.fetch('work', { batchSize: 9, ignoreStartAfter: true, ...all })
	log.push(['again', again.map(plain).sort(order)])
	await boss.fail('work', again.map((job) => job.id), new Error('broken again'))
	await left(boss, log, 'work', 'after more failures')
	await left(boss, log, 'dead', 'as it came')
	const failed = (await boss.findJobs('work')).filter((job) => job.state === 'failed').sort(order)
	log.push(['retry', (await boss.retry('work', failed.slice(0, 1).map((job) => job.id))).affected])
	log.push(['redrive', await boss.redrive('dead')])
	await left(boss, log, 'work', 'after the redrive')
	log.push(['deleted', await boss.deleteQueuedJobs('work'), await boss.deleteStoredJobs('work')])
	await boss.deleteAllJobs('work')
}

async function policies(boss, log)
{
	for (const policy of ['short', 'singleton', 'stately', 'exclusive', 'key_strict_fifo']) {
		for (const partition of [false, true]) {
			const queue = `${policy}-${partition}`
			await boss.createQueue(queue, { policy, partition })
			const sent = []
			for (const n of [1, 2, 3]) sent.push(await boss.send(queue, { n }, { singletonKey: n === 3 ? 'other' : 'one' }) != null)
			const fetched = []
			for (let turn = 0; turn < 3; turn++) fetched.push((await boss.fetch(queue, all)).map(plain))
			const active = (await boss.findJobs(queue)).filter((job) => job.state === 'active').map((job) => job.id)
			await boss.complete(queue, active)
			fetched.push((await boss.fetch(queue, all)).map(plain))
			log.push([queue, sent, fetched])
		}
	}
}

// A worker that fails once, one that takes batches, and one that commits with its job.
async function workers(boss, log)
{
	const ran = []
	await boss.createQueue('flaky', { retryLimit: 2, retryDelay: 0 })
	await boss.createQueue('batch', { partition: true })
	await boss.createQueue('atomic')
	for (const n of [1, 2, 3]) await boss.send('flaky', { n })
	await boss.insert('batch', Array.from({ length: 20 }, (_, n) => ({ data: { n } })))
	await boss.send('atomic', { n: 1 })
	const options = { pollingIntervalSeconds: 0.5, ...all }
	await boss.work('flaky', options, async ([job]) => {
		ran.push(['flaky', job.data.n, job.retryCount])
		if (job.retryCount < job.data.n - 1) throw new Error(`attempt ${job.retryCount}`)
		return { attempts: job.retryCount }
	})
	await boss.work('batch', { ...options, batchSize: 5, perJobResults: true }, async (jobs) => jobs.map(({ id, data }) => {
		ran.push(['batch', data.n])
		return { id, status: 'completed', output: { n: data.n } }
	}))
	await boss.work('atomic', { ...options, transactional: true }, async ([job], tx) => {
		ran.push(['atomic', (await tx.executeSql('SELECT 1 AS one')).rows])
		return job.data
	})
	await until('the workers are done', async () =>
		(await Promise.all(['flaky', 'batch', 'atomic'].map((queue) => boss.findJobs(queue))))
			.every((jobs) => jobs.every((job) => job.state === 'completed')))
	for (const queue of ['flaky', 'batch', 'atomic']) {
		await boss.offWork(queue)
		await left(boss, log, queue, 'done')
	}
	log.push(['ran', ran.map((run) => JSON.stringify(run)).sort()])
}

async function flow(boss, log)
{
	await boss.createQueue('flow')
	const ids = await boss.flow([
		{ ref: 'parent', name: 'flow', data: { parent: true } },
		{ ref: 'child', name: 'flow', data: { child: true }, dependsOn: ['parent'] },
	])
	const fetched = async () => (await boss.fetch('flow', { batchSize: 5, ...all })).map(plain)
	log.push(['flow', Object.keys(ids).sort(), await fetched(), await fetched()])
	await boss.complete('flow', ids.parent)
	await boss.resolveFlow()
	log.push(['flow goes on', await fetched()])
}

async function publish(boss, log)
{
	await boss.createQueue('news')
	await boss.subscribe('event', 'news')
	await boss.publish('event', { published: 1 })
	await boss.unsubscribe('event', 'news')
	await left(boss, log, 'news', 'published')
}

async function cron(database, log)
{
	const boss = await start(database, { schedule: true, cronWorkerIntervalSeconds: 1, cronMonitorIntervalSeconds: 1 })
	await boss.createQueue('report')
	await boss.schedule('report', '* * * * *', { report: 1 }, { tz: 'UTC', priority: 2 })
	await until('the report was sent', async () => (await boss.findJobs('report')).length > 0)
	await boss.unschedule('report')
	log.push(['report', plain((await boss.findJobs('report'))[0])])
	await boss.quit()
}

// What pg-boss does of itself: it deletes what is over its time, and looks after its schema.
async function maintain(boss, log)
{
	await boss.createQueue('old')
	await boss.send('old', { old: true }, { startAfter: new Date('2020-01-01'), retentionSeconds: 1 })
	await boss.send('old', { old: false })
	await boss.supervise('old')
	await left(boss, log, 'old', 'after maintenance')
	await boss.deleteQueue('alone')
	log.push(['queues', (await boss.getQueues()).map(({ name, policy, partition, totalCount }) => ({ name, policy, partition, totalCount }))])
	log.push(['drift', await boss.detectSchemaDrift()])
}

export async function script(database, prepared = async () => {})
{
	const log = []
	const boss = await start(database)
	await prepared(database)
	await add(boss, log)
	await change(boss, log)
	await fetchAndSettle(boss, log)
	await policies(boss, log)
	await workers(boss, log)
	await flow(boss, log)
	await publish(boss, log)
	await cron(database, log)
	await maintain(boss, log)
	log.push(['errors', boss.errors])
	await boss.quit()
	return log
}
