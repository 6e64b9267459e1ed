/*
 * claim.c
 *	  policy_claim(): jobs that may start, taken from the queue.
 *
 * Jobs are locked a batch at a time, skipping what others hold, and decided again
 * under the newest release.  Those that may start do so in one update; the others
 * leave the head of the queue, and the claim goes on to the next.  What a halt covers
 * is not decided, but set aside, and so is what it covers of the jobs behind it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "dispatch/dispatch.h"
#include "dispatch/halt_stops.h"
#include "dispatch/owner_query.h"
#include "dispatch/settle.h"
#include "rows.h"
#include "store/active.h"

PG_FUNCTION_INFO_V1(policy_claim);

/* No more jobs are locked at a time. */
#define CLAIM_BATCH 1000

typedef struct Claim
{
	Datum		worker;
	int			wanted;
	Datum		topics;			/* text[]; 0: any */
	Tuplestorestate *rows;		/* what comes back */
	TupleDesc	tupdesc;
	bool		stopped;		/* no policy can decide */
	QueuePlace	place;			/* what comes before it has been looked at */
} Claim;

#define QUEUE \
	"SELECT * FROM policy.jobs " \
	"WHERE state OPERATOR(pg_catalog.=) ANY (ARRAY['ready', 'throttled']) AND halt_id IS NULL " \
	"AND coalesce(run_after, submitted_at) OPERATOR(pg_catalog.<=) $1 "
#define IN_TURN \
	"ORDER BY halt_id, coalesce(run_after, submitted_at), job_id LIMIT $2 " \
	"FOR UPDATE SKIP LOCKED"
#define OF_TOPICS "AND policy.topic_matches(topic, $3) "
#define FROM_PLACE \
	"AND (coalesce(run_after, submitted_at), job_id) OPERATOR(pg_catalog.>) ($4, $5) "
#define QUEUE_ARGUMENTS \
	.nargs = 5, .types = {TIMESTAMPTZOID, INT8OID, TEXTARRAYOID, TIMESTAMPTZOID, INT8OID}

/* By whether topics are asked for, and whether it goes on from a place. */
static OwnerQuery queue_queries[2][2] = {
	{
		{.text = QUEUE IN_TURN, QUEUE_ARGUMENTS},
		{.text = QUEUE FROM_PLACE IN_TURN, QUEUE_ARGUMENTS}
	},
	{
		{.text = QUEUE OF_TOPICS IN_TURN, QUEUE_ARGUMENTS},
		{.text = QUEUE OF_TOPICS FROM_PLACE IN_TURN, QUEUE_ARGUMENTS}
	}
};

static OwnerQuery start_query = {
	.text = "UPDATE policy.jobs j SET state = 'running', attempts = j.attempts OPERATOR(pg_catalog.+) 1, "
	"claimed_by = $1, claimed_at = $2, claim_token = c.token, deadline = c.deadline, "
	"decision_id = c.decision_id, decided_at = c.decided_at, constraints = c.constraints "
	"FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), "
	"pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)) "
	"AS c(job_id, token, deadline, decision_id, decided_at, constraints) "
	"WHERE j.job_id OPERATOR(pg_catalog.=) c.job_id RETURNING j.*",
	.nargs = 8, .types = {TEXTOID, TIMESTAMPTZOID, INT8ARRAYOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID,
	TIMESTAMPTZARRAYOID, JSONBARRAYOID}
};

static OwnerQuery consume_query = {
	.text = "UPDATE policy.approvals SET status = 'consumed', "
	"attempts = attempts OPERATOR(pg_catalog.+) 1 "
	"WHERE approval_id OPERATOR(pg_catalog.=) ANY ($1)",
	.nargs = 1, .types = {INT8ARRAYOID}
};

static void
lock_batch(const Claim *claim, Candidates *candidates)
{
	bool		goes_on = claim->place.job_id != queue_head.job_id;
	OwnerQuery *query = &queue_queries[claim->topics != 0][goes_on];
	Datum		values[5];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(Min(claim->wanted, CLAIM_BATCH));
	values[2] = claim->topics;
	values[3] = TimestampTzGetDatum(claim->place.at);
	values[4] = Int64GetDatum(claim->place.job_id);
	policy_owner_run(query, values, claim->topics != 0 ? NULL : "  n  ");
	policy_candidates_read(candidates);
}

static bool
may_start(const Candidate *candidate)
{
	return candidate->now.verdict.decision == POLICY_ALLOW ||
		candidate->now.verdict.decision == POLICY_ALLOW_WITH_CONSTRAINTS;
}

