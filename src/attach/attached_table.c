/*
 * attached_table.c
 *	  An attachment, ready to be used on the rows of one relation by one user.
 *
 * A table that is in use is never freed: a message that makes it stale only marks it,
 * and who finds it free and stale drops it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "attach/attached_table.h"
#include "store/table.h"

/* The columns of policy.attached_tables: sql/58_attach.sql creates them in this order. */
enum
{
	ATTACHED_ID = 1,
	ATTACHED_RELATION,
	ATTACHED_JOB_TABLE,
	ATTACHED_PRESET,
	ATTACHED_JOB,
	ATTACHED_JOB_KEY,
	ATTACHED_HOLD_COLUMNS,
	ATTACHED_DENY_COLUMNS,
	ATTACHED_THROTTLE_COLUMNS,
	ATTACHED_ALLOW_COLUMNS,
	ATTACHED_RELEASE_COLUMNS,
	ATTACHED_MATERIAL,
	ATTACHED_STARTS,
	ATTACHED_ENDS,
	ATTACHED_UNDO,
	ATTACHED_ON_DENY,
	ATTACHED_NOTIFY,
	ATTACHED_COLUMNS,
	ATTACHED_BY,
	ATTACHED_AT
};

#define ATTACHED_NCOLUMNS ATTACHED_AT

static const Oid column_types[ATTACHED_NCOLUMNS + 1] = {
	[ATTACHED_ID] = INT8OID,
	[ATTACHED_RELATION] = REGCLASSOID,
	[ATTACHED_JOB_TABLE] = TEXTOID,
	[ATTACHED_PRESET] = TEXTOID,
	[ATTACHED_JOB] = TEXTOID,
	[ATTACHED_JOB_KEY] = TEXTOID,
	[ATTACHED_HOLD_COLUMNS] = JSONBOID,
	[ATTACHED_DENY_COLUMNS] = JSONBOID,
	[ATTACHED_THROTTLE_COLUMNS] = JSONBOID,
	[ATTACHED_ALLOW_COLUMNS] = JSONBOID,
	[ATTACHED_RELEASE_COLUMNS] = JSONBOID,
	[ATTACHED_MATERIAL] = TEXTARRAYOID,
	[ATTACHED_STARTS] = TEXTOID,
	[ATTACHED_ENDS] = TEXTOID,
	[ATTACHED_UNDO] = TEXTOID,
	[ATTACHED_ON_DENY] = TEXTOID,
	[ATTACHED_NOTIFY] = TEXTOID,
	[ATTACHED_COLUMNS] = TEXTARRAYOID,
	[ATTACHED_BY] = REGROLEOID,
	[ATTACHED_AT] = TIMESTAMPTZOID,
};

/* The session's, in TopMemoryContext. */
static List *tables = NIL;

typedef struct AttachedRow
{
	Datum		values[ATTACHED_NCOLUMNS + 1];
	bool		nulls[ATTACHED_NCOLUMNS + 1];
} AttachedRow;

static void
relation_changed(Datum arg, Oid relid)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		AttachedTable *table = lfirst(cell);

		if (!OidIsValid(relid) || table->relid == relid)
			table->is_stale = true;
	}
}

/* A function, operator or type that an expression may rest on. */
static void
object_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

void
attached_table_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, 0);
	CacheRegisterSyscacheCallback(PROCOID, object_changed, 0);
	CacheRegisterSyscacheCallback(TYPEOID, object_changed, 0);
}

static void
copy_row(HeapTuple tuple, TupleDesc tupdesc, AttachedRow *row)
{
	HeapTuple	copy = heap_copytuple(tuple);

	policy_check_columns("attached_tables", tupdesc, column_types + 1, ATTACHED_NCOLUMNS);
	for (int i = 1; i <= ATTACHED_NCOLUMNS; i++)
		row->values[i] = heap_getattr(copy, i, tupdesc, &row->nulls[i]);
}

static bool
read_row(int64 attachment_id, AttachedRow *row)
{
	Relation	relation = policy_table_open("attached_tables");
	Relation	index = policy_primary_key_open(relation);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, ATTACHED_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(attachment_id));
	scan = systable_beginscan_ordered(relation, index, NULL, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		copy_row(tuple, RelationGetDescr(relation), row);
	systable_endscan_ordered(scan);
	policy_table_close(relation, index);
	return HeapTupleIsValid(tuple);
}

