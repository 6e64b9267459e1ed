// graphile-worker, as an application runs it.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'

export const logger = new Logger(() => () => {})

export async function prepare(database)
{
	const utils = await makeWorkerUtils({ pgPool: database.application, logger })
	database.atEnd(() => utils.release())
	await utils.migrate()
	return utils
}

// A worker with these tasks, and how to stop it; pollInterval bounds what it finds
// without being told.
export async function work(database, taskList, options = {})
{
	const worker = await run({
		pgPool: database.application,
		logger,
		noHandleSignals: true,
		concurrency: 1,
		pollInterval: 100,
		taskList,
		...options,
	})
	let stopped
	const stop = () => (stopped ??= worker.stop())
	database.atEnd(stop)
	return { stop }
}

// A job's row without what two runs of one script differ in.
export function plain(job)
{
	if (!job) return job
	const { id, created_at, updated_at, run_at, locked_at, locked_by, ...rest } = job
	return { ...rest, due: run_at <= new Date(), locked: [locked_at != null, locked_by != null] }
}
