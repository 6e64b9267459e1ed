/*
 * explain_text_sql.c
 *	  What explanations say of conditions, and of what a job has there.
 *
 * Jobs are hostile: what is shown of one is on one line, cut, and cannot be taken
 * for the words around it.  Values are shown as they are compared, normalised, and as
 * they were given where that differs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "engine/conditions.h"
#include "engine/explain.h"
#include "engine/jsonb_walk.h"
#include "language/diagnostics.h"
#include "language/normalize.h"

/* What is listed of patterns, values and reads. */
#define MAX_LISTED 8
#define MAX_READS 4

/* What is written without quotes. */
#define MAX_PLAIN_BYTES 60

static bool
is_plain(const char *data, int len)
{
	for (int i = 0; i < len; i++)
	{
		char		c = data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  (c != '\0' && strchr("._:/*?@-", c) != NULL)))
			return false;
	}
	return len > 0 && len <= MAX_PLAIN_BYTES;
}

void
policy_append_word(StringInfo out, const char *data, int len)
{
	if (is_plain(data, len))
	{
		appendBinaryStringInfo(out, data, len);
		return;
	}
	appendStringInfoChar(out, '"');
	for (const char *c = policy_excerpt(data, len); *c != '\0'; c++)
	{
		if (*c == '"')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '"');
}

void
policy_append_time(StringInfo out, TimestampTz at)
{
	static const int utc = 0;
	char		text[MAXDATELEN + 1];

	appendStringInfoString(out, JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc));
}

/* ---- as it was given ---- */

/* Where a job says a field. */
typedef struct Spelling
{
	const char *object;			/* NULL: at the top */
	const char *key;
} Spelling;

#define MAX_SPELLINGS 2

static const Spelling spellings[POLICY_NFIELDS][MAX_SPELLINGS] = {
	[POLICY_FIELD_TENANT] = {{NULL, "tenant_id"}, {NULL, "tenant"}},
	[POLICY_FIELD_TOPIC] = {{NULL, "topic"}},
	[POLICY_FIELD_CAPABILITY] = {{NULL, "capability"}},
	[POLICY_FIELD_PACK_ID] = {{NULL, "pack_id"}},
	[POLICY_FIELD_ACTOR_ID] = {{"actor", "id"}, {NULL, "actor_id"}},
	[POLICY_FIELD_ACTOR_TYPE] = {{"actor", "type"}, {NULL, "actor_type"}},
	[POLICY_FIELD_MCP_SERVER] = {{"mcp", "server"}},
	[POLICY_FIELD_MCP_TOOL] = {{"mcp", "tool"}},
	[POLICY_FIELD_MCP_RESOURCE] = {{"mcp", "resource"}},
	[POLICY_FIELD_MCP_ACTION] = {{"mcp", "action"}},
	[POLICY_FIELD_ACTOR_ROLES] = {{"actor", "roles"}, {NULL, "actor_roles"}},
	[POLICY_FIELD_RISK_TAGS] = {{NULL, "risk_tags"}},
	[POLICY_FIELD_REQUIRES] = {{NULL, "requires"}},
};

static JsonbContainer *
container_of(const JsonbValue *value, bool object)
{
	if (value == NULL || value->type != jbvBinary ||
		JsonContainerIsObject(value->val.binary.data) != object)
		return NULL;
	return value->val.binary.data;
}

static JsonbValue *
value_at(const Job *job, const Spelling *spelling, JsonbValue *space)
{
	JsonbContainer *object = &job->source->root;

	if (spelling->object != NULL)
	{
		JsonbValue	inner;

		object = container_of(getKeyJsonValueFromContainer(object, spelling->object,
														   strlen(spelling->object), &inner), true);
	}
	return object == NULL || spelling->key == NULL ? NULL :
		getKeyJsonValueFromContainer(object, spelling->key, strlen(spelling->key), space);
}

