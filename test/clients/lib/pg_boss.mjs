// pg-boss, as an application runs it.
import { PgBoss } from 'pg-boss'
import { application, connection } from './database.mjs'

// What goes wrong in it is left in `errors`.
export async function start(database, options = {})
{
	const boss = new PgBoss({ ...connection(database.name, application), max: 4, supervise: false, schedule: false, ...options })
	boss.errors = []
	boss.on('error', (error) => boss.errors.push(error))
	let stopped
	boss.quit = () => (stopped ??= boss.stop({ graceful: false }))
	database.atEnd(boss.quit)
	await boss.start()
	return boss
}

// Far enough from the edges that no two runs are on two sides of one.
const minutes = (from, to) => Math.round((to - from) / 60000) + 0
const when = (delay) => (delay < -1 ? 'long ago' : delay > 1 ? 'later' : 'at once')

// A job's row without what two runs of one script differ in.
export function plain(job)
{
	if (!job) return job
	const {
		id, createdOn, startAfter, startedOn, completedOn, keepUntil, heartbeatOn, singletonOn,
		sourceId, sourceCreatedOn, sourceRootId, output, sourceOutput, ...rest
	} = job
	return {
		...rest, starts: when(minutes(createdOn, startAfter)), kept: startedOn ? null : minutes(startAfter, keepUntil),
		started: startedOn != null, completed: completedOn != null, slot: singletonOn != null,
		source: [sourceId != null, sourceRootId != null], output: brief(output), sourceOutput: brief(sourceOutput),
	}
}

function brief(output)
{
	if (output?.message) return { message: output.message }
	return output
}
