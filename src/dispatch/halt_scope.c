/*
 * halt_scope.c
 *	  Which jobs a halt covers.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "dispatch/halt_scope.h"
#include "language/diagnostics.h"
#include "language/normalize.h"
#include "language/pattern.h"

PG_FUNCTION_INFO_V1(policy_halt_scope);
PG_FUNCTION_INFO_V1(policy_halt_covers);

static const char *const scope_hint =
"A scope has any of tenant_id, topic (a pattern, like job.pay.*) and actor_id, and covers what all of them hold for; {} covers everything.";

static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/* Returns what is wrong with a value that is compared as a whole, or NULL. */
static const char *
read_name(const JsonbValue *value, const char *key, JobString *name)
{
	const char *normal;

	if (value->type != jbvString)
		return psprintf("%s is not a string", key);
	if (!policy_normalize(value->val.string.val, value->val.string.len, POLICY_TRIM,
						  &normal, &name->len))
		return psprintf("%s has more than 30 combining characters in a row", key);
	if (name->len == 0)
		return psprintf("%s is blank", key);
	name->data = pnstrdup(normal, name->len);
	return NULL;
}

static const char *
read_topic(const JsonbValue *value, HaltScope *scope, const char **hint)
{
	PolicyMark	mark = {1, 1};
	PolicyDiagnostics diags;
	PolicyPattern *parsed;

	if (value->type != jbvString)
		return "topic is not a string";
	policy_diagnostics_init(&diags);
	parsed = policy_pattern_parse(value->val.string.val, value->val.string.len, mark, &diags);
	if (parsed == NULL)
	{
		if (diags.count > 0 && diags.items[0].hint != NULL)
			*hint = diags.items[0].hint;
		return diags.count > 0 ? psprintf("topic: %s", diags.items[0].message) : "topic is no pattern";
	}
	glob_compile(parsed, NULL, &scope->topic);
	scope->has_topic = true;
	return NULL;
}

static const char *
read_key(const JsonbValue *key, const JsonbValue *value, HaltScope *scope, const char **hint)
{
	if (key_is(key, "tenant_id"))
		return read_name(value, "tenant_id", &scope->tenant_id);
	if (key_is(key, "actor_id"))
		return read_name(value, "actor_id", &scope->actor_id);
	if (key_is(key, "topic"))
		return read_topic(value, scope, hint);
	return psprintf("\"%.*s\" is no key of a scope", Min(key->val.string.len, 128),
					key->val.string.val);
}

const char *
halt_scope_read(Jsonb *source, HaltScope *scope, const char **hint)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key = {0};
	JsonbValue	value;
	const char *wrong = NULL;

	memset(scope, 0, sizeof(HaltScope));
	*hint = scope_hint;
	if (source == NULL || !JB_ROOT_IS_OBJECT(source))
		return "It is not an object";
	iterator = JsonbIteratorInit(&source->root);
	while (wrong == NULL &&
		   (token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value;
		else if (token == WJB_VALUE)
			wrong = read_key(&key, &value, scope, hint);
	}
	return wrong;
}

static bool
same_string(const JobString *a, const JobString *b)
{
	return b->data != NULL && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

bool
halt_scope_covers(const HaltScope *scope, const Job *job)
{
	const JobString *topic = &job->fields[POLICY_FIELD_TOPIC];

	/* Nobody knows whose it is. */
	if (job->invalid != NULL)
		return true;
	if (scope->tenant_id.data != NULL &&
		!same_string(&scope->tenant_id, &job->fields[POLICY_FIELD_TENANT]))
		return false;
	if (scope->actor_id.data != NULL &&
		!same_string(&scope->actor_id, &job->fields[POLICY_FIELD_ACTOR_ID]))
		return false;
	return !scope->has_topic ||
		(topic->data != NULL && glob_match(&scope->topic, topic->data, topic->len));
}

static HaltScope *
require_scope(Jsonb *source)
{
	HaltScope  *scope = palloc(sizeof(HaltScope));
	const char *hint;
	const char *wrong = halt_scope_read(source, scope, &hint);

	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bad scope of a halt"),
				 errdetail("%s.", wrong),
				 errhint("%s", hint)));
	return scope;
}

static void
push_string(JsonbParseState **state, const char *name, const char *data, int len)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = unconstify(char *, name);
	item.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &item);
	item.val.string.val = unconstify(char *, data);
	item.val.string.len = len;
	pushJsonbValue(state, WJB_VALUE, &item);
}

/*
 * A topic's pattern as it is kept: in lower case where that changes nothing but its
 * looks.  What is in brackets, escaped or not ASCII may mean something else once it is
 * normalised before it is parsed.
 */
static void
push_topic(JsonbParseState **state, const JsonbValue *topic)
{
	const char *data = topic->val.string.val;
	int			len = topic->val.string.len;
	bool		plain = true;

	for (int i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(data[i]) || data[i] == '[' || data[i] == '\\')
			plain = false;
	}
	if (!plain || !policy_normalize(data, len, POLICY_TRIM, &data, &len))
	{
		data = topic->val.string.val;
		len = topic->val.string.len;
	}
	push_string(state, "topic", data, len);
}

/* policy.halt_scope(scope jsonb) */
Datum
policy_halt_scope(PG_FUNCTION_ARGS)
{
	Jsonb	   *source = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	HaltScope  *scope = require_scope(source);
	JsonbParseState *state = NULL;
	JsonbValue	space;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (scope->tenant_id.data != NULL)
		push_string(&state, "tenant_id", scope->tenant_id.data, scope->tenant_id.len);
	if (scope->actor_id.data != NULL)
		push_string(&state, "actor_id", scope->actor_id.data, scope->actor_id.len);
	if (scope->has_topic)
		push_topic(&state, getKeyJsonValueFromContainer(&source->root, "topic", 5, &space));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* policy.halt_covers(scope jsonb, job jsonb) */
Datum
policy_halt_covers(PG_FUNCTION_ARGS)
{
	HaltScope  *scope = require_scope(PG_GETARG_JSONB_P(0));
	Job			job;

	policy_job_read(PG_GETARG_JSONB_P(1), &job);
	PG_RETURN_BOOL(halt_scope_covers(scope, &job));
}
