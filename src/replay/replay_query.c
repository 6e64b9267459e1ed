/*
 * replay_query.c
 *	  Running a query of jobs, and replaying what it yields.
 *
 * Jobs in the order of time come through a cursor.  All others are replayed inside of
 * the query, where PostgreSQL may share them out among workers; what comes of each is
 * counted here, and flips wait in a sort, which spills to disk, until the query is
 * done: nothing may be written while workers run.  Either way a million jobs take no
 * more memory than a thousand.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"

#include "columns.h"
#include "replay/replay_packet.h"
#include "replay/replay_query.h"

/* So many rows are fetched at a time, or go by before the progress is shown anew. */
#define FETCH 500

/*
 * Kilobytes of flips that wait in memory: few, so that a replay's memory does not go
 * by how many jobs flip, and before long most of them are on disk anyway.
 */
#define FLIPS_IN_MEMORY 256

static const Oid flip_types[FLIP_NCOLUMNS] = {
	[FLIP_SIMULATION_ID] = INT8OID,
	[FLIP_FLIP] = INT8OID,
	[FLIP_DECISION_ID] = INT8OID,
	[FLIP_DECIDED_AT] = TIMESTAMPTZOID,
	[FLIP_JOB_TABLE] = TEXTOID,
	[FLIP_JOB_KEY] = TEXTOID,
	[FLIP_TENANT_ID] = TEXTOID,
	[FLIP_ACTOR_ID] = TEXTOID,
	[FLIP_TOPIC] = TEXTOID,
	[FLIP_JOB] = JSONBOID,
	[FLIP_EVALUATED_AT] = TIMESTAMPTZOID,
	[FLIP_KIND] = TEXTOID,
	[FLIP_WHY] = TEXTARRAYOID,
	[FLIP_FROM_DECISION] = POLICY_OWN_TYPE,
	[FLIP_TO_DECISION] = POLICY_OWN_TYPE,
	[FLIP_FROM_RULE] = TEXTOID,
	[FLIP_TO_RULE] = TEXTOID,
	[FLIP_FROM_REASON] = TEXTOID,
	[FLIP_TO_REASON] = TEXTOID,
	[FLIP_FROM_CONSTRAINTS] = JSONBOID,
	[FLIP_TO_CONSTRAINTS] = JSONBOID,
};

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

/* ---- counting ---- */

static void
keep_flip(ReplayQuery *query, Datum *values, bool *nulls)
{
	values[FLIP_SIMULATION_ID] = Int64GetDatum(query->simulation_id);
	values[FLIP_FLIP] = Int64GetDatum(++query->nflips);
	nulls[FLIP_SIMULATION_ID] = nulls[FLIP_FLIP] = false;
	row_batch_add(query->flips, values, nulls);
}

/* Whether what is left of the jobs stays out of the counts: there is no time for it. */
static bool
is_over(const ReplayQuery *query)
{
	return query->deadline != DT_NOEND && GetCurrentTimestamp() >= query->deadline;
}

/* ---- in the order of time ---- */

static void
set_source(HeapTuple tuple, TupleDesc tupdesc, SourceRow *source)
{
	for (int i = 0; i < SOURCE_NCOLUMNS; i++)
	{
		source->nulls[i] = i >= tupdesc->natts;
		source->values[i] = source->nulls[i] ? (Datum) 0 :
			heap_getattr(tuple, i + 1, tupdesc, &source->nulls[i]);
	}
}

static void
replay_rows(ReplayQuery *query, const SPITupleTable *rows, uint64 count)
{
	MemoryContext caller = CurrentMemoryContext;

	for (uint64 i = 0; i < count && !is_over(query); i++)
	{
		SourceRow	source;
		ReplayOutcome outcome;
		FlipRow		flip;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(query->row_context);
		MemoryContextSwitchTo(query->row_context);
		set_source(rows->vals[i], rows->tupdesc, &source);
		if (replay_run_row(query->run, &source, &outcome, &flip))
		{
			replay_count(&query->counts, &outcome);
			if (outcome.change != POLICY_UNCHANGED && query->flips != NULL)
				keep_flip(query, flip.values, flip.nulls);
		}
		MemoryContextSwitchTo(caller);
	}
}

static void
begin_progress(ReplayQuery *query, double expected)
{
	if (query->flips != NULL)
		query->progress = policy_progress_begin(query->simulation_id, query->candidate, expected);
}

static void
end_progress(void *arg)
{
	ReplayQuery *query = arg;

	policy_progress_end(query->progress);
	query->progress = NULL;
}

