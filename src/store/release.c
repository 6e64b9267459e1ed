/*
 * release.c
 *	  Reading policy.releases and policy.snapshots, without SPI.
 *
 * By index, but where a table is a few blocks: to open an index takes a new session
 * longer than to read those.
 *
 * The tables' columns are found by number: sql/ creates them in this order.
 * Both keys are compared bytewise (bigint, and text COLLATE "C").
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "columns.h"
#include "store/release.h"
#include "store/table.h"

enum
{
	RELEASES_RELEASE_ID = 1,
	RELEASES_ACTION,
	RELEASES_SNAPSHOT
};

enum
{
	SNAPSHOTS_SNAPSHOT = 1,
	SNAPSHOTS_DOCUMENT,
	SNAPSHOTS_SHA256,
	SNAPSHOTS_NOTE,
	SNAPSHOTS_STAGED_BY,
	SNAPSHOTS_STAGED_AT,
	SNAPSHOTS_TREE
};

static const Oid snapshot_types[] = {
	TEXTOID, POLICY_OWN_TYPE, BYTEAOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, POLICY_OWN_TYPE
};

/* What is read of releases is in the view policy.active, too, and so cannot be altered. */
static Relation
open_snapshots(void)
{
	Relation	relation = policy_table_open("snapshots");

	policy_check_columns("snapshots", RelationGetDescr(relation), snapshot_types,
						 lengthof(snapshot_types));
	return relation;
}

static void
refuse_null(Relation relation, int column)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a row of \"%s.%s\" has no %s", POLICY_SCHEMA,
					RelationGetRelationName(relation),
					NameStr(TupleDescAttr(RelationGetDescr(relation), column - 1)->attname))));
}

static Datum
get_column(Relation relation, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, RelationGetDescr(relation), &isnull);

	if (isnull)
		refuse_null(relation, column);
	return value;
}

int64
release_id_of(Relation relation, HeapTuple tuple)
{
	return DatumGetInt64(get_column(relation, tuple, RELEASES_RELEASE_ID));
}

#define FEW_BLOCKS 4

static bool
is_small(Relation relation)
{
	return RelationGetNumberOfBlocks(relation) <= FEW_BLOCKS;
}

/*
 * The newest release of those that the table has; NULL where it has none.  Backward,
 * since what was inserted last is the newest, but where it took the room of what was
 * rolled back: none of the others is copied.
 */
static HeapTuple
newest_of_all(Relation relation, Snapshot snapshot)
{
	Snapshot	registered = RegisterSnapshot(snapshot != NULL ? snapshot :
											  GetCatalogSnapshot(RelationGetRelid(relation)));
	TableScanDesc scan = table_beginscan_strat(relation, registered, 0, NULL, true, false);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	HeapTuple	newest = NULL;
	int64		newest_id = 0;

	while (table_scan_getnextslot(scan, BackwardScanDirection, slot))
	{
		bool		isnull;
		int64		release_id = DatumGetInt64(slot_getattr(slot, RELEASES_RELEASE_ID, &isnull));

		if (isnull)
			refuse_null(relation, RELEASES_RELEASE_ID);
		if (newest != NULL && release_id < newest_id)
			continue;
		if (newest != NULL)
			heap_freetuple(newest);
		newest = ExecCopySlotHeapTuple(slot);
		newest_id = release_id;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(registered);
	return newest;
}

static HeapTuple
newest_by_index(Relation relation, Snapshot snapshot)
{
	Relation	index = policy_primary_key_open(relation);
	SysScanDesc scan = systable_beginscan_ordered(relation, index, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	HeapTuple	newest = HeapTupleIsValid(tuple) ? heap_copytuple(tuple) : NULL;

	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	return newest;
}

bool
release_newest(Snapshot snapshot, int64 *release_id, text **name, TransactionId *xid)
{
	Relation	relation = policy_table_open("releases");
	HeapTuple	newest;

	/* What the session has of it may be as old as its transaction. */
	if (snapshot == NULL)
		InvalidateCatalogSnapshot();
	newest = is_small(relation) ? newest_of_all(relation, snapshot) :
		newest_by_index(relation, snapshot);

	if (newest != NULL)
	{
		*release_id = release_id_of(relation, newest);
		*name = DatumGetTextPCopy(get_column(relation, newest, RELEASES_SNAPSHOT));
		*xid = HeapTupleHeaderGetXmin(newest->t_data);
		heap_freetuple(newest);
	}
	table_close(relation, NoLock);
	return newest != NULL;
}

void
snapshot_open(text *name, Snapshot snapshot, SnapshotRow *row)
{
	ScanKeyData key;

	ScanKeyInit(&key, SNAPSHOTS_SNAPSHOT, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(name));
	row->relation = open_snapshots();
	row->index = NULL;
	if (is_small(row->relation))
	{
		row->scan = systable_beginscan(row->relation, InvalidOid, false, snapshot, 1, &key);
		row->tuple = systable_getnext(row->scan);
		return;
	}
	row->index = policy_primary_key_open(row->relation);
	row->scan = systable_beginscan_ordered(row->relation, row->index, snapshot, 1, &key);
	row->tuple = systable_getnext_ordered(row->scan, ForwardScanDirection);
}

Datum
snapshot_document(const SnapshotRow *row)
{
	return get_column(row->relation, row->tuple, SNAPSHOTS_DOCUMENT);
}

bool
snapshot_digest(const SnapshotRow *row, uint8 *digest)
{
	bool		isnull;
	Datum		value = heap_getattr(row->tuple, SNAPSHOTS_SHA256,
									 RelationGetDescr(row->relation), &isnull);
	bytea	   *sha256;

	if (isnull)
		return false;
	sha256 = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(sha256) != POLICY_DIGEST_LENGTH)
		return false;
	memcpy(digest, VARDATA_ANY(sha256), POLICY_DIGEST_LENGTH);
	return true;
}

char *
snapshot_tree(const SnapshotRow *row, uint8 *digest, int *len)
{
	bool		isnull;
	Datum		tree = heap_getattr(row->tuple, SNAPSHOTS_TREE,
									RelationGetDescr(row->relation), &isnull);

	if (isnull || !snapshot_digest(row, digest))
		return NULL;
	return policy_stored_tree(tree, digest, len);
}

void
snapshot_close(SnapshotRow *row)
{
	if (row->index == NULL)
	{
		systable_endscan(row->scan);
		table_close(row->relation, NoLock);
		return;
	}
	systable_endscan_ordered(row->scan);
	policy_table_close(row->relation, row->index);
}
