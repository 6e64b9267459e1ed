/*
 * verdict_sql.c
 *	  A verdict as the composite policy_verdict.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/syscache.h"

#include "columns.h"
#include "engine/verdict_cache.h"
#include "engine/verdict_sql.h"

/* The composite's columns, in order. */
enum
{
	VERDICT_DECISION,
	VERDICT_REASON,
	VERDICT_CONSTRAINTS,
	VERDICT_MATCHED_RULE,
	VERDICT_MATCHED_RULES,
	VERDICT_MONITORED_RULES,
	VERDICT_SNAPSHOT,
	VERDICT_RETRY_AFTER_SEC,
	VERDICT_NCOLUMNS
};

static const Oid column_types[VERDICT_NCOLUMNS] = {
	[VERDICT_DECISION] = POLICY_OWN_TYPE,
	[VERDICT_REASON] = TEXTOID,
	[VERDICT_CONSTRAINTS] = JSONBOID,
	[VERDICT_MATCHED_RULE] = TEXTOID,
	[VERDICT_MATCHED_RULES] = TEXTARRAYOID,
	[VERDICT_MONITORED_RULES] = TEXTARRAYOID,
	[VERDICT_SNAPSHOT] = TEXTOID,
	[VERDICT_RETRY_AFTER_SEC] = INT4OID,
};

static Oid
decision_oid(Oid enumtype, PolicyDecision decision)
{
	HeapTuple	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(enumtype),
										CStringGetDatum(policy_decision_labels[decision]));
	Oid			oid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "policy_decision has no label \"%s\"", policy_decision_labels[decision]);
	oid = ((Form_pg_enum) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	return oid;
}

void
policy_decision_oids(Oid enumtype, Oid *decisions)
{
	for (int i = 0; i < POLICY_NDECISIONS; i++)
		decisions[i] = decision_oid(enumtype, (PolicyDecision) i);
}

void
policy_verdict_shape(TupleDesc tupdesc, VerdictShape *shape)
{
	if (tupdesc->natts != VERDICT_NCOLUMNS ||
		!policy_has_columns(tupdesc, column_types, VERDICT_NCOLUMNS))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the columns of the type policy_verdict have been altered"),
				 errhint("Take back what was altered: the type is the extension's own.")));
	shape->tupdesc = tupdesc;
	shape->no_rules = PointerGetDatum(construct_empty_array(TEXTOID));
	memset(shape->decisions, 0, sizeof(shape->decisions));
}

/* Looked up when it is first given: a new session's first decision needs one alone. */
static Oid
shown_decision(VerdictShape *shape, PolicyDecision decision)
{
	if (!OidIsValid(shape->decisions[decision]))
		shape->decisions[decision] =
			decision_oid(TupleDescAttr(shape->tupdesc, VERDICT_DECISION)->atttypid, decision);
	return shape->decisions[decision];
}

Datum
policy_rule_ids(const CompiledRule **rules, int count)
{
	Size		size = ARR_OVERHEAD_NONULLS(1);
	ArrayType  *array;
	char	   *next;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (int i = 0; i < count; i++)
		size += INTALIGN(VARSIZE(rules[i]->id_text));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = TEXTOID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	next = (char *) array + ARR_OVERHEAD_NONULLS(1);
	for (int i = 0; i < count; i++)
	{
		memcpy(next, rules[i]->id_text, VARSIZE(rules[i]->id_text));
		next += INTALIGN(VARSIZE(rules[i]->id_text));
	}
	return PointerGetDatum(array);
}

static Datum
matched_ids(const PolicyVerdict *verdict)
{
	struct varlena *ids = verdict_cache_ids(verdict);

	if (ids == NULL)
	{
		ids = (struct varlena *) DatumGetPointer(policy_rule_ids(verdict->matched,
																 verdict->nmatched));
		verdict_cache_add_ids(verdict, ids);
	}
	return PointerGetDatum(ids);
}

Datum
policy_verdict_datum(VerdictShape *shape, const PolicyVerdict *verdict, text *snapshot)
{
	Datum		values[VERDICT_NCOLUMNS] = {0};
	bool		nulls[VERDICT_NCOLUMNS] = {false};

	values[VERDICT_DECISION] = ObjectIdGetDatum(shown_decision(shape, verdict->decision));
	values[VERDICT_REASON] = PointerGetDatum(verdict->reason);
	values[VERDICT_CONSTRAINTS] = JsonbPGetDatum(verdict->constraints);
	if (verdict->winner != NULL)
		values[VERDICT_MATCHED_RULE] = PointerGetDatum(verdict->winner->id_text);
	else
		nulls[VERDICT_MATCHED_RULE] = true;
	values[VERDICT_MATCHED_RULES] = verdict->nmatched == 0 ? shape->no_rules :
		matched_ids(verdict);
	values[VERDICT_MONITORED_RULES] = verdict->nmonitored == 0 ? shape->no_rules :
		policy_rule_ids(verdict->monitored, verdict->nmonitored);
	if (snapshot != NULL)
		values[VERDICT_SNAPSHOT] = PointerGetDatum(snapshot);
	else
		nulls[VERDICT_SNAPSHOT] = true;
	if (verdict->decision == POLICY_THROTTLE)
		values[VERDICT_RETRY_AFTER_SEC] = Int32GetDatum(verdict->retry_after_sec);
	else
		nulls[VERDICT_RETRY_AFTER_SEC] = true;
	return HeapTupleGetDatum(heap_form_tuple(shape->tupdesc, values, nulls));
}
