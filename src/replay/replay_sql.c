/*
 * replay_sql.c
 *	  policy_replay, policy_replay_query: jobs from a query, one by one.
 *
 * The query runs through a cursor, and flips are written as they come, so that a
 * million jobs take no more memory than a thousand.  Whoever owns the tables runs the
 * query of recorded jobs; a query of the user's runs as that user, and read-only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "dispatch/owner_query.h"
#include "dispatch/row_writer.h"
#include "engine/edit.h"
#include "engine/verdict_sql.h"
#include "replay/progress.h"
#include "replay/replay.h"
#include "replay/replay_init.h"
#include "store/active.h"
#include "store/cache.h"
#include "store/table.h"

PG_FUNCTION_INFO_V1(policy_replay_jobs);
PG_FUNCTION_INFO_V1(policy_replay_query);

/* So many rows are fetched at a time. */
#define FETCH 500

/* The columns of policy.simulation_flips: sql/70_replay.sql creates them in this order. */
enum
{
	FLIP_SIMULATION_ID,
	FLIP_FLIP,
	FLIP_DECISION_ID,
	FLIP_DECIDED_AT,
	FLIP_JOB_TABLE,
	FLIP_JOB_KEY,
	FLIP_TENANT_ID,
	FLIP_ACTOR_ID,
	FLIP_TOPIC,
	FLIP_JOB,
	FLIP_EVALUATED_AT,
	FLIP_KIND,
	FLIP_WHY,
	FLIP_FROM_DECISION,
	FLIP_TO_DECISION,
	FLIP_FROM_RULE,
	FLIP_TO_RULE,
	FLIP_FROM_REASON,
	FLIP_TO_REASON,
	FLIP_FROM_CONSTRAINTS,
	FLIP_TO_CONSTRAINTS,
	FLIP_NCOLUMNS
};

/* The columns of a query of recorded jobs; a user's has the first two alone. */
enum
{
	SOURCE_JOB = 1,
	SOURCE_TIME,
	SOURCE_DECISION_ID,
	SOURCE_JOB_TABLE,
	SOURCE_JOB_KEY,
	SOURCE_DECISION,
	SOURCE_SNAPSHOT,
	SOURCE_UNAVAILABLE
};

typedef struct ReplayRun
{
	Replay		replay;
	ReplayCounts counts;
	int64		simulation_id;
	char	   *snapshot;		/* the candidate's name */
	bool		recorded;		/* the query is of recorded jobs */
	TimestampTz since;			/* earlier ones only charge counters */
	MemoryContext row_context;	/* reset for each job */
	RowBatch   *flips;			/* NULL: they are only counted */
	Oid			decisions[POLICY_NDECISIONS];
	CompiledPolicy *masking;	/* that of the snapshot below; pinned */
	char	   *masking_snapshot;
	CompiledPolicy *base;		/* pinned */
	CompiledPolicy *candidate;	/* pinned */
	MemoryContextCallback release;
} ReplayRun;

/* The gate's settings; policy.gate_checks reads them. */
static bool require_simulation = true;
static double gate_max_flip_ratio = 0.05;
static int	gate_max_loosened = 0;
static int	gate_min_window = 7 * 24 * 3600;
static double gate_max_unreplayable = 0.05;