/* Records a decision that changed, and moves a job that cannot start. */
static void
settle_candidate(Candidate *candidate, Recording *recording)
{
	const JobRow *row = &candidate->row;
	bool		starts = may_start(candidate);

	if (starts && !policy_candidate_changed(candidate, true))
		return;
	policy_candidate_record(candidate, recording);
	if (starts)
		return;
	policy_approvals_sync(recording->approvals, &candidate->now, &candidate->key,
						  policy_satisfied_approvals(&candidate->satisfied),
						  TextDatumGetCString(row->values[JOB_SUBMITTED_BY]),
						  row->nulls[JOB_SUBMITTED_VIA] ? NULL :
						  TextDatumGetCString(row->values[JOB_SUBMITTED_VIA]));
	policy_candidate_move(candidate, policy_decision_state(candidate->now.verdict.decision));
}

void
policy_candidates_consume(Candidate **starting, int count)
{
	Datum	   *ids = NULL;
	int			nids = 0;
	Datum		value;

	for (int i = 0; i < count; i++)
	{
		const JobApprovals *approvals = &starting[i]->satisfied.approvals;

		for (int j = 0; j < approvals->count; j++)
		{
			if (!approvals->items[j].used)
				continue;
			ids = ids == NULL ? palloc(sizeof(Datum)) :
				repalloc(ids, sizeof(Datum) * (nids + 1));
			ids[nids++] = Int64GetDatum(approvals->items[j].approval_id);
		}
	}
	if (nids == 0)
		return;
	value = PointerGetDatum(construct_array(ids, nids, INT8OID, 8, FLOAT8PASSBYVAL,
											TYPALIGN_DOUBLE));
	policy_owner_run(&consume_query, &value, NULL);
}

