/*
 * remediation_sql.c
 *	  The safer jobs that some of a document's rules offer, as rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "language/document.h"
#include "language/policy.h"
#include "rows.h"

/*
 * rule, remediation_id, title, summary, replacement_topic, replacement_capability,
 * add_labels, remove_labels
 */
#define REMEDIATION_COLUMNS 8

PG_FUNCTION_INFO_V1(policy_document_remediations);

/* A mapping of scalars as an object of strings; empty where there is none. */
static Datum
labels_datum(const PolicyNode *mapping)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; mapping != NULL && i < mapping->u.mapping.count; i++)
	{
		const PolicyPair *pair = &mapping->u.mapping.pairs[i];
		JsonbValue	string = {.type = jbvString};

		string.val.string.val = pair->key->u.scalar.text;
		string.val.string.len = pair->key->u.scalar.len;
		pushJsonbValue(&state, WJB_KEY, &string);
		string.val.string.val = pair->value->u.scalar.text;
		string.val.string.len = pair->value->u.scalar.len;
		pushJsonbValue(&state, WJB_VALUE, &string);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Datum
names_datum(const PolicyNode *sequence)
{
	ArrayBuildState *names = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	for (int i = 0; sequence != NULL && i < sequence->u.sequence.count; i++)
	{
		const PolicyNode *item = sequence->u.sequence.items[i];

		names = accumArrayResult(names,
								 PointerGetDatum(cstring_to_text_with_len(item->u.scalar.text,
																		  item->u.scalar.len)),
								 false, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(names, CurrentMemoryContext);
}

static void
put_remediation(const PolicyRule *rule, const PolicyRemediation *remediation,
				Tuplestorestate *rows, TupleDesc descriptor)
{
	const char *strings[] = {
		rule->id, remediation->id, remediation->title, remediation->summary,
		remediation->replacement_topic, remediation->replacement_capability
	};
	Datum		values[REMEDIATION_COLUMNS] = {0};
	bool		nulls[REMEDIATION_COLUMNS] = {false};
	int			column;

	for (column = 0; column < (int) lengthof(strings); column++)
	{
		nulls[column] = strings[column] == NULL;
		if (strings[column] != NULL)
			values[column] = CStringGetTextDatum(strings[column]);
	}
	values[column++] = labels_datum(remediation->add_labels);
	values[column] = names_datum(remediation->remove_labels);
	tuplestore_putvalues(rows, descriptor, values, nulls);
}

static bool
is_among(const char *id, const Datum *ids, const bool *nulls, int count)
{
	int			len = strlen(id);

	for (int i = 0; i < count; i++)
	{
		text	   *other = nulls[i] ? NULL : DatumGetTextPP(ids[i]);

		if (other != NULL && (int) VARSIZE_ANY_EXHDR(other) == len &&
			memcmp(VARDATA_ANY(other), id, len) == 0)
			return true;
	}
	return false;
}

/* policy.document_remediations(document, rules text[]) */
Datum
policy_document_remediations(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	TupleDesc	descriptor;
	Tuplestorestate *rows = policy_begin_rows(fcinfo, &descriptor);
	PolicyDiagnostics diags;
	Policy	   *policy;
	Datum	   *ids;
	bool	   *nulls;
	int			nids;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &ids, &nulls,
					  &nids);
	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	for (int decision = POLICY_DENY; policy != NULL && decision >= POLICY_THROTTLE; decision--)
	{
		for (int i = 0; i < policy->nrules; i++)
		{
			const PolicyRule *rule = &policy->rules[i];

			if ((int) rule->decision != decision || rule->nremediations == 0 ||
				!is_among(rule->id, ids, nulls, nids))
				continue;
			for (int j = 0; j < rule->nremediations; j++)
				put_remediation(rule, &rule->remediations[j], rows, descriptor);
		}
	}
	return (Datum) 0;
}
