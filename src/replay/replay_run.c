/*
 * replay_run.c
 *	  A replay under way: from rows of jobs to rows of flips.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "engine/edit.h"
#include "engine/verdict_sql.h"
#include "replay/replay_run.h"
#include "store/active.h"
#include "store/cache.h"
#include "store/table.h"

static void
release_run(void *arg)
{
	ReplayRun  *run = arg;

	if (run->masking != NULL)
		policy_cache_unpin(run->masking);
	if (run->base != NULL)
		policy_cache_unpin(run->base);
	if (run->candidate != NULL)
		policy_cache_unpin(run->candidate);
	run->masking = run->base = run->candidate = NULL;
}

/* The labels of the enum, from a table that has a column of it. */
static void
set_decisions(ReplayRun *run)
{
	Relation	relation = policy_table_open("simulation_flips");

	policy_decision_oids(TupleDescAttr(RelationGetDescr(relation), FLIP_FROM_DECISION)->atttypid,
						 run->decisions);
	table_close(relation, AccessShareLock);
}

ReplayRun *
replay_run_begin(text *candidate, text *base, TimestampTz present, bool recorded)
{
	ReplayRun  *run = palloc0(sizeof(ReplayRun));

	run->release.func = release_run;
	run->release.arg = run;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &run->release);
	run->candidate = policy_snapshot_pin(candidate);
	if (base != NULL)
		run->base = policy_snapshot_pin(base);
	run->recorded = recorded;
	replay_begin(&run->replay, run->base, run->candidate, present);
	set_decisions(run);
	return run;
}

/*
 * The policy by which a recorded job was masked, of the snapshot that its decision
 * names; NULL where there is none, or it cannot be read.  The last one is kept.
 */
static const CompiledPolicy *
masking_policy(ReplayRun *run, const SourceRow *source)
{
	char	   *name = TextDatumGetCString(source->values[SOURCE_SNAPSHOT]);

	if (run->masking_snapshot == NULL || strcmp(run->masking_snapshot, name) != 0)
	{
		CompiledPolicy *policy = policy_snapshot_pin_readable(name, run->candidate);

		if (run->masking != NULL)
			policy_cache_unpin(run->masking);
		run->masking = policy;
		if (run->masking_snapshot != NULL)
			pfree(run->masking_snapshot);
		run->masking_snapshot = NULL;
		run->masking_snapshot = MemoryContextStrdup(GetMemoryChunkContext(run), name);
	}
	return run->masking;
}

static PolicyDecision
decision_of(const ReplayRun *run, Oid label)
{
	for (int i = 0; i < POLICY_NDECISIONS; i++)
	{
		if (run->decisions[i] == label)
			return (PolicyDecision) i;
	}
	elog(ERROR, "unknown decision: %u", label);
}

static void
read_source(ReplayRun *run, const SourceRow *source, ReplayedJob *job)
{
	memset(job, 0, sizeof(ReplayedJob));
	job->source = source->nulls[SOURCE_JOB] ? NULL : DatumGetJsonbP(source->values[SOURCE_JOB]);
	job->has_time = !source->nulls[SOURCE_TIME];
	job->time = job->has_time ? DatumGetTimestampTz(source->values[SOURCE_TIME]) : 0;
	if (!run->recorded)
		return;
	job->has_decision = true;
	job->decision = decision_of(run, DatumGetObjectId(source->values[SOURCE_DECISION]));
	if (!source->nulls[SOURCE_SNAPSHOT])
	{
		job->recorded = masking_policy(run, source);
		job->masks_unknown = job->recorded == NULL;
	}
	job->payload_hidden = DatumGetBool(source->values[SOURCE_UNAVAILABLE]);
}

static void
set_fact(Datum *values, bool *nulls, int column, const JobString *fact)
{
	nulls[column] = fact->data == NULL;
	if (fact->data != NULL)
		values[column] = PointerGetDatum(cstring_to_text_with_len(fact->data, fact->len));
}