/* A version 4 UUID (RFC 4122, section 4.4). */
static Datum
new_token(void)
{
	pg_uuid_t  *token = palloc(sizeof(pg_uuid_t));

	if (!pg_strong_random(token->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	token->data[6] = (token->data[6] & 0x0f) | 0x40;
	token->data[8] = (token->data[8] & 0x3f) | 0x80;
	return UUIDPGetDatum(token);
}

/* The columns of start_query's arrays. */
typedef struct Starts
{
	Datum	   *ids;
	Datum	   *tokens;
	Datum	   *deadlines;
	bool	   *no_deadline;
	Datum	   *decisions;
	Datum	   *decided;
	Datum	   *constraints;
} Starts;

static void
fill_starts(Starts *starts, Candidate **starting, int count, TimestampTz at)
{
	Size		size = sizeof(Datum) * count;

	starts->ids = palloc(size);
	starts->tokens = palloc(size);
	starts->deadlines = palloc(size);
	starts->no_deadline = palloc(sizeof(bool) * count);
	starts->decisions = palloc(size);
	starts->decided = palloc(size);
	starts->constraints = palloc(size);
	for (int i = 0; i < count; i++)
	{
		Candidate  *candidate = starting[i];
		TimestampTz deadline = 0;

		starts->ids[i] = Int64GetDatum(candidate->job_id);
		starts->tokens[i] = new_token();
		starts->no_deadline[i] = !policy_deadline(candidate->constraints, at, &deadline);
		starts->deadlines[i] = TimestampTzGetDatum(deadline);
		starts->decisions[i] = candidate->row.values[JOB_DECISION_ID];
		starts->decided[i] = candidate->row.values[JOB_DECIDED_AT];
		starts->constraints[i] = JsonbPGetDatum(candidate->constraints);
	}
}

static Datum
int8_array(Datum *items, int count, Oid type)
{
	return PointerGetDatum(construct_array(items, count, type, 8, FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static void
start_jobs(Claim *claim, Candidate **starting, int count)
{
	TimestampTz at = GetCurrentTimestamp();
	int			dims[1] = {count};
	int			lower[1] = {1};
	Datum		values[8];
	Starts		starts;

	if (count == 0)
		return;
	policy_candidates_consume(starting, count);
	fill_starts(&starts, starting, count, at);
	values[0] = claim->worker;
	values[1] = TimestampTzGetDatum(at);
	values[2] = int8_array(starts.ids, count, INT8OID);
	values[3] = PointerGetDatum(construct_array(starts.tokens, count, UUIDOID, UUID_LEN, false,
												TYPALIGN_CHAR));
	values[4] = PointerGetDatum(construct_md_array(starts.deadlines, starts.no_deadline, 1, dims,
												   lower, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL,
												   TYPALIGN_DOUBLE));
	values[5] = int8_array(starts.decisions, count, INT8OID);
	values[6] = int8_array(starts.decided, count, TIMESTAMPTZOID);
	values[7] = PointerGetDatum(construct_array(starts.constraints, count, JSONBOID, -1, false,
												TYPALIGN_INT));
	policy_owner_run(&start_query, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(claim->rows, SPI_tuptable->vals[i]);
	claim->wanted -= (int) SPI_processed;

	/*
	 * A trigger that keeps rows from being updated must not make this
	 * endless.
	 */
	claim->stopped = claim->stopped || (int) SPI_processed < count;
}

/* Decides what no halt covers, and starts it. */
static void
settle_batch(Claim *claim, Candidates *candidates, HaltStops *stops, bool halts)
{
	Candidate **starting = palloc(sizeof(Candidate *) * candidates->count);
	int			nstarting = 0;
	Recording	recording;

	policy_recording_init(&recording);
	for (int i = 0; i < candidates->count; i++)
	{
		Candidate  *candidate = &candidates->items[i];

		CHECK_FOR_INTERRUPTS();
		if (halts && halt_stops_add(stops, &candidate->row, candidate->job, candidate->invalid))
			continue;
		policy_candidate_decide(candidate, "claim");
		if (candidate->now.policy == NULL)
		{
			claim->stopped = true;
			break;
		}
		settle_candidate(candidate, &recording);
		if (may_start(candidate))
			starting[nstarting++] = candidate;
	}
	start_jobs(claim, starting, nstarting);
	policy_recording_write(&recording);
}

/* While no policy can decide, a claim changes nothing. */
static bool
somebody_decides(void)
{
	ActivePolicy active;

	policy_active(NULL, &active);
	return active.policy != NULL;
}

/* Claims from one batch; returns how many jobs that had. */
static int
claim_batch(Claim *claim)
{
	HaltStops	stops = {0};
	Candidates	candidates;
	bool		again;
	bool		halts = policy_halts_check(&again);

	if (halts && !somebody_decides())
	{
		policy_halts_release(again);
		return 0;
	}
	if (policy_halts_leave_jobs())
		halt_stops_return();
	/* Others' topics at the head are in the way of this claim, too. */
	if (halts && claim->topics != 0)
		(void) halt_stops_sweep(claim->place, 1);
	lock_batch(claim, &candidates);
	if (candidates.count > 0)
	{
		claim->place = queue_place_of(&candidates.items[candidates.count - 1].row);
		settle_batch(claim, &candidates, &stops, halts);
	}
	if (stops.count > 0)
	{
		halt_stops_apply(&stops);
		claim->place = halt_stops_sweep(claim->place, CLAIM_BATCH);
	}
	policy_halts_release(again);
	return candidates.count;
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	const char *wrong = NULL;

	if (PG_ARGISNULL(0) || strspn(text_to_cstring(PG_GETARG_TEXT_PP(0)), " \t\r\n") ==
		strlen(text_to_cstring(PG_GETARG_TEXT_PP(0))))
		wrong = "The worker is NULL or blank.";
	else if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1)
		wrong = "max_jobs is NULL or less than 1.";
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bad arguments of policy_claim"),
				 errdetail("%s", wrong),
				 errhint("SELECT * FROM policy_claim('worker-1', 10)")));
}

/* policy_claim(worker text, max_jobs integer, topics text[]) */
Datum
policy_claim(PG_FUNCTION_ARGS)
{
	Claim		claim = {0};
	OwnerScope	scope;
	MemoryContext batch;
	MemoryContext caller;

	check_arguments(fcinfo);
	if (!PG_ARGISNULL(2))
		policy_check_topics(PG_GETARG_ARRAYTYPE_P(2));
	claim.worker = PG_GETARG_DATUM(0);
	claim.wanted = PG_GETARG_INT32(1);
	claim.topics = PG_ARGISNULL(2) ? 0 : PG_GETARG_DATUM(2);
	claim.place = queue_head;
	claim.rows = policy_begin_rows(fcinfo, &claim.tupdesc);
	policy_owner_begin(&scope, "claim");
	batch = AllocSetContextCreate(CurrentMemoryContext, "policy claim", ALLOCSET_DEFAULT_SIZES);
	while (claim.wanted > 0 && !claim.stopped)
	{
		int			found;

		caller = MemoryContextSwitchTo(batch);
		found = claim_batch(&claim);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(batch);
		SPI_freetuptable(SPI_tuptable);
		SPI_tuptable = NULL;
		if (found == 0)
			break;
	}
	policy_owner_end(&scope);
	PG_RETURN_NULL();
}