/* Whether a string is a spelling of a normalised value, other than that itself. */
static bool
spells(const JsonbValue *given, const JobString *value)
{
	const char *normal;
	int			len;

	return given->type == jbvString &&
		!(given->val.string.len == value->len &&
		  memcmp(given->val.string.val, value->data, value->len) == 0) &&
		policy_normalize(given->val.string.val, given->val.string.len, POLICY_TRIM, &normal, &len) &&
		len == value->len && memcmp(normal, value->data, len) == 0;
}

static void
append_given(StringInfo out, const JsonbValue *given)
{
	appendStringInfoString(out, " (given as ");
	policy_append_word(out, given->val.string.val, given->val.string.len);
	appendStringInfoChar(out, ')');
}

static bool
append_given_item(StringInfo out, const JsonbValue *value, const JobString *item)
{
	JsonbContainer *array = container_of(value, false);
	JsonbWalk	walk;
	JsonbValue	given;

	if (array == NULL || !JsonContainerIsArray(array))
		return false;
	jsonb_walk_array(&walk, array);
	while (jsonb_walk_element(&walk, &given))
	{
		if (!spells(&given, item))
			continue;
		append_given(out, &given);
		return true;
	}
	return false;
}

static void
append_field_value(StringInfo out, PolicyField field, const JobString *value, const Job *job)
{
	policy_append_word(out, value->data, value->len);
	for (int i = 0; i < MAX_SPELLINGS; i++)
	{
		JsonbValue	space;
		JsonbValue *given = value_at(job, &spellings[field][i], &space);

		if (given == NULL)
			continue;
		if (field >= POLICY_FIRST_SET)
		{
			if (append_given_item(out, given, value))
				return;
		}
		else if (spells(given, value))
		{
			append_given(out, given);
			return;
		}
	}
}

static void
append_label_value(StringInfo out, const CompiledLabel *label, const JobString *value,
				   const Job *job)
{
	static const Spelling labels = {NULL, "labels"};
	JobString	name = {label->name, label->len};
	JsonbValue	space;
	JsonbContainer *object = container_of(value_at(job, &labels, &space), true);
	JsonbWalk	walk;
	JsonbValue	given;
	JsonbValue	key;

	policy_append_word(out, value->data, value->len);
	if (object == NULL)
		return;
	key.type = jbvString;
	jsonb_walk_object(&walk, object);
	while (jsonb_walk_pair(&walk, (const char **) &key.val.string.val, &key.val.string.len, &given))
	{
		bool		same = key.val.string.len == name.len &&
		memcmp(key.val.string.val, name.data, name.len) == 0;

		if ((same || spells(&key, &name)) && spells(&given, value))
		{
			append_given(out, &given);
			return;
		}
	}
}

/* ---- conditions ---- */

/* A condition, or a label's, with the values that it is asked about. */
typedef struct AskedCondition
{
	const PolicyCondition *source;
	const GlobLists *lists;
	const CompiledLabel *label; /* or NULL */
	PolicyField field;
	const JobString *values;
	int			nvalues;
	const Job  *job;
} AskedCondition;

static void
append_value(StringInfo out, const AskedCondition *asked, const JobString *value)
{
	if (asked->label != NULL)
		append_label_value(out, asked->label, value, asked->job);
	else
		append_field_value(out, asked->field, value, asked->job);
}

static void
append_values(StringInfo out, const AskedCondition *asked)
{
	if (asked->nvalues == 0)
		appendStringInfoString(out, "no value");
	for (int i = 0; i < asked->nvalues; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		if (i == MAX_LISTED)
		{
			appendStringInfo(out, "and %d more", asked->nvalues - i);
			return;
		}
		append_value(out, asked, &asked->values[i]);
	}
}

static void
append_pattern(StringInfo out, const PolicyPattern *pattern)
{
	policy_append_word(out, pattern->source, pattern->sourcelen);
}

static void
append_patterns(StringInfo out, const PolicyPatternList *patterns)
{
	for (int i = 0; i < patterns->count; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		if (i == MAX_LISTED)
		{
			appendStringInfo(out, "and %d more", patterns->count - i);
			return;
		}
		append_pattern(out, patterns->items[i]);
	}
}