bool
attached_table_find(const char *job_table, int64 *attachment_id, Oid *root)
{
	Relation	relation = policy_table_open("attached_tables");
	Relation	index = policy_index_open("attached_tables_job_table");
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	AttachedRow row;

	ScanKeyEntryInitialize(&key, 0, ATTACHED_JOB_TABLE, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(job_table));
	scan = systable_beginscan_ordered(relation, index, NULL, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		copy_row(tuple, RelationGetDescr(relation), &row);
		*attachment_id = DatumGetInt64(row.values[ATTACHED_ID]);
		*root = DatumGetObjectId(row.values[ATTACHED_RELATION]);
	}
	systable_endscan_ordered(scan);
	policy_table_close(relation, index);
	return HeapTupleIsValid(tuple);
}

static void
read_attachment(int64 attachment_id, AttachedRow *row)
{
	if (!read_row(attachment_id, row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no attachment " INT64_FORMAT, attachment_id)));
}

Oid
attached_table_relation(int64 attachment_id)
{
	AttachedRow row;

	read_attachment(attachment_id, &row);
	return DatumGetObjectId(row.values[ATTACHED_RELATION]);
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * A table's owner can have any code run as whoever writes its rows, by a trigger: a
 * superuser must not be who does that by himself.
 */
static Oid
row_mover(const AttachedRow *row)
{
	Oid			attached_by = DatumGetObjectId(row->values[ATTACHED_BY]);

	if (!superuser_arg(attached_by))
		return attached_by;
	return relation_owner(DatumGetObjectId(row->values[ATTACHED_RELATION]));
}

Oid
attached_table_mover(int64 attachment_id)
{
	AttachedRow row;

	read_attachment(attachment_id, &row);
	return row_mover(&row);
}

static char *
row_text(const AttachedRow *row, int column)
{
	return row->nulls[column] ? NULL : TextDatumGetCString(row->values[column]);
}

static AttrNumber
column_named(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return attribute->attnum;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist any more", name),
			 errhint("SELECT policy_reattach_all() after a change of the table; SELECT * FROM policy_attachments shows what differs.")));
}

static ExprState *
make_state(AttachedTable *table, Expr *expression)
{
	return ExecInitExprWithParams(expression, table->econtext->ecxt_param_list_info);
}

/* The columns that an expression of one row reads, which are content; 0 was all of them. */
static Bitmapset *
use_columns(AttachedTable *table, Expr *expression)
{
	Bitmapset  *columns = attach_expression_columns(expression, 1);

	if (bms_is_member(0, columns))
	{
		columns = bms_del_member(columns, 0);
		for (int i = 1; i <= table->tupdesc->natts; i++)
		{
			if (!TupleDescAttr(table->tupdesc, i - 1)->attisdropped)
				columns = bms_add_member(columns, i);
		}
	}
	table->content = bms_add_members(table->content, columns);
	return columns;
}

/* An expression of one row; what it reads is content. */
static ExprState *
row_expression(AttachedTable *table, Relation relation, const char *source, Oid type,
			   int32 typmod)
{
	Expr	   *expression;

	if (source == NULL)
		return NULL;
	expression = attach_expression_parse(relation, source, ATTACH_NEW, type, typmod);
	(void) use_columns(table, expression);
	return make_state(table, expression);
}

static void
make_job(AttachedTable *table, Relation relation, const char *source)
{
	Expr	   *expression = attach_expression_parse(relation, source, ATTACH_NEW, JSONBOID, -1);

	table->job_columns = use_columns(table, expression);
	table->object = attached_object_make(expression, table->econtext->ecxt_param_list_info);
	table->job = make_state(table, expression);
}

static void
add_guarded(AttachedTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->nguarded; i++)
	{
		if (table->guarded[i] == attnum)
			return;
	}
	table->guarded[table->nguarded++] = attnum;
}

/* An object of columns and their expressions. */
static void
make_form(AttachedTable *table, Relation relation, AttachedFormKind kind, const AttachedRow *row)
{
	AttachedForm *form = &table->forms[kind];
	int			column = ATTACHED_HOLD_COLUMNS + kind;
	Jsonb	   *object;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (row->nulls[column])
		return;
	object = DatumGetJsonbP(row->values[column]);
	form->columns = palloc0(sizeof(AttachedColumn) * Max(JB_ROOT_COUNT(object), 1));
	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		AttachedColumn *target = &form->columns[form->ncolumns];
		Form_pg_attribute attribute;

		if (token == WJB_KEY)
			target->attnum = column_named(table->tupdesc, pnstrdup(value.val.string.val,
																   value.val.string.len));
		if (token != WJB_VALUE || value.type != jbvString)
			continue;
		attribute = TupleDescAttr(table->tupdesc, target->attnum - 1);
		target->value = row_expression(table, relation,
									   pnstrdup(value.val.string.val, value.val.string.len),
									   attribute->atttypid, attribute->atttypmod);
		if (kind <= ATTACHED_THROTTLE)
			add_guarded(table, target->attnum);
		form->ncolumns++;
	}
}