static Datum
why_array(int why)
{
	Datum		names[CHANGE_KINDS];
	int			count = 0;

	for (int i = 0; i < CHANGE_KINDS; i++)
	{
		if ((why & (1 << i)) != 0)
			names[count++] = CStringGetTextDatum(policy_change_names[i]);
	}
	return PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
set_side(const ReplayRun *run, Datum *values, bool *nulls, const PolicyVerdict *verdict, int to)
{
	values[FLIP_FROM_DECISION + to] = ObjectIdGetDatum(run->decisions[verdict->decision]);
	nulls[FLIP_FROM_RULE + to] = verdict->winner == NULL;
	if (verdict->winner != NULL)
		values[FLIP_FROM_RULE + to] = PointerGetDatum(verdict->winner->id_text);
	values[FLIP_FROM_REASON + to] = PointerGetDatum(verdict->reason);
	values[FLIP_FROM_CONSTRAINTS + to] = JsonbPGetDatum(verdict->constraints);
}

/*
 * What evidence shows of the job.  A recorded one was masked when it was recorded;
 * of a query's, what either policy masks is not to be read by whoever reads flips.
 */
static void
set_job(const ReplayRun *run, Datum *values, bool *nulls, const ReplayedJob *replayed,
		const Job *job)
{
	Job			shown = *job;
	Jsonb	   *source = replayed->source;

	nulls[FLIP_JOB] = run->recorded;
	if (!run->recorded)
	{
		source = policy_masked(source, &run->candidate->masks);
		if (run->base != NULL)
			source = policy_masked(source, &run->base->masks);
		policy_job_read(source, &shown);
		values[FLIP_JOB] = JsonbPGetDatum(source);
	}
	set_fact(values, nulls, FLIP_TENANT_ID, &shown.fields[POLICY_FIELD_TENANT]);
	set_fact(values, nulls, FLIP_ACTOR_ID, &shown.fields[POLICY_FIELD_ACTOR_ID]);
	set_fact(values, nulls, FLIP_TOPIC, &shown.fields[POLICY_FIELD_TOPIC]);
}

static void
make_flip(const ReplayRun *run, const SourceRow *source, const ReplayedJob *job,
		  const ReplayFlip *flip, PolicyChange change, FlipRow *row)
{
	static const int copied[][2] = {
		{FLIP_DECISION_ID, SOURCE_DECISION_ID}, {FLIP_DECIDED_AT, SOURCE_TIME},
		{FLIP_JOB_TABLE, SOURCE_JOB_TABLE}, {FLIP_JOB_KEY, SOURCE_JOB_KEY}
	};

	memset(row, 0, sizeof(FlipRow));
	for (int i = 0; i < (int) lengthof(copied); i++)
	{
		row->values[copied[i][0]] = source->values[copied[i][1]];
		row->nulls[copied[i][0]] = source->nulls[copied[i][1]];
	}
	set_job(run, row->values, row->nulls, job, &flip->job);
	row->values[FLIP_EVALUATED_AT] = TimestampTzGetDatum(flip->at);
	row->values[FLIP_KIND] = CStringGetTextDatum(change == POLICY_LOOSENED ? "loosened" : "tightened");
	row->values[FLIP_WHY] = why_array(flip->why);
	set_side(run, row->values, row->nulls, &flip->from, 0);
	set_side(run, row->values, row->nulls, &flip->to, 1);
}

bool
replay_run_row(ReplayRun *run, const SourceRow *source, ReplayOutcome *outcome, FlipRow *row)
{
	ReplayedJob job;
	ReplayFlip	flip;

	read_source(run, source, &job);
	if (run->replay.in_order && job.time < run->since)
	{
		replay_warm_up(&run->replay, &job);
		return false;
	}
	replay_job(&run->replay, &job, outcome, &flip);
	if (outcome->change != POLICY_UNCHANGED)
		make_flip(run, source, &job, &flip, outcome->change, row);
	return true;
}
