/*
 * job_insert.c
 *	  One row into policy.jobs, without a query.
 *
 * What a query for one row costs, planning left out, is more than deciding the job
 * and writing it.  Logical replication's way of applying a row is shorter, and
 * public: executor/execReplication.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "dispatch/job_insert.h"
#include "store/table.h"

static bool
needs_query(Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;

	return RelationGetDescr(relation)->natts != JOB_NCOLUMNS ||
		relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relhasrules || relation->rd_rel->relforcerowsecurity ||
		relation->rd_rel->relispartition ||
		(triggers != NULL && triggers->trig_insert_new_table);
}

static void
store_row(TupleTableSlot *slot, const JobRow *row)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * JOB_NCOLUMNS);
	for (int i = JOB_FIRST_SUBMITTED; i <= JOB_LAST_SUBMITTED; i++)
	{
		slot->tts_values[i - 1] = row->values[i];
		slot->tts_isnull[i - 1] = row->nulls[i];
	}
	ExecStoreVirtualTuple(slot);
}

static void
insert_slot(EState *estate, ResultRelInfo *target, TupleTableSlot *slot)
{
	AfterTriggerBeginQuery();
	ExecOpenIndices(target, false);
	ExecBSInsertTriggers(estate, target);
	ExecSimpleRelationInsert(target, estate, slot);
	if (!ItemPointerIsValid(&slot->tts_tid))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a trigger of policy.jobs kept a job from being inserted"),
				 errdetail("policy_submit returns the row of every job that it is given."),
				 errhint("What must not run is a rule's to deny; or let the trigger raise an error.")));
	ExecASInsertTriggers(estate, target, NULL);
	AfterTriggerEndQuery(estate);
	ExecCloseIndices(target);
}

static HeapTuple
insert_into(Relation relation, const JobRow *row, MemoryContext context)
{
	MemoryContext caller = CurrentMemoryContext;
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target;
	TupleTableSlot *slot;
	HeapTuple	inserted;

	MemoryContextSwitchTo(estate->es_query_cxt);
	target = makeNode(ResultRelInfo);
	InitResultRelInfo(target, relation, 0, NULL, 0);
	estate->es_opened_result_relations = list_make1(target);
	estate->es_output_cid = GetCurrentCommandId(true);
	estate->es_snapshot = GetActiveSnapshot();
	slot = table_slot_create(relation, &estate->es_tupleTable);
	store_row(slot, row);
	insert_slot(estate, target, slot);
	MemoryContextSwitchTo(context);
	inserted = ExecCopySlotHeapTuple(slot);
	MemoryContextSwitchTo(caller);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	return inserted;
}

HeapTuple
job_insert(const JobRow *row, MemoryContext context)
{
	Relation	relation;
	HeapTuple	inserted = NULL;

	PreventCommandIfReadOnly("INSERT");
	PreventCommandIfParallelMode("INSERT");
	relation = table_open(policy_relation_oid("jobs"), RowExclusiveLock);
	if (!needs_query(relation))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		inserted = insert_into(relation, row, context);
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	table_close(relation, NoLock);
	return inserted;
}
