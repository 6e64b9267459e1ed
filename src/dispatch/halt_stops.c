/*
 * halt_stops.c
 *	  Jobs of policy.jobs that halts have stopped: out of the queue, and in evidence.
 *
 * A job that a claim meets and a halt covers gets the halt's id, and has another place
 * in the queue's index: the next claim does not meet it.  Whatever moves the job to
 * another state, or changes it, takes the id away.  policy_resume touches no job: the
 * claims after it put back what it has left aside, in batches, before they look at the
 * queue.  A claim that sets a job aside while its halt is being resumed tells everybody
 * to look again, once it commits (policy_halts_signal); whoever has looked, and found
 * nothing that was committed by then, need not look until it is told.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "dispatch/decision.h"
#include "dispatch/halt_stops.h"
#include "dispatch/owner_query.h"
#include "dispatch/row_writer.h"
#include "dispatch/statement.h"
#include "store/active.h"

/* So many jobs are looked at, or moved, at a time. */
#define SWEEP_BATCH 1000

const QueuePlace queue_head = {DT_NOBEGIN, 0};

QueuePlace
queue_place_of(const JobRow *row)
{
	QueuePlace	place;

	place.at = DatumGetTimestampTz(row->values[row->nulls[JOB_RUN_AFTER] ? JOB_SUBMITTED_AT :
											   JOB_RUN_AFTER]);
	place.job_id = DatumGetInt64(row->values[JOB_ID]);
	return place;
}

static bool
find_halt(Jsonb *job, const char *invalid, PolicyHalt *halt)
{
	Job			read;

	policy_job_read(job, &read);
	if (invalid != NULL)
		read.invalid = pstrdup(invalid);
	return policy_halts_cover(&read, halt);
}

static void
add_stop(HaltStops *stops, int64 job_id, Jsonb *job, const PolicyHalt *halt)
{
	if (stops->count == stops->capacity)
	{
		bool		first = stops->capacity == 0;
		int			capacity = first ? 16 : stops->capacity * 2;

#define GROW(array, type) \
		(array) = first ? palloc(sizeof(type) * capacity) : repalloc(array, sizeof(type) * capacity)
		GROW(stops->halt_ids, Datum);
		GROW(stops->job_ids, Datum);
		GROW(stops->halts, PolicyHalt);
		GROW(stops->jobs, Jsonb *);
#undef GROW
		stops->capacity = capacity;
	}
	stops->halt_ids[stops->count] = Int64GetDatum(halt->halt_id);
	stops->job_ids[stops->count] = Int64GetDatum(job_id);
	stops->halts[stops->count] = *halt;
	stops->jobs[stops->count] = job;
	stops->count++;
}

bool
halt_stops_add(HaltStops *stops, const JobRow *row, Jsonb *job, const char *invalid)
{
	PolicyHalt	halt;

	if (!find_halt(job, invalid, &halt))
		return false;
	add_stop(stops, DatumGetInt64(row->values[JOB_ID]), job, &halt);
	return true;
}

static text *
fact(const Job *job, PolicyField field)
{
	const JobString *value = &job->fields[field];

	if (job->invalid != NULL || value->data == NULL)
		return NULL;
	return cstring_to_text_with_len(value->data, value->len);
}

/* What evidence says of a job that a halt has stopped. */
static void
enforce_halt(Jsonb *job, const PolicyHalt *halt, PolicyEnforced *enforced)
{
	ActivePolicy active;
	Job			read;

	memset(enforced, 0, sizeof(PolicyEnforced));
	policy_job_read(job, &read);
	policy_active(NULL, &active);
	enforced->decision_id = policy_next_decision_id();
	enforced->at = GetCurrentTimestamp();
	enforced->source = "halt";
	enforced->job = job;
	job_hash(job, enforced->hash);
	enforced->tenant_id = fact(&read, POLICY_FIELD_TENANT);
	enforced->actor_id = fact(&read, POLICY_FIELD_ACTOR_ID);
	enforced->topic = fact(&read, POLICY_FIELD_TOPIC);
	enforced->policy = active.policy;
	enforced->snapshot = active.snapshot;
	enforced->release_id = active.release_id;
	enforced->unavailable = active.unavailable != NULL;
	policy_verdict_without_rule(POLICY_DENY,
								psprintf("halt " INT64_FORMAT ": %s", halt->halt_id, halt->reason),
								&enforced->verdict);
}

/*
 * Notes jobs of a table as stopped, each by its halt.  Returns which were not noted
 * before, an element a job.
 */