static void
make_material(AttachedTable *table, const AttachedRow *row)
{
	Datum	   *items;
	int			count;

	if (row->nulls[ATTACHED_MATERIAL])
		return;
	deconstruct_array(DatumGetArrayTypeP(row->values[ATTACHED_MATERIAL]), TEXTOID, -1, false,
					  TYPALIGN_INT, &items, NULL, &count);
	table->material = palloc(sizeof(AttrNumber) * Max(count, 1));
	for (int i = 0; i < count; i++)
		table->material[table->nmaterial++] = column_named(table->tupdesc,
														   TextDatumGetCString(items[i]));
}

static void
make_key(AttachedTable *table, Relation relation)
{
	Bitmapset  *key = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	int			member = -1;

	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("attached table \"%s\" has lost its primary key",
						RelationGetRelationName(relation)),
				 errhint("Give it one, or detach the table with policy_detach.")));
	table->key_columns = palloc(sizeof(AttrNumber) * bms_num_members(key));
	while ((member = bms_next_member(key, member)) >= 0)
		table->key_columns[table->nkey++] = member + FirstLowInvalidHeapAttributeNumber;
}

/* What a job is known by: its key is an expression of its own, or the primary key. */
static void
make_identity(AttachedTable *table, Relation relation, const char *source)
{
	Expr	   *expression = attach_expression_parse(relation, source, ATTACH_NEW, TEXTOID, -1);
	Bitmapset  *columns = use_columns(table, expression);
	int			member = -1;

	table->key = make_state(table, expression);
	for (int i = 0; i < table->nkey; i++)
		columns = bms_add_member(columns, table->key_columns[i]);
	table->identity = palloc(sizeof(AttrNumber) * bms_num_members(columns));
	while ((member = bms_next_member(columns, member)) >= 0)
		table->identity[table->nidentity++] = member;
}

static void
make_context(AttachedTable *table)
{
	ParamListInfo names = makeParamList(ATTACH_NNAMES);

	for (int i = 1; i <= ATTACH_NNAMES; i++)
	{
		names->params[i - 1].isnull = true;
		names->params[i - 1].pflags = 0;
		names->params[i - 1].ptype = attach_name_types[i];
	}
	table->econtext = CreateStandaloneExprContext();
	table->econtext->ecxt_param_list_info = names;
	table->row = MakeSingleTupleTableSlot(table->tupdesc, &TTSOpsHeapTuple);
	table->old = MakeSingleTupleTableSlot(table->tupdesc, &TTSOpsHeapTuple);
	table->new = MakeSingleTupleTableSlot(table->tupdesc, &TTSOpsHeapTuple);
	table->econtext->ecxt_scantuple = table->row;
	table->econtext->ecxt_innertuple = table->old;
	table->econtext->ecxt_outertuple = table->new;
}

/* What an expression of two rows reads of the one that comes in. */
static void
add_coming(AttachedComing *coming, Expr *expression)
{
	Bitmapset  *columns = attach_expression_columns(expression, OUTER_VAR);
	int			member = -1;

	if (contain_mutable_functions((Node *) expression) ||
		coming->ncolumns + bms_num_members(columns) > ATTACHED_COMING_COLUMNS)
		coming->is_repeated = false;
	while (coming->is_repeated && (member = bms_next_member(columns, member)) >= 0)
	{
		coming->columns[coming->ncolumns++] = member;
		if (member == 0)
			coming->is_repeated = false;
	}
}

static ExprState *
pair_expression(AttachedTable *table, Relation relation, const AttachedRow *row, int column)
{
	char	   *source = row_text(row, column);
	Expr	   *expression;

	if (source == NULL)
		return NULL;
	expression = attach_expression_parse(relation, source, ATTACH_OLD_AND_NEW, BOOLOID, -1);
	add_coming(&table->coming, expression);
	return make_state(table, expression);
}

