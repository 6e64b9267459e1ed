/*
 * release.c
 *	  Reading policy.releases and policy.snapshots by index, without SPI.
 *
 * The tables' columns are found by number: sql/ creates them in this order.
 * Both keys are compared bytewise (bigint, and text COLLATE "C").
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"

#include "store/release.h"

#define POLICY_SCHEMA "policy"

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
	SNAPSHOTS_SHA256
};

static Relation
open_table(const char *name)
{
	Oid			schema = get_namespace_oid(POLICY_SCHEMA, false);
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", POLICY_SCHEMA, name),
				 errhint("Create the extension policy_engine in this database.")));
	return table_open(relid, AccessShareLock);
}

static Relation
open_primary_key(Relation relation)
{
	Oid			index;

	RelationGetIndexList(relation);
	index = relation->rd_pkindex;
	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has lost its primary key", POLICY_SCHEMA,
						RelationGetRelationName(relation))));
	return index_open(index, AccessShareLock);
}

/* The locks stay until the transaction ends, as a query's would. */
static void
close_both(Relation relation, Relation index)
{
	index_close(index, NoLock);
	table_close(relation, NoLock);
}

static Datum
get_column(Relation relation, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, RelationGetDescr(relation), &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a row of \"%s.%s\" has no %s", POLICY_SCHEMA,
						RelationGetRelationName(relation),
						NameStr(TupleDescAttr(RelationGetDescr(relation), column - 1)->attname))));
	return value;
}

bool
release_newest(Snapshot snapshot, int64 *release_id, text **name)
{
	Relation	relation = open_table("releases");
	Relation	index = open_primary_key(relation);
	SysScanDesc scan = systable_beginscan_ordered(relation, index, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext_ordered(scan, BackwardScanDirection);

	if (HeapTupleIsValid(tuple))
	{
		*release_id = DatumGetInt64(get_column(relation, tuple, RELEASES_RELEASE_ID));
		*name = DatumGetTextPCopy(get_column(relation, tuple, RELEASES_SNAPSHOT));
	}
	systable_endscan_ordered(scan);
	close_both(relation, index);
	return HeapTupleIsValid(tuple);
}

void
snapshot_open(text *name, Snapshot snapshot, SnapshotRow *row)
{
	ScanKeyData key;

	row->relation = open_table("snapshots");
	row->index = open_primary_key(row->relation);
	ScanKeyInit(&key, SNAPSHOTS_SNAPSHOT, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(name));
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

void
snapshot_close(SnapshotRow *row)
{
	systable_endscan_ordered(row->scan);
	close_both(row->relation, row->index);
}
