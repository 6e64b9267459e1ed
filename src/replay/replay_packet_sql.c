/*
 * replay_packet_sql.c
 *	  One job's part of a replay, which any process of a parallel query can do.
 *
 * A packet is the outcome, the rules that gained and lost the job, and the row of its
 * flip, where it flips; both ends are the same build of the same library.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "replay/replay_packet.h"
#include "replay/replay_run.h"
#include "store/table.h"

PG_FUNCTION_INFO_V1(policy_replay_job);

/* The arguments of policy.replay_job; the columns of a source row come last. */
enum
{
	ARG_CANDIDATE,
	ARG_BASE,
	ARG_PRESENT,
	ARG_RECORDED,
	ARG_SOURCE,
	NARGS = ARG_SOURCE + SOURCE_NCOLUMNS
};

/* What a call site keeps. */
typedef struct PacketState
{
	ReplayRun  *run;
	TupleDesc	flips;
	MemoryContext call_context;
} PacketState;

static Size
numbers_size(const RuleNumbers *numbers)
{
	return sizeof(int32) * numbers->count;
}

bytea *
replay_pack(const ReplayOutcome *outcome, HeapTuple flip)
{
	Size		head = MAXALIGN(VARHDRSZ) + sizeof(ReplayOutcome);
	Size		lists = numbers_size(&outcome->gained) + numbers_size(&outcome->lost);
	Size		size = MAXALIGN(head + lists) + (flip != NULL ? flip->t_len : 0);
	bytea	   *packet = palloc0(size);
	char	   *to = (char *) packet + MAXALIGN(VARHDRSZ);

	SET_VARSIZE(packet, size);
	memcpy(to, outcome, sizeof(ReplayOutcome));
	to += sizeof(ReplayOutcome);
	if (outcome->gained.count > 0)
		memcpy(to, outcome->gained.items, numbers_size(&outcome->gained));
	if (outcome->lost.count > 0)
		memcpy(to + numbers_size(&outcome->gained), outcome->lost.items, numbers_size(&outcome->lost));
	if (flip != NULL)
		memcpy((char *) packet + MAXALIGN(head + lists), flip->t_data, flip->t_len);
	return packet;
}

void
replay_unpack(const bytea *packet, ReplayOutcome *outcome, HeapTuple flip)
{
	Size		head = MAXALIGN(VARHDRSZ) + sizeof(ReplayOutcome);
	Size		size = VARSIZE(packet);
	char	   *copy = memcpy(palloc(size), packet, size);
	Size		tuple;

	memcpy(outcome, copy + MAXALIGN(VARHDRSZ), sizeof(ReplayOutcome));
	outcome->gained.items = (int32 *) (copy + head);
	outcome->lost.items = outcome->gained.items + outcome->gained.count;
	tuple = MAXALIGN(head + numbers_size(&outcome->gained) + numbers_size(&outcome->lost));
	memset(flip, 0, sizeof(HeapTupleData));
	if (tuple >= size)
		return;
	flip->t_len = size - tuple;
	flip->t_data = (HeapTupleHeader) (copy + tuple);
	ItemPointerSetInvalid(&flip->t_self);
}

static PacketState *
make_state(FunctionCallInfo fcinfo)
{
	MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	PacketState *state = palloc0(sizeof(PacketState));
	Relation	relation = policy_table_open("simulation_flips");

	state->flips = CreateTupleDescCopy(RelationGetDescr(relation));
	table_close(relation, NoLock);
	state->run = replay_run_begin(PG_GETARG_TEXT_PP(ARG_CANDIDATE),
								  PG_ARGISNULL(ARG_BASE) ? NULL : PG_GETARG_TEXT_PP(ARG_BASE),
								  PG_GETARG_TIMESTAMPTZ(ARG_PRESENT),
								  PG_GETARG_BOOL(ARG_RECORDED));
	state->call_context = AllocSetContextCreate(CurrentMemoryContext, "policy replay job",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(caller);
	return state;
}

/*
 * policy.replay_job(candidate text, base text, present timestamptz, recorded boolean,
 * and a row of a query of jobs): the policies and the time are those of the first call
 */
Datum
policy_replay_job(PG_FUNCTION_ARGS)
{
	PacketState *state = fcinfo->flinfo->fn_extra;
	MemoryContext caller = CurrentMemoryContext;
	SourceRow	source;
	ReplayOutcome outcome;
	FlipRow		row;
	HeapTuple	flip = NULL;
	bytea	   *packet;

	Assert(PG_NARGS() == NARGS);
	if (PG_ARGISNULL(ARG_CANDIDATE) || PG_ARGISNULL(ARG_PRESENT) || PG_ARGISNULL(ARG_RECORDED))
		elog(ERROR, "an argument of policy.replay_job is NULL");
	if (state == NULL)
		state = fcinfo->flinfo->fn_extra = make_state(fcinfo);
	MemoryContextReset(state->call_context);
	MemoryContextSwitchTo(state->call_context);
	for (int i = 0; i < SOURCE_NCOLUMNS; i++)
	{
		source.values[i] = PG_GETARG_DATUM(ARG_SOURCE + i);
		source.nulls[i] = PG_ARGISNULL(ARG_SOURCE + i);
	}
	replay_run_row(state->run, &source, &outcome, &row);
	if (outcome.change != POLICY_UNCHANGED)
		flip = heap_form_tuple(state->flips, row.values, row.nulls);
	MemoryContextSwitchTo(caller);
	packet = replay_pack(&outcome, flip);
	PG_RETURN_BYTEA_P(packet);
}