static bool *
note_stops(const char *table, Datum *halt_ids, Datum *keys, int count)
{
	static OwnerQuery query = {
		.text = "INSERT INTO policy.halt_stops AS s (halt_id, job_table, job_key, stopped_at) "
		"SELECT u.halt_id, $1, u.job_key, pg_catalog.clock_timestamp() "
		"FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) "
		"WITH ORDINALITY AS u(halt_id, job_key, n) ORDER BY u.n "
		"ON CONFLICT DO NOTHING RETURNING s.job_key",
		.nargs = 3, .types = {TEXTOID, INT8ARRAYOID, TEXTARRAYOID}
	};
	bool	   *is_new = palloc0(sizeof(bool) * count);
	Datum		values[3];
	uint64		next = 0;

	values[0] = CStringGetTextDatum(table);
	values[1] = PointerGetDatum(construct_array(halt_ids, count, INT8OID, 8, FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[2] = PointerGetDatum(construct_array(keys, count, TEXTOID, -1, false, TYPALIGN_INT));
	policy_owner_run(&query, values, NULL);
	for (int i = 0; i < count && next < SPI_processed; i++)
	{
		char	   *noted = SPI_getvalue(SPI_tuptable->vals[next], SPI_tuptable->tupdesc, 1);

		if (strcmp(noted, TextDatumGetCString(keys[i])) != 0)
			continue;
		is_new[i] = true;
		next++;
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = NULL;
	return is_new;
}

/* Writes that what is new was stopped. */
static void
record_stops(const HaltStops *stops, const PolicyJobKey *keys, const bool *is_new)
{
	RowBatch   *evidence = policy_evidence_batch();

	for (int i = 0; i < stops->count; i++)
	{
		PolicyEnforced enforced;

		if (!is_new[i])
			continue;
		enforce_halt(stops->jobs[i], &stops->halts[i], &enforced);
		policy_record(evidence, &enforced, &keys[i]);
	}
	row_batch_write(evidence);
}

void
halt_stops_apply(HaltStops *stops)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.jobs j SET halt_id = u.halt_id "
		"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS u(halt_id, job_id) "
		"WHERE j.job_id OPERATOR(pg_catalog.=) u.job_id",
		.nargs = 2, .types = {INT8ARRAYOID, INT8ARRAYOID}
	};
	PolicyJobKey *keys;
	Datum	   *names;
	Datum		values[2];

	if (stops->count == 0)
		return;
	keys = palloc(sizeof(PolicyJobKey) * stops->count);
	names = palloc(sizeof(Datum) * stops->count);
	for (int i = 0; i < stops->count; i++)
	{
		keys[i] = policy_job_key(DatumGetInt64(stops->job_ids[i]));
		names[i] = CStringGetTextDatum(keys[i].key);
	}
	values[0] = PointerGetDatum(construct_array(stops->halt_ids, stops->count, INT8OID, 8,
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(stops->job_ids, stops->count, INT8OID, 8,
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	policy_owner_run(&query, values, NULL);
	if (SPI_processed != (uint64) stops->count)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("jobs that a halt covers could not be taken out of the queue"),
				 errhint("A trigger of policy.jobs keeps its rows from being updated.")));
	policy_halts_signal();
	record_stops(stops, keys, note_stops(POLICY_JOBS_TABLE, stops->halt_ids, names, stops->count));
}

void
policy_halt_evidence(const PolicyHalt *halt, Jsonb *job, const PolicyJobKey *key)
{
	HaltStops	stops = {0};
	Datum		name = CStringGetTextDatum(key->key);
	OwnerScope	scope;

	add_stop(&stops, 0, job, halt);
	policy_owner_begin(&scope, "halt");
	record_stops(&stops, key, note_stops(key->table, stops.halt_ids, &name, 1));
	policy_owner_end(&scope);
}

bool
policy_halt_keep(const PolicyHalt *halt)
{
	static OwnerQuery query = {
		.text = "SELECT FROM policy.halts h WHERE h.halt_id OPERATOR(pg_catalog.=) $1 "
		"AND h.resumed_at IS NULL FOR SHARE SKIP LOCKED",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		id = Int64GetDatum(halt->halt_id);

	return policy_owner_execute(&query, &id, NULL) == 1;
}

/* What a sweep has seen without locking it. */
typedef struct Seen
{
	Datum	   *covered;		/* their ids */
	int			ncovered;
	int			count;
	QueuePlace	clear;			/* before it all is covered */
	QueuePlace	last;
} Seen;

static void
look_ahead(QueuePlace from, int most, Seen *seen)
{
	static OwnerQuery query = {
		.text = "SELECT * FROM policy.jobs "
		"WHERE state OPERATOR(pg_catalog.=) ANY (ARRAY['ready', 'throttled']) AND halt_id IS NULL "
		"AND coalesce(run_after, submitted_at) OPERATOR(pg_catalog.<=) $1 "
		"AND (coalesce(run_after, submitted_at), job_id) OPERATOR(pg_catalog.>) ($3, $4) "
		"ORDER BY halt_id, coalesce(run_after, submitted_at), job_id LIMIT $2",
		.nargs = 4, .types = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[4];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(most);
	values[2] = TimestampTzGetDatum(from.at);
	values[3] = Int64GetDatum(from.job_id);
	policy_owner_run(&query, values, NULL);
	seen->count = (int) SPI_processed;
	seen->covered = palloc(sizeof(Datum) * Max(seen->count, 1));
	seen->ncovered = 0;
	seen->clear = seen->last = from;
	for (int i = 0; i < seen->count; i++)
	{
		PolicyHalt	halt;
		JobRow		row;
		const char *invalid;
		Jsonb	   *job;

		job_row_read(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &row);
		seen->last = queue_place_of(&row);
		job = job_row_object(&row, &invalid);
		if (!find_halt(job, invalid, &halt))
			continue;
		seen->covered[seen->ncovered++] = row.values[JOB_ID];
		if (seen->ncovered == i + 1)
			seen->clear = seen->last;
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = NULL;
}

static bool
is_in_queue(const JobRow *row)
{
	char	   *state = TextDatumGetCString(row->values[JOB_STATE]);

	return row->nulls[JOB_HALT_ID] &&
		(strcmp(state, "ready") == 0 || strcmp(state, "throttled") == 0);
}

/*
 * What was seen may have changed, or be somebody else's, by now.  The query asks for
 * the ids alone, so that no other index than theirs can look good for it.
 */
static void
stop_covered(const Seen *seen)
{
	static OwnerQuery query = {
		.text = "SELECT * FROM policy.jobs WHERE job_id OPERATOR(pg_catalog.=) ANY ($1) "
		"ORDER BY job_id FOR UPDATE SKIP LOCKED",
		.nargs = 1, .types = {INT8ARRAYOID}
	};
	HaltStops	stops = {0};
	SPITupleTable *rows;
	Datum		value;

	value = PointerGetDatum(construct_array(seen->covered, seen->ncovered, INT8OID, 8,
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	policy_owner_run(&query, &value, NULL);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		JobRow		row;
		const char *invalid;
		Jsonb	   *job;

		job_row_read(rows->vals[i], rows->tupdesc, &row);
		if (!is_in_queue(&row))
			continue;
		job = job_row_object(&row, &invalid);
		(void) halt_stops_add(&stops, &row, job, invalid);
	}
	halt_stops_apply(&stops);
	SPI_freetuptable(rows);
	SPI_tuptable = NULL;
}

QueuePlace
halt_stops_sweep(QueuePlace from, int most)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext batch = AllocSetContextCreate(caller, "policy halt sweep",
												ALLOCSET_DEFAULT_SIZES);
	QueuePlace	clear = from;
	bool		all_clear = true;
	Seen		seen;

	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(batch);
		MemoryContextSwitchTo(batch);
		look_ahead(from, most, &seen);
		if (seen.ncovered > 0)
			stop_covered(&seen);
		if (all_clear)
			clear = seen.clear;
		all_clear = all_clear && seen.ncovered == seen.count;
		from = seen.last;
		most = SWEEP_BATCH;
	} while (seen.ncovered > 0 && seen.ncovered * 2 >= seen.count);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(batch);
	return clear;
}

/*
 * In the gaps between the halts in force, so that what these have stopped need not be
 * looked through.
 */
#define LEFT_ASIDE \
	"FROM ROWS FROM (pg_catalog.unnest(pg_catalog.array_prepend(0::pg_catalog.int8, $1)), " \
	"pg_catalog.unnest(pg_catalog.array_append($1, 9223372036854775807::pg_catalog.int8))) AS r(after, before) " \
	"CROSS JOIN LATERAL (SELECT h.job_id FROM policy.jobs h " \
	"WHERE h.state OPERATOR(pg_catalog.=) ANY (ARRAY['ready', 'throttled']) " \
	"AND h.halt_id OPERATOR(pg_catalog.>) r.after AND h.halt_id OPERATOR(pg_catalog.<) r.before "

void
halt_stops_return(void)
{
	static OwnerQuery query = {
		.text = "UPDATE policy.jobs j SET halt_id = NULL FROM (SELECT s.job_id " LEFT_ASIDE
		"ORDER BY h.halt_id, coalesce(h.run_after, h.submitted_at), h.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) s LIMIT $2) l "
		"WHERE j.job_id OPERATOR(pg_catalog.=) l.job_id",
		.nargs = 2, .types = {INT8ARRAYOID, INT8OID}
	};
	static OwnerQuery left_query = {
		.text = "SELECT 1 " LEFT_ASIDE "LIMIT 1) s LIMIT 1",
		.nargs = 1, .types = {INT8ARRAYOID}
	};
	Datum		values[2];

	values[0] = policy_halts_in_force();
	values[1] = Int64GetDatum(SWEEP_BATCH);
	policy_owner_run(&query, values, NULL);
	if (SPI_processed > 0)
		return;
	policy_owner_run(&left_query, values, NULL);
	if (SPI_processed == 0 && !IsolationUsesXactSnapshot())
		policy_halts_settled();
}