/* The value that a pattern matches, or NULL. */
static const JobString *
value_for(const AskedCondition *asked, const Glob *glob)
{
	PolicyBudget no_limit = {0};

	for (int i = 0; i < asked->nvalues; i++)
	{
		if (glob_matches(glob, &asked->values[i], &no_limit))
			return &asked->values[i];
	}
	return NULL;
}

/* The first of count patterns that matches a value, or -1. */
static int
first_match(const AskedCondition *asked, const Glob *globs, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (value_for(asked, &globs[i]) != NULL)
			return i;
	}
	return -1;
}

/* All that `all` lists and the job has not; false where it has everything. */
static bool
append_missing(StringInfo out, const AskedCondition *asked)
{
	const Glob *all = asked->lists->globs + asked->lists->nany;
	int			missing = 0;

	for (int i = 0; i < asked->lists->nall; i++)
	{
		if (value_for(asked, &all[i]) != NULL)
			continue;
		appendStringInfoString(out, missing == 0 ? "missing " : ", ");
		append_pattern(out, asked->source->all.items[i]);
		if (++missing == MAX_LISTED)
			break;
	}
	return missing > 0;
}

static void
append_pair(StringInfo out, const AskedCondition *asked, const Glob *glob,
			const PolicyPattern *pattern, const char *verb)
{
	append_value(out, asked, value_for(asked, glob));
	appendStringInfoString(out, verb);
	append_pattern(out, pattern);
}

/* Why a condition fails: its first list that does. */
static bool
append_failure(StringInfo out, const AskedCondition *asked)
{
	const GlobLists *lists = asked->lists;
	const Glob *none = lists->globs + lists->nany + lists->nall;
	int			excluded;

	if (lists->nany > 0 && first_match(asked, lists->globs, lists->nany) < 0)
	{
		append_values(out, asked);
		appendStringInfoString(out, asked->nvalues == 0 ? "; asked is " :
							   lists->nany == 1 ? " does not match " : " matches none of ");
		append_patterns(out, &asked->source->any);
		return true;
	}
	if (append_missing(out, asked))
	{
		appendStringInfoString(out, "; the job has ");
		append_values(out, asked);
		return true;
	}
	excluded = first_match(asked, none, lists->nnone);
	if (excluded < 0)
		return false;
	append_pair(out, asked, &none[excluded], asked->source->none.items[excluded],
				" matches ");
	appendStringInfoString(out, ", which none may");
	return true;
}

/* How a condition holds: by which pattern. */
static void
append_success(StringInfo out, const AskedCondition *asked)
{
	const GlobLists *lists = asked->lists;
	const Glob *all = lists->globs + lists->nany;
	const char *separator = "";

	if (lists->nany > 0)
	{
		int			by = first_match(asked, lists->globs, lists->nany);

		append_pair(out, asked, &lists->globs[by], asked->source->any.items[by], " matches ");
		separator = ", ";
	}
	for (int i = 0; i < Min(lists->nall, MAX_LISTED); i++)
	{
		appendStringInfoString(out, separator);
		append_pair(out, asked, &all[i], asked->source->all.items[i], " matches ");
		separator = ", ";
	}
	if (lists->nnone == 0)
		return;
	appendStringInfo(out, "%snone of ", separator);
	append_patterns(out, &asked->source->none);
}

static void
ask_field(const ExplainedRule *rule, int index, const Job *job, AskedCondition *asked)
{
	const CompiledCondition *condition = &rule->rule->match.conditions[index];

	asked->field = condition->field;
	asked->source = &rule->source->match.fields[condition->field];
	asked->lists = &condition->lists;
	asked->values = condition_values(condition, job, &asked->nvalues);
}

