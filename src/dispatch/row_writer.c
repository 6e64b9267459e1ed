/*
 * row_writer.c
 *	  Rows of the extension's own tables, written in bulk.
 *
 * A write is COPY's way in small: rows are routed to their partition, those of one
 * partition inserted together, then entered into its indexes one by one.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "utils/memutils.h"

#include "compat.h"
#include "dispatch/row_writer.h"
#include "store/table.h"

/* Slots are dear to make: so many go into the table together, and are used again. */
#define SLOT_BATCH_SIZE 64

typedef struct RowWriter
{
	EState	   *estate;
	ModifyTableState *state;
	ResultRelInfo *root;
	PartitionTupleRouting *routing; /* NULL: the table has no partitions */
	TupleTableSlot *row;		/* as the table has it */
	ResultRelInfo *target;		/* where the slots go */
	TupleTableSlot **slots;
	int			nslots;
	int			capacity;		/* of slots that were made for the target */
} RowWriter;

RowBatch *
row_batch_create(const char *table, const Oid *types, int ncolumns)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "policy row batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	RowBatch   *batch = palloc0(sizeof(RowBatch));
	Relation	relation = policy_table_open(table);

	batch->table = table;
	policy_check_columns(table, RelationGetDescr(relation), types, ncolumns);
	batch->tupdesc = CreateTupleDescCopy(RelationGetDescr(relation));
	batch->ncolumns = ncolumns;
	batch->rows = palloc(sizeof(HeapTuple) * ROW_BATCH_SIZE);
	batch->context = AllocSetContextCreate(context, "policy rows", ALLOCSET_DEFAULT_SIZES);
	table_close(relation, NoLock);
	MemoryContextSwitchTo(caller);
	return batch;
}

/* A row with NULL in what somebody has added to the table. */
static HeapTuple
form_wider(const RowBatch *batch, const Datum *values, const bool *nulls)
{
	int			natts = batch->tupdesc->natts;
	Datum	   *all_values = palloc0(sizeof(Datum) * natts);
	bool	   *all_nulls = palloc(sizeof(bool) * natts);
	HeapTuple	tuple;

	memcpy(all_values, values, sizeof(Datum) * batch->ncolumns);
	memset(all_nulls, true, sizeof(bool) * natts);
	memcpy(all_nulls, nulls, sizeof(bool) * batch->ncolumns);
	tuple = heap_form_tuple(batch->tupdesc, all_values, all_nulls);
	pfree(all_values);
	pfree(all_nulls);
	return tuple;
}

void
row_batch_add(RowBatch *batch, Datum *values, bool *nulls)
{
	MemoryContext caller;

	if (batch->nrows == ROW_BATCH_SIZE)
		row_batch_write(batch);
	caller = MemoryContextSwitchTo(batch->context);
	batch->rows[batch->nrows++] = batch->tupdesc->natts == batch->ncolumns ?
		heap_form_tuple(batch->tupdesc, values, nulls) : form_wider(batch, values, nulls);
	MemoryContextSwitchTo(caller);
}

static void
open_writer(RowWriter *writer, Relation relation)
{
	memset(writer, 0, sizeof(RowWriter));
	writer->estate = CreateExecutorState();
	writer->root = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->root, relation, 0, NULL, 0);
	writer->row = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);
	writer->slots = palloc(sizeof(TupleTableSlot *) * SLOT_BATCH_SIZE);
	writer->state = makeNode(ModifyTableState);
	writer->state->ps.state = writer->estate;
	writer->state->operation = CMD_INSERT;
	writer->state->mt_nrels = 1;
	writer->state->resultRelInfo = writer->root;
	writer->state->rootResultRelInfo = writer->root;
	if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		writer->routing = ExecSetupPartitionTupleRouting(writer->estate, relation);
	else
		ExecOpenIndices(writer->root, false);
}

static void
insert_index_entries(RowWriter *writer, TupleTableSlot *slot)
{
	if (writer->target->ri_NumIndices == 0)
		return;
	list_free(policy_insert_index_tuples(writer->target, slot, writer->estate));
	ResetPerTupleExprContext(writer->estate);
}

/* Inserts the slots that have come together for the target. */
static void
insert_slots(RowWriter *writer)
{
	if (writer->nslots == 0)
		return;
	table_multi_insert(writer->target->ri_RelationDesc, writer->slots, writer->nslots,
					   GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < writer->nslots; i++)
	{
		insert_index_entries(writer, writer->slots[i]);
		ExecClearTuple(writer->slots[i]);
	}
	writer->nslots = 0;
}

static void
drop_slots(RowWriter *writer)
{
	for (int i = 0; i < writer->capacity; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	writer->capacity = 0;
}

static void
set_target(RowWriter *writer, ResultRelInfo *target)
{
	if (target == writer->target)
		return;
	insert_slots(writer);
	drop_slots(writer);
	writer->target = target;
}

/* A slot of plain tuples spares a heap the copying of each row. */
static TupleTableSlot *
make_slot(Relation relation)
{
	if (relation->rd_tableam == GetHeapamTableAmRoutine())
		return MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);
	return table_slot_create(relation, NULL);
}

static TupleTableSlot *
next_slot(RowWriter *writer)
{
	if (writer->nslots == SLOT_BATCH_SIZE)
		insert_slots(writer);
	if (writer->nslots == writer->capacity)
		writer->slots[writer->capacity++] = make_slot(writer->target->ri_RelationDesc);
	return writer->slots[writer->nslots++];
}

static void
insert_row(RowWriter *writer, HeapTuple tuple)
{
	ResultRelInfo *target = writer->root;
	TupleConversionMap *map = NULL;
	TupleTableSlot *slot;

	ExecStoreHeapTuple(tuple, writer->row, false);
	if (writer->routing != NULL)
	{
		target = ExecFindPartition(writer->state, writer->root, writer->routing, writer->row,
								   writer->estate);
		map = policy_partition_map(target, writer->estate);
	}
	set_target(writer, target);
	slot = next_slot(writer);
	if (map == NULL && TTS_IS_HEAPTUPLE(slot))
	{
		ExecStoreHeapTuple(tuple, slot, false);
		return;
	}
	if (map != NULL)
		execute_attr_map_slot(map->attrMap, writer->row, slot);
	else
		ExecCopySlot(slot, writer->row);
	ExecMaterializeSlot(slot);
}

static void
close_writer(RowWriter *writer)
{
	insert_slots(writer);
	drop_slots(writer);
	ExecDropSingleTupleTableSlot(writer->row);
	if (writer->routing != NULL)
		ExecCleanupTupleRouting(writer->state, writer->routing);
	else
		ExecCloseIndices(writer->root);
	FreeExecutorState(writer->estate);
}

void
row_batch_write(RowBatch *batch)
{
	MemoryContext caller;
	Relation	relation;
	RowWriter	writer;

	if (batch->nrows == 0)
		return;
	caller = MemoryContextSwitchTo(batch->context);
	relation = table_open(policy_relation_oid(batch->table), RowExclusiveLock);
	open_writer(&writer, relation);
	for (int i = 0; i < batch->nrows; i++)
		insert_row(&writer, batch->rows[i]);
	close_writer(&writer);
	table_close(relation, NoLock);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(batch->context);
	batch->nrows = 0;
	CommandCounterIncrement();
}