void
policy_replay_init(void)
{
	DefineCustomBoolVariable("policy_engine.require_simulation",
							 "Whether policy_publish asks for a simulation within the gate.",
							 "A snapshot's own tests are run all the same.",
							 &require_simulation, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("policy_engine.gate_max_flip_ratio",
							 "Of the jobs that were replayed, the share that may be decided otherwise.",
							 NULL, &gate_max_flip_ratio, 0.05, 0, 1, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.gate_max_loosened",
							"How many jobs may be decided more loosely.",
							NULL, &gate_max_loosened, 0, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("policy_engine.gate_min_window",
							"How far back a simulation goes, unless all that was recorded is younger.",
							NULL, &gate_min_window, 7 * 24 * 3600, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("policy_engine.gate_max_unreplayable",
							 "Of the jobs of a simulation, the share that may be left out.",
							 NULL, &gate_max_unreplayable, 0.05, 0, 1, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
release_run(void *arg)
{
	ReplayRun  *run = arg;

	policy_progress_end();
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

/* simulation_id is NULL where flips are not to be kept. */
static ReplayRun *
begin_run(const int64 *simulation_id, text *candidate, text *base, TimestampTz present,
		  bool recorded)
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
	replay_begin_counts(&run->replay, &run->counts);
	if (simulation_id != NULL)
	{
		run->simulation_id = *simulation_id;
		run->snapshot = text_to_cstring(candidate);
		run->flips = row_batch_create("simulation_flips");
	}
	set_decisions(run);
	run->row_context = AllocSetContextCreate(CurrentMemoryContext, "policy replay job",
											 ALLOCSET_DEFAULT_SIZES);
	return run;
}

/* The policy by which a recorded job was masked; the last one is kept. */
static const CompiledPolicy *
masking_policy(ReplayRun *run, HeapTuple tuple, TupleDesc tupdesc)
{
	char	   *name = SPI_getvalue(tuple, tupdesc, SOURCE_SNAPSHOT);

	if (name == NULL)
		return NULL;
	if (run->masking == NULL || strcmp(run->masking_snapshot, name) != 0)
	{
		CompiledPolicy *policy = policy_snapshot_pin(cstring_to_text(name));

		if (run->masking != NULL)
			policy_cache_unpin(run->masking);
		run->masking = policy;
		run->masking_snapshot = MemoryContextStrdup(GetMemoryChunkContext(run), name);
	}
	return run->masking;
}

static Datum
column_of(HeapTuple tuple, TupleDesc tupdesc, int column, bool *isnull)
{
	if (column > tupdesc->natts)
	{
		*isnull = true;
		return 0;
	}
	return SPI_getbinval(tuple, tupdesc, column, isnull);
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
read_source(ReplayRun *run, HeapTuple tuple, TupleDesc tupdesc, ReplayedJob *job)
{
	bool		isnull;
	Datum		value = column_of(tuple, tupdesc, SOURCE_JOB, &isnull);

	memset(job, 0, sizeof(ReplayedJob));
	job->source = isnull ? NULL : DatumGetJsonbP(value);
	value = column_of(tuple, tupdesc, SOURCE_TIME, &isnull);
	job->has_time = !isnull;
	job->time = isnull ? 0 : DatumGetTimestampTz(value);
	if (!run->recorded)
		return;
	job->has_decision = true;
	job->decision = decision_of(run, DatumGetObjectId(column_of(tuple, tupdesc, SOURCE_DECISION,
																&isnull)));
	job->recorded = masking_policy(run, tuple, tupdesc);
	job->payload_hidden = DatumGetBool(column_of(tuple, tupdesc, SOURCE_UNAVAILABLE, &isnull));
}

static void
set_value(Datum *values, bool *nulls, int column, Datum value, bool isnull)
{
	values[column] = value;
	nulls[column] = isnull;
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
write_flip(ReplayRun *run, HeapTuple tuple, TupleDesc tupdesc, const ReplayedJob *job,
		   const ReplayFlip *flip, PolicyChange change)
{
	static const int copied[][2] = {
		{FLIP_DECISION_ID, SOURCE_DECISION_ID}, {FLIP_DECIDED_AT, SOURCE_TIME},
		{FLIP_JOB_TABLE, SOURCE_JOB_TABLE}, {FLIP_JOB_KEY, SOURCE_JOB_KEY}
	};
	Datum		values[FLIP_NCOLUMNS] = {0};
	bool		nulls[FLIP_NCOLUMNS] = {false};

	values[FLIP_SIMULATION_ID] = Int64GetDatum(run->simulation_id);
	values[FLIP_FLIP] = Int64GetDatum(run->counts.loosened + run->counts.tightened);
	for (int i = 0; i < (int) lengthof(copied); i++)
	{
		bool		isnull;
		Datum		value = column_of(tuple, tupdesc, copied[i][1], &isnull);

		set_value(values, nulls, copied[i][0], value, isnull);
	}
	set_job(run, values, nulls, job, &flip->job);
	values[FLIP_EVALUATED_AT] = TimestampTzGetDatum(flip->at);
	values[FLIP_KIND] = CStringGetTextDatum(change == POLICY_LOOSENED ? "loosened" : "tightened");
	values[FLIP_WHY] = why_array(flip->why);
	set_side(run, values, nulls, &flip->from, 0);
	set_side(run, values, nulls, &flip->to, 1);
	row_batch_add(run->flips, values, nulls);
}

/* Replays and counts a job, and keeps how it flips. */
static void
replay_row(ReplayRun *run, HeapTuple tuple, TupleDesc tupdesc)
{
	ReplayedJob job;
	ReplayOutcome outcome;
	ReplayFlip	flip;

	read_source(run, tuple, tupdesc, &job);
	if (run->replay.in_order && job.time < run->since)
	{
		replay_warm_up(&run->replay, &job);
		return;
	}
	replay_job(&run->replay, &job, &outcome, &flip);
	replay_count(&run->counts, &outcome);
	if (outcome.change != POLICY_UNCHANGED && run->flips != NULL)
		write_flip(run, tuple, tupdesc, &job, &flip, outcome.change);
}

static void
replay_rows(ReplayRun *run, const SPITupleTable *rows, uint64 count)
{
	MemoryContext caller = CurrentMemoryContext;

	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(run->row_context);
		MemoryContextSwitchTo(run->row_context);
		replay_row(run, rows->vals[i], rows->tupdesc);
		MemoryContextSwitchTo(caller);
	}
}

static void
check_query_columns(TupleDesc tupdesc)
{
	if (tupdesc != NULL && tupdesc->natts >= 1 && tupdesc->natts <= 2 &&
		TupleDescAttr(tupdesc, 0)->atttypid == JSONBOID &&
		(tupdesc->natts == 1 || TupleDescAttr(tupdesc, 1)->atttypid == TIMESTAMPTZOID))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("a query of jobs has a column of jsonb, and maybe one of timestamptz"),
			 errdetail("The first is the job, the second its time."),
			 errhint("SELECT * FROM policy_replay_query('v1', 'SELECT job, created_at FROM my_jobs').")));
}

/* Runs a query, which must be ready for it: SPI is connected, the user is set. */
static void
run_query(ReplayRun *run, const char *query, TimestampTz since, TimestampTz until)
{
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2] = {TimestampTzGetDatum(since), TimestampTzGetDatum(until)};
	int			window = replay_longest_window(run->base, run->candidate);
	Portal		portal;

	/* The longest window of history before, in the order of time. */
	run->since = since;
	run->replay.in_order = run->recorded && window > 0;
	if (run->replay.in_order)
	{
		query = psprintf("SELECT q.* FROM (%s) q ORDER BY 2, 3", query);
		if (!TIMESTAMP_NOT_FINITE(since))
			values[0] = TimestampTzGetDatum(since - (window + window / RATE_SUB_BUCKETS + 1) * USECS_PER_SEC);
	}
	portal = SPI_cursor_open_with_args(NULL, query, run->recorded ? 2 : 0, types, values,
									   NULL, true, 0);
	if (!run->recorded)
		check_query_columns(portal->tupDesc);
	if (run->flips != NULL)
		policy_progress_begin(run->simulation_id, run->snapshot,
							  PortalGetPrimaryStmt(portal)->planTree->plan_rows);
	for (;;)
	{
		policy_progress_set(run->counts.jobs);
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		replay_rows(run, SPI_tuptable, SPI_processed);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	policy_progress_end();
	if (run->flips != NULL)
		row_batch_write(run->flips);
}

static void
append_matrix(StringInfo json, const char *name, const DecisionMatrix matrix)
{
	const char *comma = "";

	appendStringInfo(json, "\"%s\": [", name);
	for (int from = 0; from < POLICY_NDECISIONS; from++)
	{
		for (int to = 0; to < POLICY_NDECISIONS; to++)
		{
			if (matrix[from][to] == 0)
				continue;
			appendStringInfo(json, "%s{\"from\": \"%s\", \"to\": \"%s\", \"jobs\": " INT64_FORMAT "}", comma,
							 policy_decision_labels[from], policy_decision_labels[to], matrix[from][to]);
			comma = ", ";
		}
	}
	appendStringInfoString(json, "], ");
}

static void
append_rules(StringInfo json, const ReplayRules *rules, const ReplayCounts * counts)
{
	const char *comma = "";

	appendStringInfoString(json, "\"rules\": [");
	for (int i = 0; i < rules->count; i++)
	{
		if (counts->gained[i] == 0 && counts->lost[i] == 0)
			continue;
		appendStringInfo(json, "%s{\"rule\": ", comma);
		if (rules->ids[i] == NULL)
			appendStringInfoString(json, "null");
		else
			escape_json(json, rules->ids[i]);
		appendStringInfo(json, ", \"gained\": " INT64_FORMAT ", \"lost\": " INT64_FORMAT "}",
						 counts->gained[i], counts->lost[i]);
		comma = ", ";
	}
	appendStringInfoString(json, "], ");
}

static void
append_obstacles(StringInfo json, const ReplayCounts * counts)
{
	const char *comma = "";

	appendStringInfoString(json, "\"unreplayable\": {");
	for (int i = 0; i < REPLAY_OBSTACLES; i++)
	{
		if (counts->obstacles[i] == 0)
			continue;
		appendStringInfo(json, "%s\"%s\": " INT64_FORMAT, comma, replay_obstacle_names[i],
						 counts->obstacles[i]);
		comma = ", ";
	}
	appendStringInfoString(json, "}, ");
}

/* Days from the first job's own time to the last one's, one at least; 0: no times. */
static double
days_of(const ReplayCounts * counts)
{
	if (counts->first > counts->last)
		return 0;
	return Max((double) (counts->last - counts->first) / USECS_PER_DAY, 1);
}

static Datum
counts_of(const ReplayRun *run)
{
	const		ReplayCounts *counts = &run->counts;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	append_matrix(&json, "matrix", counts->matrix);
	append_matrix(&json, "matrix_then", counts->matrix_then);
	append_rules(&json, &run->replay.rules, counts);
	append_obstacles(&json, counts);
	appendStringInfo(&json, "\"jobs\": " INT64_FORMAT ", \"replayed\": " INT64_FORMAT
					 ", \"loosened\": " INT64_FORMAT ", \"tightened\": " INT64_FORMAT
					 ", \"newly_approval\": " INT64_FORMAT ", \"days\": %.6f}",
					 counts->jobs, counts->replayed, counts->loosened, counts->tightened,
					 counts->newly_approval, days_of(counts));
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Runs a query as the current user and counts. */
static Datum
replay(ReplayRun *run, const char *query, TimestampTz since, TimestampTz until)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run_query(run, query, since, until);
	SPI_finish();
	return counts_of(run);
}

/*
 * policy.replay_jobs(simulation_id bigint, candidate text, base text, present
 * timestamptz, query text, since timestamptz, until timestamptz)
 */
Datum
policy_replay_jobs(PG_FUNCTION_ARGS)
{
	int64		simulation_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	ReplayRun  *run;

	for (int i = 1; i < PG_NARGS(); i++)
	{
		if (i != 2 && PG_ARGISNULL(i))
			elog(ERROR, "argument %d of policy.replay_jobs is NULL", i + 1);
	}
	run = begin_run(PG_ARGISNULL(0) ? NULL : &simulation_id, PG_GETARG_TEXT_PP(1),
					PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), PG_GETARG_TIMESTAMPTZ(3), true);
	PG_RETURN_DATUM(replay(run, text_to_cstring(PG_GETARG_TEXT_PP(4)), PG_GETARG_TIMESTAMPTZ(5),
						   PG_GETARG_TIMESTAMPTZ(6)));
}

static OwnerQuery begin_query = {
	.text = "SELECT s.simulation_id, s.base_snapshot, s.started_at FROM policy.begin_simulation($1, NULL) s",
	.nargs = 1, .types = {TEXTOID}
};

static OwnerQuery keep_query = {
	.text = "SELECT s.* FROM policy.keep_query_simulation($1, $2, $3, $4, $5, $6) s",
	.nargs = 6, .types = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, JSONBOID}
};

/* Takes an id for a simulation, and the base: what is active. */
static ReplayRun *
begin_query_run(text *candidate, Datum *keep, char *keep_nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		value = PointerGetDatum(candidate);
	OwnerScope	scope;
	bool		isnull;
	int64		simulation_id;
	char	   *base;
	MemoryContext inner;

	policy_owner_begin(&scope, "engine");
	policy_owner_run(&begin_query, &value, candidate == NULL ? "n" : NULL);
	keep[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	keep[3] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
	base = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	inner = MemoryContextSwitchTo(caller);
	simulation_id = DatumGetInt64(keep[0]);
	keep[0] = Int64GetDatum(simulation_id);
	keep[1] = value;
	keep_nulls[2] = base == NULL ? 'n' : ' ';
	if (base != NULL)
		keep[2] = CStringGetTextDatum(base);
	MemoryContextSwitchTo(inner);
	policy_owner_end(&scope);
	MemoryContextSwitchTo(caller);
	return begin_run(&simulation_id, candidate,
					 keep_nulls[2] == 'n' ? NULL : DatumGetTextPP(keep[2]),
					 DatumGetTimestampTz(keep[3]), false);
}

/* policy_replay_query(snapshot text, query text) */
Datum
policy_replay_query(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	text	   *candidate = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Datum		keep[6] = {0};
	char		keep_nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	OwnerScope	scope;
	TupleDesc	tupdesc;
	ReplayRun  *run;
	HeapTuple	row;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a replay needs a query of jobs"),
				 errhint("SELECT * FROM policy_replay_query('v1', 'SELECT job, created_at FROM my_jobs').")));
	tupdesc = BlessTupleDesc(tupdesc);
	run = begin_query_run(candidate, keep, keep_nulls);
	keep[4] = PG_GETARG_DATUM(1);
	keep[5] = replay(run, text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 0);
	policy_owner_begin(&scope, "engine");
	policy_owner_run(&keep_query, keep, keep_nulls);
	MemoryContextSwitchTo(caller);
	row = heap_copytuple(SPI_tuptable->vals[0]);
	policy_owner_end(&scope);
	MemoryContextSwitchTo(caller);
	PG_RETURN_DATUM(heap_copy_tuple_as_datum(row, tupdesc));
}
