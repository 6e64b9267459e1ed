/*
 * attached_row.c
 *	  A row of an attached table: the job that it is, and the forms that it is put in.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "attach/attached_row.h"

void
attached_show(AttachedTable *table, HeapTuple row)
{
	ResetExprContext(table->econtext);
	ExecStoreHeapTuple(row, table->row, false);
}

void
attached_show_change(AttachedTable *table, HeapTuple old, HeapTuple new)
{
	ResetExprContext(table->econtext);
	ExecStoreHeapTuple(old, table->old, false);
	if (new != NULL)
		ExecStoreHeapTuple(new, table->new, false);
	else
		ExecStoreAllNullTuple(table->new);
}

static Jsonb *
json_null(void)
{
	JsonbValue	value;

	value.type = jbvNull;
	return JsonbValueToJsonb(&value);
}

Jsonb *
attached_job(AttachedTable *table)
{
	MemoryContext caller = MemoryContextSwitchTo(table->econtext->ecxt_per_tuple_memory);
	Jsonb	   *job = NULL;

	if (table->object != NULL)
		job = attached_object_build(table->object, table->econtext);
	if (job == NULL)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(table->job, table->econtext, &isnull);

		job = isnull ? json_null() : DatumGetJsonbP(value);
	}
	MemoryContextSwitchTo(caller);
	return job;
}

text *
attached_key(AttachedTable *table)
{
	bool		isnull;
	Datum		value = ExecEvalExprSwitchContext(table->key, table->econtext, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("a row of attached table %s has no job_key", table->job_table),
				 errhint("Without it no decision could be found again: give policy_attach a job_key that is never NULL.")));
	return DatumGetTextPP(value);
}

bool
attached_holds(AttachedTable *table, ExprState *condition)
{
	bool		isnull;
	Datum		value;

	if (condition == NULL)
		return false;
	value = ExecEvalExprSwitchContext(condition, table->econtext, &isnull);
	return !isnull && DatumGetBool(value);
}

bool
attached_has_ended(AttachedTable *table, HeapTuple row)
{
	if (table->ends == NULL)
		return false;
	ExecStoreAllNullTuple(table->old);
	ExecStoreHeapTuple(row, table->new, false);
	return attached_holds(table, table->ends);
}

bool
attached_comes_started(AttachedTable *table, HeapTuple row)
{
	ExecStoreAllNullTuple(table->old);
	ExecStoreHeapTuple(row, table->new, false);
	return attached_holds(table, table->starts);
}

/*
 * The image of a column of the row that is shown; NULL where it is too large, or stored
 * elsewhere.
 */
static const char *
coming_image(AttachedTable *table, AttrNumber column, Datum *space, bool *isnull, Size *size)
{
	Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, column - 1);

	*space = slot_getattr(table->row, column, isnull);
	*size = *isnull || attribute->attbyval ? sizeof(Datum) :
		datumGetSize(*space, false, attribute->attlen);
	if (*isnull)
		*space = (Datum) 0;
	if (*isnull || attribute->attbyval)
		return (const char *) space;
	if (*size > ATTACHED_COMING_SIZE ||
		(attribute->attlen == -1 && VARATT_IS_EXTERNAL(DatumGetPointer(*space))))
		return NULL;
	return DatumGetPointer(*space);
}

/* Whether what is known of the last row is true of the row that is shown. */
static bool
comes_again(AttachedTable *table)
{
	const AttachedComing *coming = &table->coming;

	if (!coming->is_known)
		return false;
	for (int i = 0; i < coming->ncolumns; i++)
	{
		Datum		space;
		bool		isnull;
		Size		size;
		const char *image = coming_image(table, coming->columns[i], &space, &isnull, &size);

		if (image == NULL || isnull != coming->nulls[i] || size != coming->sizes[i] ||
			memcmp(image, coming->bytes[i], size) != 0)
			return false;
	}
	return true;
}