static void
run_cursor(ReplayQuery *query, const char *text)
{
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {TimestampTzGetDatum(query->since), TimestampTzGetDatum(query->until)};
	Portal		portal = SPI_cursor_open_with_args(NULL, text, query->run->recorded ? 2 : 0, types,
												   values, NULL, true, 0);

	if (!query->run->recorded)
		check_query_columns(portal->tupDesc);
	begin_progress(query, PortalGetPrimaryStmt(portal)->planTree->plan_rows);
	for (;;)
	{
		policy_progress_set(query->progress, query->counts.jobs);
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0 || is_over(query))
			break;
		replay_rows(query, SPI_tuptable, SPI_processed);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/* ---- in any order ---- */

/* Takes the packets that a query yields. */
typedef struct PacketReceiver
{
	DestReceiver base;
	ReplayQuery *query;
	Tuplesortstate *sort;
	TupleTableSlot *slot;		/* of flips */
} PacketReceiver;

static bool
receive_packet(TupleTableSlot *slot, DestReceiver * base)
{
	PacketReceiver *receiver = (PacketReceiver *) base;
	ReplayQuery *query = receiver->query;
	MemoryContext caller;
	ReplayOutcome outcome;
	HeapTupleData flip;

	if (is_over(query))
		return false;
	caller = MemoryContextSwitchTo(query->row_context);
	MemoryContextReset(query->row_context);
	slot_getallattrs(slot);
	replay_unpack(DatumGetByteaP(slot->tts_values[0]), &outcome, &flip);
	replay_count(&query->counts, &outcome);
	if (query->counts.jobs % FETCH == 0)
		policy_progress_set(query->progress, query->counts.jobs);
	if (flip.t_data != NULL && query->flips != NULL)
	{
		ExecForceStoreHeapTuple(&flip, receiver->slot, false);
		tuplesort_puttupleslot(receiver->sort, receiver->slot);
		ExecClearTuple(receiver->slot);
	}
	MemoryContextSwitchTo(caller);
	return true;
}

static void
start_packets(DestReceiver * base, int operation, TupleDesc tupdesc)
{
}

static void
end_packets(DestReceiver * base)
{
}

static void
begin_packets(ReplayQuery *query, PacketReceiver *receiver)
{
	AttrNumber	column = FLIP_DECISION_ID + 1;
	Oid			before = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	memset(receiver, 0, sizeof(PacketReceiver));
	receiver->base.receiveSlot = receive_packet;
	receiver->base.rStartup = start_packets;
	receiver->base.rShutdown = end_packets;
	receiver->base.rDestroy = end_packets;
	receiver->base.mydest = DestNone;
	receiver->query = query;
	if (query->flips == NULL)
		return;
	receiver->slot = MakeSingleTupleTableSlot(query->flips->tupdesc, &TTSOpsMinimalTuple);
	receiver->sort = tuplesort_begin_heap(query->flips->tupdesc, 1, &column, &before, &collation,
										  &nulls_first, FLIPS_IN_MEMORY, NULL, 0);
}

/* Writes the flips in the order of their decisions, however many processes found them. */
static void
write_packets(PacketReceiver *receiver)
{
	ReplayQuery *query = receiver->query;

	if (query->flips == NULL)
		return;
	tuplesort_performsort(receiver->sort);
	while (tuplesort_gettupleslot(receiver->sort, true, false, receiver->slot, NULL))
	{
		Datum		values[FLIP_NCOLUMNS];
		bool		nulls[FLIP_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(receiver->slot);
		memcpy(values, receiver->slot->tts_values, sizeof(values));
		memcpy(nulls, receiver->slot->tts_isnull, sizeof(nulls));
		keep_flip(query, values, nulls);
	}
	ExecDropSingleTupleTableSlot(receiver->slot);
	tuplesort_end(receiver->sort);
}

/*
 * The present, for any process to read: as the session would write it, a time zone can
 * have an abbreviation that means another one (IST).
 */
static char *
present_literal(TimestampTz present)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			zone;
	char		literal[MAXDATELEN + 1];

	if (timestamp2tm(present, &zone, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	EncodeDateTime(&tm, fsec, true, zone, NULL, USE_ISO_DATES, literal);
	return pstrdup(literal);
}

/* A query whose rows are the packets of another's. */
static char *
packets_of(const ReplayQuery *query, const char *text, int len, int ncolumns)
{
	StringInfoData sql;
	char	   *present = present_literal(query->present);

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT policy.replay_job(%s, %s, %s, %s",
					 quote_literal_cstr(query->candidate),
					 query->base != NULL ? quote_literal_cstr(query->base) : "NULL",
					 quote_literal_cstr(present), query->run->recorded ? "true" : "false");
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&sql, ", q.c%d", i);
	appendStringInfo(&sql, ") FROM (%.*s\n) q(", len, text);
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&sql, "%sc%d", i > 1 ? ", " : "", i);
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

static SPIPlanPtr
prepare(const char *text, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(text, nargs, types, CURSOR_OPT_PARALLEL_OK);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static double
expected_rows(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	double		rows;

	if (cached == NULL)
		return 0;
	rows = linitial_node(PlannedStmt, cached->stmt_list)->planTree->plan_rows;
	ReleaseCachedPlan(cached, NULL);
	return rows;
}

static void
run_packets(ReplayQuery *query, const char *text)
{
	bool		recorded = query->run->recorded;
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	TimestampTz values[] = {query->since, query->until};
	ParamListInfo parameters = makeParamList(lengthof(types));
	SPIExecuteOptions options = {.params = recorded ? parameters : NULL, .read_only = true};
	SPIPlanPtr	plan = prepare(text, recorded ? lengthof(types) : 0, types);
	PacketReceiver receiver;

	for (int i = 0; i < (int) lengthof(types); i++)
	{
		parameters->params[i].value = TimestampTzGetDatum(values[i]);
		parameters->params[i].isnull = false;
		parameters->params[i].pflags = PARAM_FLAG_CONST;
		parameters->params[i].ptype = types[i];
	}
	begin_packets(query, &receiver);
	options.dest = &receiver.base;
	begin_progress(query, expected_rows(plan));
	SPI_execute_plan_extended(plan, &options);
	policy_progress_set(query->progress, query->counts.jobs);
	write_packets(&receiver);
}

/*
 * The one SELECT that a user's text is, to be put into another query; false where it is
 * something else, which the cursor then refuses or reads.
 */
static bool
find_select(const char *text, const char **begin, int *len)
{
	List	   *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	RawStmt    *statement;

	if (list_length(statements) != 1)
		return false;
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt) ||
		castNode(SelectStmt, statement->stmt)->intoClause != NULL)
		return false;
	*begin = text + Max(statement->stmt_location, 0);
	*len = statement->stmt_len > 0 ? statement->stmt_len : (int) strlen(*begin);
	return true;
}

/* The number of columns of a user's query, which are of the types that they must be. */
static int
query_columns(const char *text)
{
	List	   *sources = SPI_plan_get_plan_sources(prepare(text, 0, NULL));
	TupleDesc	tupdesc = sources == NIL ? NULL :
	((CachedPlanSource *) linitial(sources))->resultDesc;

	check_query_columns(tupdesc);
	return tupdesc->natts;
}

void
replay_query_run(ReplayQuery *query, const char *text)
{
	ReplayRun  *run = query->run;
	int			window = replay_longest_window(run->base, run->candidate);
	const char *select = text;
	int			len = strlen(text);

	run->since = query->since;
	run->replay.in_order = run->recorded && window > 0;
	if (run->replay.in_order)
	{
		/* The longest window of history before, too. */
		if (!TIMESTAMP_NOT_FINITE(query->since))
			query->since -= (window + window / RATE_SUB_BUCKETS + 1) * USECS_PER_SEC;
		run_cursor(query, psprintf("SELECT q.* FROM (%s) q ORDER BY 2, 3", text));
	}
	else if (run->recorded || find_select(text, &select, &len))
		run_packets(query, packets_of(query, select, len,
									  run->recorded ? SOURCE_NCOLUMNS : query_columns(text)));
	else
		run_cursor(query, text);
	end_progress(query);
	if (query->flips != NULL)
		row_batch_write(query->flips);
}

ReplayQuery *
replay_query_begin(const int64 *simulation_id, text *candidate, text *base, TimestampTz present,
				   bool recorded)
{
	ReplayQuery *query = palloc0(sizeof(ReplayQuery));

	query->ended.func = end_progress;
	query->ended.arg = query;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &query->ended);
	query->run = replay_run_begin(candidate, base, present, recorded);
	replay_begin_counts(&query->run->replay, &query->counts);
	query->candidate = text_to_cstring(candidate);
	query->base = base != NULL ? text_to_cstring(base) : NULL;
	query->present = present;
	query->deadline = DT_NOEND;
	query->row_context = AllocSetContextCreate(CurrentMemoryContext, "policy replay job",
											   ALLOCSET_DEFAULT_SIZES);
	if (simulation_id == NULL)
		return query;
	query->simulation_id = *simulation_id;
	query->flips = row_batch_create("simulation_flips", flip_types, FLIP_NCOLUMNS);
	return query;
}
