// procrastinate, with and without a guard in front of its table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rows, until, value, withinASecond } from './lib/database.mjs'
import { approvals, approve, attachAsGuided, bare, countDecisions, decisions, everything, guarded, kept } from './lib/guard.mjs'
import { missing, start } from './lib/procrastinate.mjs'
import { script } from './lib/procrastinate_script.mjs'

const skip = await missing()
const attachJobs = (database) => attachAsGuided(database, 'Procrastinate')

test('allowed jobs behave as in a bare database', { skip }, async (t) => {
	const databases = await Promise.all([bare(t, 'procrastinate_bare'), guarded(t, 'procrastinate_allowed', everything)])
	const [without, withGuard] = await Promise.all([script(databases[0]), script(databases[1], attachJobs)])
	assert.deepEqual(withGuard, without)
	assert.ok(await countDecisions(databases[1]) >= 11, 'its jobs were decided')
})

test('a guarded table', { skip }, async (t) => {
	const database = await guarded(t, 'procrastinate_guarded')
	const ask = start(database)
	await ask('install')
	await attachJobs(database)
	const runs = async (id) => (await ask('ran')).filter((run) => run.id === id)
	const status = (id) => value(database.application, 'SELECT status::text FROM procrastinate_jobs WHERE id = $1', [id])

	await t.test('what is held runs within a second of its approval, woken by it', async (t) => {
		await ask('work')
		t.after(() => ask('stop'))

		// It does not poll: what is told before it listens it never hears.
		await until('the worker listens', () => value(database.application,
			"SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query ~* '^\\s*LISTEN'"))
		await withinASecond(async () => {
			const id = await ask('defer', { args: { do: 'hold' } })
			const other = await ask('defer', { args: { do: 'nothing' } })
			await until('the other has run', async () => (await runs(other)).length === 1)
			assert.deepEqual(await runs(id), [])
			const approved = Date.now()
			await approve(database, id)
			await until('it has run', async () => (await runs(id)).length === 1)
			assert.deepEqual((await approvals(database, id)).map(({ status }) => status), ['consumed'])
			return (await runs(id))[0].at - approved
		})
	})

	await t.test('a retry of what was approved needs no second approval', async () => {
		const id = await ask('defer', { args: { do: 'hold', fails: 9 } })
		await approve(database, id)
		await ask('run')
		assert.deepEqual((await runs(id)).map((run) => run.attempts), [0, 1, 2], 'its rule allows two retries, and no third')
		assert.equal((await approvals(database, id)).filter(({ status }) => status !== 'pending').length, 1)
	})

	await t.test('what is denied is cancelled, and never runs', async () => {
		const id = await ask('defer', { args: { do: 'deny' } })
		const other = await ask('defer', { args: { do: 'nothing' } })
		await ask('run')
		assert.deepEqual([(await runs(id)).length, (await runs(other)).length], [0, 1])
		assert.equal(await status(id), 'cancelled')
		assert.deepEqual((await decisions(database, id)).map(({ decision }) => decision), ['DENY'])
	})

	await t.test('what is throttled runs at its time', async () => {
		await withinASecond(async () => {
			const id = await ask('defer', { args: { do: 'throttle' } })
			const { run_after: due } = await kept(database, id)
			await until('it has run', async () => {
				await ask('run')
				return (await runs(id)).length === 1
			})
			return (await runs(id))[0].at - due
		})
	})

	await t.test('what a client makes of a held job is refused or kept for later', async () => {
		const id = await ask('defer', { args: { do: 'hold', n: 1 } })
		await rows(database.application, "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE id = $1", [id])
		await ask('run')
		assert.deepEqual(await runs(id), [])
		assert.equal(await ask('cancel', { id }), true)
		assert.equal(await status(id), 'cancelled')
	})

})
