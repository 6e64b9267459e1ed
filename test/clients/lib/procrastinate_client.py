"""procrastinate, as an application runs it, told what to do by lines of JSON.

Each line is {"do": verb, ...}, and is answered by a line with what came of it.
"""
import asyncio
import json
import sys
import time

import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(
    conninfo=sys.argv[1], min_size=1, max_size=4))
ran = []
workers = []


@app.task(name="act", pass_context=True, retry=procrastinate.RetryStrategy(max_attempts=5, wait=0))
async def act(context, **args):
    job = context.job
    ran.append({"id": job.id, "args": args, "attempts": job.attempts, "queue": job.queue,
                "priority": job.priority, "lock": job.lock, "at": time.time() * 1000})
    if args.get("fails", 0) > job.attempts:
        raise RuntimeError("it fails")


def deferrer(args=None, seconds=None, **options):
    if seconds is not None:
        options["schedule_in"] = {"seconds": seconds}
    return act.configure(**options)


async def handle(do, **given):
    manager = app.job_manager
    match do:
        case "install":
            await app.schema_manager.apply_schema_async()
        case "defer":
            try:
                return await deferrer(**given).defer_async(**given["args"])
            except procrastinate.exceptions.AlreadyEnqueued:
                return None
        case "batch":
            return await deferrer().batch_defer_async(*given["args"])
        case "periodic":
            return await manager.defer_periodic_job(
                periodic_id="", defer_timestamp=given["timestamp"],
                job=act.configure(queue="periodic", task_kwargs={"timestamp": given["timestamp"]}).job)
        case "run":
            await app.run_worker_async(wait=False, install_signal_handlers=False)
        case "work":
            workers.append(asyncio.create_task(app.run_worker_async(
                install_signal_handlers=False, fetch_job_polling_interval=3600)))
        case "stop":
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            workers.clear()
        case "cancel":
            return await manager.cancel_job_by_id_async(given["id"])
        case "retry":
            await manager.retry_job_by_id_async(
                given["id"], procrastinate.utils.utcnow(), given.get("priority"))
        case "jobs":
            return [{"args": job.task_kwargs, "status": job.status, "attempts": job.attempts,
                     "queue": job.queue, "priority": job.priority, "lock": job.lock,
                     "queueing_lock": job.queueing_lock, "scheduled": job.scheduled_at is not None}
                    for job in await manager.list_jobs_async()]
        case "ran":
            return ran


async def main():
    loop = asyncio.get_running_loop()
    async with app.open_async():
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            try:
                answer = {"ok": await handle(**json.loads(line))}
            except Exception as error:
                answer = {"error": repr(error)}
            print(json.dumps(answer), flush=True)

asyncio.run(main())
