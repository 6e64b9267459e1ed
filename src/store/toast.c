/*
 * toast.c
 *	  Parts of stored values, from where a table keeps what is too large for a row.
 *
 * As PostgreSQL reads them, but that the TOAST table's index is found by its name:
 * PostgreSQL asks for the list of the table's indexes, and a new session's first such
 * list takes as long as everything else that is done here.  What is not as PostgreSQL
 * makes it is left to PostgreSQL.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/toast_internals.h"
#include "catalog/pg_am.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "compat.h"
#include "store/table.h"
#include "store/toast.h"

/* The columns of every TOAST table. */
enum
{
	TOAST_VALUE = 1,
	TOAST_NUMBER,
	TOAST_DATA
};

/* The part of a value that is asked for, and how much of it is there. */
typedef struct ToastPart
{
	struct varlena *varlena;
	Size		offset;
	Size		len;
	Size		copied;
} ToastPart;

static Datum
get_column(Relation table, HeapTuple chunk, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(chunk, column, RelationGetDescr(table), &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a row of \"%s\" has no %s", RelationGetRelationName(table),
						NameStr(TupleDescAttr(RelationGetDescr(table), column - 1)->attname))));
	return value;
}

/* Chunks come in their order, so that one that is missing or cut off leaves a gap. */
static void
copy_chunk(Relation table, HeapTuple chunk, ToastPart *part)
{
	Size		begin = (Size) DatumGetInt32(get_column(table, chunk, TOAST_NUMBER)) * TOAST_MAX_CHUNK_SIZE;
	struct varlena *data = (struct varlena *) DatumGetPointer(get_column(table, chunk, TOAST_DATA));
	Size		next = part->offset + part->copied;
	Size		end;

	if (VARATT_IS_EXTENDED(data) && !VARATT_IS_SHORT(data))
		return;
	end = Min(begin + VARSIZE_ANY_EXHDR(data), part->offset + part->len);
	if (begin > next || end <= next)
		return;
	memcpy(VARDATA(part->varlena) + part->copied, VARDATA_ANY(data) + (next - begin), end - next);
	part->copied += end - next;
}

static void
read_chunks(Relation table, Relation index, Oid value, ToastPart *part)
{
	int32		first = part->offset / TOAST_MAX_CHUNK_SIZE;
	int32		last = (part->offset + part->len - 1) / TOAST_MAX_CHUNK_SIZE;

	POLICY_TOAST_SNAPSHOT(snapshot);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	chunk;

	ScanKeyInit(&keys[0], TOAST_VALUE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	ScanKeyInit(&keys[1], TOAST_NUMBER, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(first));
	ScanKeyInit(&keys[2], TOAST_NUMBER, BTLessEqualStrategyNumber, F_INT4LE, Int32GetDatum(last));
	scan = systable_beginscan_ordered(table, index, snapshot, lengthof(keys), keys);
	while ((chunk = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
		copy_chunk(table, chunk, part);
	systable_endscan_ordered(scan);
	if (part->copied != part->len)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("value %u of \"%s\" is damaged", value, RelationGetRelationName(table)),
				 errdetail("It has %zu bytes from byte %zu on where %zu were stored.",
						   part->copied, part->offset, part->len)));
}

/* Returns NULL where the table is not as PostgreSQL makes it. */
static struct varlena *
read_part(const struct varatt_external *pointer, Size offset, Size len)
{
	Size		size = VARATT_EXTERNAL_GET_EXTSIZE(*pointer);
	Relation	table = table_open(pointer->va_toastrelid, AccessShareLock);
	Relation	index = table->rd_rel->relam == HEAP_TABLE_AM_OID ?
	policy_named_key_open(table, "index") : NULL;
	ToastPart	part = {.offset = offset};

	if (index != NULL)
	{
		part.len = offset < size ? Min(len, size - offset) : 0;
		part.varlena = palloc(VARHDRSZ + part.len);
		SET_VARSIZE(part.varlena, VARHDRSZ + part.len);
		if (part.len > 0)
			read_chunks(table, index, pointer->va_valueid, &part);
		index_close(index, AccessShareLock);
	}
	table_close(table, AccessShareLock);
	return part.varlena;
}

struct varlena *
policy_toast_slice(Datum value, Size offset, Size len)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	struct varatt_external pointer;
	struct varlena *part = NULL;

	if (VARATT_IS_EXTERNAL_ONDISK(stored))
	{
		VARATT_EXTERNAL_GET_POINTER(pointer, stored);
		/* Uncompressed: what is stored is what is meant. */
		if (VARATT_EXTERNAL_GET_EXTSIZE(pointer) == pointer.va_rawsize - (uint32) VARHDRSZ)
			part = read_part(&pointer, offset, len);
	}
	return part != NULL ? part : PG_DETOAST_DATUM_SLICE(value, offset, len);
}