static void
ask_label(const ExplainedRule *rule, int index, const Job *job, AskedCondition *asked)
{
	const CompiledLabel *label = &rule->rule->match.labels[index];

	asked->label = label;
	asked->source = &rule->source->match.labels[index].condition;
	asked->lists = &label->lists;
	asked->values = policy_job_label(job, label->name, label->len);
	asked->nvalues = asked->values != NULL ? 1 : 0;
}

void
policy_append_condition(StringInfo out, const ExplainedRule *rule, RulePart part, const Job *job)
{
	AskedCondition asked = {.job = job};

	if (part.kind == RULE_PART_LABEL)
		ask_label(rule, part.index, job, &asked);
	else
		ask_field(rule, part.index, job, &asked);
	if (asked.label != NULL && asked.label->present)
		append_values(out, &asked);
	else if (!append_failure(out, &asked))
		append_success(out, &asked);
}

/* ---- what a `when` reads ---- */

static void
append_step(StringInfo out, const PolicyStep *step)
{
	if (step->kind == POLICY_STEP_INDEX)
		appendStringInfo(out, "[%d]", step->index);
	else
	{
		appendStringInfoChar(out, '.');
		policy_append_word(out, step->key, step->keylen);
	}
}

/* What is below a value by a step; NULL where nothing is. */
static JsonbValue *
step_down(const JsonbValue *value, const PolicyStep *step, JsonbValue *space)
{
	JsonbContainer *container = container_of(value, step->kind == POLICY_STEP_KEY);

	if (container == NULL)
		return NULL;
	if (step->kind == POLICY_STEP_KEY)
		return getKeyJsonValueFromContainer(container, step->key, step->keylen, space);
	return JsonContainerIsArray(container) && step->index >= 0 ?
		getIthJsonbValueFromContainer(container, step->index) : NULL;
}

static void
append_json(StringInfo out, const JsonbValue *value)
{
	const char *number;

	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			number = numeric_normalize(value->val.numeric);
			appendStringInfoString(out, policy_excerpt(number, strlen(number)));
			break;
		case jbvString:
			appendStringInfoString(out, "the string ");
			policy_append_word(out, value->val.string.val, value->val.string.len);
			break;
		default:
			appendStringInfoString(out, container_of(value, true) != NULL ? "an object" : "an array");
	}
}

/* Says what is at a path; false where it leads to several places. */
static bool
append_read(StringInfo out, const PolicyPath *path, const Job *job, const char *separator)
{
	StringInfoData place;
	JsonbValue	root;
	JsonbValue	space;
	JsonbValue *value = &root;

	for (int i = 0; i < path->nsteps; i++)
	{
		if (path->steps[i].kind != POLICY_STEP_KEY && path->steps[i].kind != POLICY_STEP_INDEX)
			return false;
	}
	root.type = jbvBinary;
	root.val.binary.data = &job->source->root;
	root.val.binary.len = VARSIZE(job->source) - VARHDRSZ;
	initStringInfo(&place);
	appendStringInfoChar(&place, '$');
	for (int i = 0; i < path->nsteps && value != NULL; i++)
	{
		append_step(&place, &path->steps[i]);
		value = step_down(value, &path->steps[i], &space);
		if (value != NULL)
		{
			root = *value;
			value = &root;
		}
	}
	appendStringInfo(out, "%s%s is ", separator, place.data);
	if (value == NULL)
		appendStringInfoString(out, "absent");
	else
		append_json(out, value);
	return true;
}

void
policy_append_reads(StringInfo out, const char *when, const Job *job)
{
	static const PolicyMark nowhere = {0, 0};
	PolicyPathList reads = {0};
	PolicyPathList nulls = {0};
	PolicyDiagnostics diags;
	bool		lax;
	int			shown = 0;

	policy_diagnostics_init(&diags);
	if (policy_predicate_parse(when, strlen(when), nowhere, &lax, &reads, &nulls, &diags) == NULL)
		return;
	for (int i = 0; i < reads.count && shown < MAX_READS; i++)
	{
		if (append_read(out, &reads.items[i], job, shown == 0 ? ": " : ", "))
			shown++;
	}
}