static void
remember_coming(AttachedTable *table)
{
	AttachedComing *coming = &table->coming;

	coming->is_known = coming->is_repeated;
	for (int i = 0; coming->is_known && i < coming->ncolumns; i++)
	{
		Datum		space;
		const char *image = coming_image(table, coming->columns[i], &space, &coming->nulls[i],
										 &coming->sizes[i]);

		if (image == NULL)
			coming->is_known = false;
		else
			memcpy(coming->bytes[i], image, coming->sizes[i]);
	}
}

const AttachedComing *
attached_coming(AttachedTable *table, HeapTuple row)
{
	AttachedComing *coming = &table->coming;

	if (comes_again(table))
		return coming;
	coming->is_known = false;
	coming->has_ended = attached_has_ended(table, row);
	coming->is_started = attached_comes_started(table, row);
	remember_coming(table);
	return coming;
}

static void
add_datum(pg_crc32c *crc, uint32 *total, Datum value, Form_pg_attribute attribute)
{
	const char *data = (const char *) &value;
	uint32		len = sizeof(Datum);

	if (!attribute->attbyval)
	{
		struct varlena *varlena;

		switch (attribute->attlen)
		{
			case -1:
				varlena = PG_DETOAST_DATUM_PACKED(value);

				data = VARDATA_ANY(varlena);
				len = VARSIZE_ANY_EXHDR(varlena);
				break;
			case -2:
				data = DatumGetCString(value);
				len = strlen(data);
				break;
			default:
				data = DatumGetPointer(value);
				len = attribute->attlen;
				break;
		}
	}
	*total += len;
	COMP_CRC32C(*crc, data, len);
}

uint64
attached_content(AttachedTable *table)
{
	MemoryContext caller = MemoryContextSwitchTo(table->econtext->ecxt_per_tuple_memory);
	uint32		total = 0;
	int			member = -1;
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	while ((member = bms_next_member(table->content, member)) >= 0)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, member - 1);
		bool		isnull;
		Datum		value;

		if (attribute->attgenerated != '\0')
			continue;
		value = slot_getattr(table->row, member, &isnull);
		COMP_CRC32C(crc, &isnull, sizeof(isnull));
		if (!isnull)
			add_datum(&crc, &total, value, attribute);
	}
	FIN_CRC32C(crc);
	MemoryContextSwitchTo(caller);
	return (uint64) total << 32 | crc;
}

static void
set_name(AttachedTable *table, AttachName name, Datum value, bool isnull)
{
	ParamExternData *param = &table->econtext->ecxt_param_list_info->params[name - 1];

	param->value = value;
	param->isnull = isnull;
}

void
attached_set_names(AttachedTable *table, const TimestampTz *retry_at, text *reason,
				   Jsonb *constraints)
{
	set_name(table, ATTACH_RETRY_AT, retry_at != NULL ? TimestampTzGetDatum(*retry_at) : 0,
			 retry_at == NULL);
	set_name(table, ATTACH_REASON, PointerGetDatum(reason), reason == NULL);
	set_name(table, ATTACH_CONSTRAINTS, PointerGetDatum(constraints), constraints == NULL);
}

HeapTuple
attached_form(AttachedTable *table, AttachedFormKind kind, HeapTuple row)
{
	const AttachedForm *form = &table->forms[kind];
	int		   *columns;
	Datum	   *values;
	bool	   *nulls;

	if (form->ncolumns == 0)
		return row;
	columns = palloc(sizeof(int) * form->ncolumns);
	values = palloc(sizeof(Datum) * form->ncolumns);
	nulls = palloc(sizeof(bool) * form->ncolumns);
	for (int i = 0; i < form->ncolumns; i++)
	{
		columns[i] = form->columns[i].attnum;
		values[i] = ExecEvalExprSwitchContext(form->columns[i].value, table->econtext, &nulls[i]);
	}
	return heap_modify_tuple_by_cols(row, table->tupdesc, form->ncolumns, columns, values, nulls);
}

bool
attached_differ(AttachedTable *table, HeapTuple a, HeapTuple b, const AttrNumber *columns,
				int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, columns[i] - 1);
		bool		nulls[2];
		Datum		values[2];

		values[0] = heap_getattr(a, columns[i], table->tupdesc, &nulls[0]);
		values[1] = heap_getattr(b, columns[i], table->tupdesc, &nulls[1]);
		if (nulls[0] != nulls[1] ||
			(!nulls[0] && !datum_image_eq(values[0], values[1], attribute->attbyval,
										  attribute->attlen)))
			return true;
	}
	return false;
}