/* A channel is a name; anything longer is an expression. */
static void
make_notification(AttachedTable *table, Relation relation, const AttachedRow *row)
{
	char	   *notify = row_text(row, ATTACHED_NOTIFY);

	if (notify == NULL)
		return;
	if (strchr(notify, '(') == NULL)
		table->notify = notify;
	else
		table->notification = make_state(table, attach_expression_parse(relation, notify, ATTACH_NEW,
																		VOIDOID, -1));
}

/* A guard reads rows of any other table as what they are not. */
static void
check_relation(const AttachedTable *table, Relation relation)
{
	if (table->relid == table->root ||
		(relation->rd_rel->relispartition &&
		 list_member_oid(get_partition_ancestors(table->relid), table->root)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("table \"%s\" has the triggers of another table's attachment",
					RelationGetRelationName(relation)),
			 errhint("Guards of attached tables are made by policy_attach alone.")));
}

static void
build(AttachedTable *table, Relation relation, const AttachedRow *row)
{
	table->job_table = row_text(row, ATTACHED_JOB_TABLE);
	table->root = DatumGetObjectId(row->values[ATTACHED_RELATION]);
	check_relation(table, relation);
	table->mover = row_mover(row);
	table->raises = strcmp(row_text(row, ATTACHED_ON_DENY), "raise") == 0;
	table->undo = row_text(row, ATTACHED_UNDO);
	table->tupdesc = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	table->guarded = palloc(sizeof(AttrNumber) * table->tupdesc->natts);
	make_context(table);
	make_job(table, relation, row_text(row, ATTACHED_JOB));
	for (int kind = 0; kind < ATTACHED_NFORMS; kind++)
		make_form(table, relation, kind, row);
	make_material(table, row);
	make_key(table, relation);
	make_identity(table, relation, row_text(row, ATTACHED_JOB_KEY));
	table->coming.is_repeated = true;
	table->starts = pair_expression(table, relation, row, ATTACHED_STARTS);
	table->ends = pair_expression(table, relation, row, ATTACHED_ENDS);
	make_notification(table, relation, row);
	for (int i = 0; i < table->nguarded; i++)
		table->content = bms_add_member(table->content, table->guarded[i]);
}

static AttachedTable *
make_table(Relation relation, int64 attachment_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "policy attachment",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	AttachedTable *table = palloc0(sizeof(AttachedTable));
	AttachedRow row;

	table->context = context;
	table->relid = RelationGetRelid(relation);
	table->user = GetUserId();
	table->attachment_id = attachment_id;
	if (!read_row(attachment_id, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has triggers of an attachment that is gone",
						RelationGetRelationName(relation)),
				 errdetail("policy.attached_tables has no row " INT64_FORMAT ".", attachment_id),
				 errhint("Attach the table again with policy_attach, or drop its triggers whose names begin with zzz_policy_.")));
	build(table, relation, &row);
	/* Whole, it goes where an error does not reach it. */
	MemoryContextSwitchTo(TopMemoryContext);
	tables = lappend(tables, table);
	MemoryContextSetParent(context, TopMemoryContext);
	MemoryContextSwitchTo(caller);
	return table;
}

AttachedTable *
attached_table_acquire(Relation relation, int64 attachment_id)
{
	AttachedTable *found = NULL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		AttachedTable *table = lfirst(cell);

		if (table->in_use)
			continue;
		if (table->is_stale)
		{
			tables = foreach_delete_current(tables, cell);
			MemoryContextDelete(table->context);
			continue;
		}
		if (table->relid == RelationGetRelid(relation) && table->user == GetUserId() &&
			table->attachment_id == attachment_id)
			found = table;
	}
	if (found == NULL)
		found = make_table(relation, attachment_id);
	found->in_use = true;
	return found;
}

void
attached_table_release(AttachedTable *table)
{
	ExecClearTuple(table->row);
	ExecClearTuple(table->old);
	ExecClearTuple(table->new);
	table->in_use = false;
}

static void
release_hold(void *arg)
{
	attached_table_unhold(arg);
}

AttachedHold *
attached_table_hold(AttachedTable *table)
{
	AttachedHold *hold = palloc(sizeof(AttachedHold));

	hold->table = table;
	hold->release.func = release_hold;
	hold->release.arg = hold;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &hold->release);
	return hold;
}

void
attached_table_unhold(AttachedHold *hold)
{
	if (hold->table != NULL)
		attached_table_release(hold->table);
	hold->table = NULL;
}