bool
attached_differ_in(AttachedTable *table, HeapTuple a, HeapTuple b, const Bitmapset *columns)
{
	int			member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	column = member;

		if (attached_differ(table, a, b, &column, 1))
			return true;
	}
	return false;
}

/* Texts that read back as what they were, whatever the session prefers. */
static int
set_text_modes(void)
{
	int			level = NewGUCNestLevel();
	static const char *const modes[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"}
	};

	for (int i = 0; i < (int) lengthof(modes); i++)
		(void) set_config_option(modes[i][0], modes[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, char *string)
{
	JsonbValue	value;

	value.type = string == NULL ? jbvNull : jbvString;
	if (string != NULL)
	{
		value.val.string.val = string;
		value.val.string.len = strlen(string);
	}
	pushJsonbValue(state, token, &value);
}

Jsonb *
attached_columns_object(AttachedTable *table, HeapTuple row, const AttrNumber *columns,
						int ncolumns)
{
	JsonbParseState *state = NULL;
	int			level = set_text_modes();

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, columns[i] - 1);
		bool		isnull;
		Datum		value = heap_getattr(row, columns[i], table->tupdesc, &isnull);
		char	   *string = NULL;
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
		if (!isnull)
			string = OidOutputFunctionCall(output, value);
		push_string(&state, WJB_KEY, NameStr(attribute->attname));
		push_string(&state, WJB_VALUE, string);
	}
	AtEOXact_GUC(true, level);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
attached_wanted(AttachedTable *table, HeapTuple row)
{
	return attached_columns_object(table, row, table->guarded, table->nguarded);
}

Jsonb *
attached_row_key(AttachedTable *table, HeapTuple row)
{
	return attached_columns_object(table, row, table->key_columns, table->nkey);
}

static Datum
read_string(Form_pg_attribute attribute, const JsonbValue *value)
{
	Oid			input;
	Oid			parameter;

	getTypeInputInfo(attribute->atttypid, &input, &parameter);
	return OidInputFunctionCall(input, pnstrdup(value->val.string.val, value->val.string.len),
								parameter, attribute->atttypmod);
}

HeapTuple
attached_restore(AttachedTable *table, HeapTuple row, Jsonb *wanted)
{
	int		   *columns = palloc(sizeof(int) * Max(table->nguarded, 1));
	Datum	   *values = palloc(sizeof(Datum) * Max(table->nguarded, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(table->nguarded, 1));
	int			count = 0;
	int			level;

	if (wanted == NULL)
		return row;
	level = set_text_modes();
	for (int i = 0; i < table->nguarded; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, table->guarded[i] - 1);
		JsonbValue	space;
		JsonbValue *value = getKeyJsonValueFromContainer(&wanted->root, NameStr(attribute->attname),
														 strlen(NameStr(attribute->attname)),
														 &space);

		if (value == NULL)
			continue;
		columns[count] = table->guarded[i];
		nulls[count] = value->type != jbvString;
		values[count] = nulls[count] ? (Datum) 0 : read_string(attribute, value);
		count++;
	}
	AtEOXact_GUC(true, level);
	return heap_modify_tuple_by_cols(row, table->tupdesc, count, columns, values, nulls);
}

HeapTuple
attached_keep(AttachedTable *table, HeapTuple a, HeapTuple b)
{
	int		   *columns = palloc(sizeof(int) * Max(table->nguarded, 1));
	Datum	   *values = palloc(sizeof(Datum) * Max(table->nguarded, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(table->nguarded, 1));

	for (int i = 0; i < table->nguarded; i++)
	{
		columns[i] = table->guarded[i];
		values[i] = heap_getattr(b, table->guarded[i], table->tupdesc, &nulls[i]);
	}
	return heap_modify_tuple_by_cols(a, table->tupdesc, table->nguarded, columns, values, nulls);
}
