/*
 * job.c
 *	  A job's fields, read from jsonb (docs/policy-language.md, section 3).
 *
 * A read that finds the job invalid sets job->invalid and returns false; its
 * callers stop there.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "engine/job.h"
#include "engine/jsonb_walk.h"
#include "engine/nulls.h"
#include "language/normalize.h"

/* The keys of a job that mean something, by length and bytes. */
typedef enum JobKey
{
	KEY_JOB,
	KEY_MCP,
	KEY_ACTOR,
	KEY_TOPIC,
	KEY_LABELS,
	KEY_TENANT,
	KEY_PACK_ID,
	KEY_ACTOR_ID,
	KEY_REQUIRES,
	KEY_RISK_TAGS,
	KEY_TENANT_ID,
	KEY_ACTOR_TYPE,
	KEY_CAPABILITY,
	KEY_ACTOR_ROLES,
	KEY_IDEMPOTENCY_KEY,
	KEY_SECRETS_PRESENT
} JobKey;

#define NKEYS (KEY_SECRETS_PRESENT + 1)
#define MAX_KEY_LENGTH 15

static const char *const job_keys[NKEYS] = {
	"job", "mcp", "actor", "topic", "labels", "tenant", "pack_id", "actor_id", "requires",
	"risk_tags", "tenant_id", "actor_type", "capability", "actor_roles", "idempotency_key",
	"secrets_present"
};

/* The first key of each length, and the one after the last. */
static const uint8 keys_of_length[MAX_KEY_LENGTH + 2] = {
	0, 0, 0, KEY_JOB, KEY_ACTOR, KEY_ACTOR, KEY_LABELS, KEY_PACK_ID, KEY_ACTOR_ID,
	KEY_RISK_TAGS, KEY_ACTOR_TYPE, KEY_ACTOR_ROLES, KEY_IDEMPOTENCY_KEY, KEY_IDEMPOTENCY_KEY,
	KEY_IDEMPOTENCY_KEY, KEY_IDEMPOTENCY_KEY, NKEYS
};

/* What a job has under each key; NULL where it is not there or null. */
typedef struct JobEntries
{
	JsonbValue *values[NKEYS];
	JsonbValue	space[NKEYS];
} JobEntries;

/* Where the two spellings of a scalar field stand at the top of a job. */
static const struct
{
	JobKey		key;
	PolicyField field;
}			top_fields[] = {
	{KEY_TOPIC, POLICY_FIELD_TOPIC},
	{KEY_TENANT_ID, POLICY_FIELD_TENANT},
	{KEY_TENANT, POLICY_FIELD_TENANT},
	{KEY_CAPABILITY, POLICY_FIELD_CAPABILITY},
	{KEY_PACK_ID, POLICY_FIELD_PACK_ID},
	{KEY_ACTOR_ID, POLICY_FIELD_ACTOR_ID},
	{KEY_ACTOR_TYPE, POLICY_FIELD_ACTOR_TYPE},
};

static const struct
{
	const char *key;
	const char *name;
	const char *labels[3];		/* normalised names that mean the same */
	PolicyField field;
}			mcp_fields[] = {
	{"server", "mcp.server", {"mcp.server", "mcp_server", "mcpserver"}, POLICY_FIELD_MCP_SERVER},
	{"tool", "mcp.tool", {"mcp.tool", "mcp_tool", "mcptool"}, POLICY_FIELD_MCP_TOOL},
	{"resource", "mcp.resource", {"mcp.resource", "mcp_resource", "mcpresource"}, POLICY_FIELD_MCP_RESOURCE},
	{"action", "mcp.action", {"mcp.action", "mcp_action", "mcpaction"}, POLICY_FIELD_MCP_ACTION},
};

static bool invalid(Job *job, const char *fmt,...) pg_attribute_printf(2, 3);

static bool
invalid(Job *job, const char *fmt,...)
{
	va_list		args;
	char		message[256];

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	job->invalid = pstrdup(message);
	return false;
}

/* The value of a key, or NULL where it is not there or null. */
static JsonbValue *
get_value(JsonbContainer *object, const char *name, JsonbValue *space)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, name, strlen(name), space);

	return value == NULL || value->type == jbvNull ? NULL : value;
}

static void
read_entries(JsonbContainer *object, JobEntries *entries)
{
	JsonbWalk	walk;
	JsonbValue	value;
	const char *name;
	int			len;

	memset(entries->values, 0, sizeof(entries->values));
	jsonb_walk_object(&walk, object);
	while (jsonb_walk_pair(&walk, &name, &len, &value))
	{
		if (len > MAX_KEY_LENGTH)
			break;				/* the others are longer still */
		for (int key = keys_of_length[len]; key < keys_of_length[len + 1]; key++)
		{
			if (memcmp(job_keys[key], name, len) != 0 || value.type == jbvNull)
				continue;
			entries->space[key] = value;
			entries->values[key] = &entries->space[key];
		}
	}
}

static bool
same_string(const JobString *a, const JobString *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static int
compare_strings(const JobString *a, const JobString *b)
{
	return a->len != b->len ? a->len - b->len : memcmp(a->data, b->data, a->len);
}

/* Sets *result, to absent where nothing is left once normalised. */
static bool
read_string(Job *job, const char *name, const JsonbValue *value, JobString *result)
{
	if (value->type != jbvString)
		return invalid(job, "%s is not a string", name);
	if (!policy_normalize(value->val.string.val, value->val.string.len, POLICY_TRIM,
						  &result->data, &result->len))
		return invalid(job, "%s has too many combining characters in a row", name);
	if (result->len == 0)
		result->data = NULL;
	return true;
}

/* One more spelling of a fact; it must say what the others said. */
static bool
add_fact(Job *job, PolicyField field, const char *name, const JobString *fact)
{
	JobString  *known = &job->fields[field];

	if (fact->data == NULL)
		return true;
	if (known->data != NULL && !same_string(known, fact))
		return invalid(job, "%s contradicts another spelling of the same field", name);
	*known = *fact;
	return true;
}

static bool
read_fact(Job *job, const JsonbValue *value, const char *name, PolicyField field)
{
	JobString	fact = {0};

	return value == NULL ||
		(read_string(job, name, value, &fact) && add_fact(job, field, name, &fact));
}

/* Fills an empty set from an array of strings. */
static bool
read_array(Job *job, const char *name, const JsonbValue *value, JobSet *set)
{
	JsonbContainer *array;
	JsonbWalk	walk;
	JsonbValue	item;
	uint32		count;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		return invalid(job, "%s is not an array", name);
	array = value->val.binary.data;
	count = JsonContainerSize(array);
	if (count > POLICY_MAX_SET_ITEMS)
		return invalid(job, "%s has more than %d items", name, POLICY_MAX_SET_ITEMS);

	set->items = palloc(sizeof(JobString) * Max(count, 1));
	jsonb_walk_array(&walk, array);
	while (jsonb_walk_element(&walk, &item))
	{
		JobString  *to = &set->items[set->count];

		if (item.type != jbvString)
			return invalid(job, "%s has an item that is not a string", name);
		if (!read_string(job, name, &item, to))
			return false;
		if (to->data != NULL)
			set->count++;
	}
	return true;
}

static bool
set_contains(const JobSet *set, const JobString *item)
{
	for (int i = 0; i < set->count; i++)
	{
		if (same_string(&set->items[i], item))
			return true;
	}
	return false;
}

static bool
is_subset(const JobSet *a, const JobSet *b)
{
	for (int i = 0; i < a->count; i++)
	{
		if (!set_contains(b, &a->items[i]))
			return false;
	}
	return true;
}

static bool
read_set(Job *job, const JsonbValue *value, const char *name, PolicyField field)
{
	JobSet	   *known = &job->sets[field - POLICY_FIRST_SET];
	JobSet		set = {0};

	if (value == NULL)
		return true;
	if (!read_array(job, name, value, &set))
		return false;
	if (set.count == 0)
		return true;
	if (known->count > 0 && !(is_subset(&set, known) && is_subset(known, &set)))
		return invalid(job, "%s contradicts another spelling of the same field", name);
	*known = set;
	return true;
}

/* Sets *container to NULL where the key is not there. */
static bool
read_object(Job *job, const JsonbValue *value, const char *name, JsonbContainer **container)
{
	*container = NULL;
	if (value == NULL)
		return true;
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return invalid(job, "%s is not an object", name);
	*container = value->val.binary.data;
	return true;
}

static bool
read_actor(Job *job, const JobEntries *entries)
{
	JsonbContainer *actor;
	JsonbValue	space;

	if (!read_object(job, entries->values[KEY_ACTOR], "actor", &actor))
		return false;
	if (actor != NULL &&
		!(read_fact(job, get_value(actor, "id", &space), "actor.id", POLICY_FIELD_ACTOR_ID) &&
		  read_fact(job, get_value(actor, "type", &space), "actor.type",
					POLICY_FIELD_ACTOR_TYPE) &&
		  read_set(job, get_value(actor, "roles", &space), "actor.roles",
				   POLICY_FIELD_ACTOR_ROLES)))
		return false;
	return read_set(job, entries->values[KEY_ACTOR_ROLES], "actor_roles",
					POLICY_FIELD_ACTOR_ROLES);
}

/* A label's value as ->> gives it; absent for null. */
static bool
read_label_value(Job *job, JsonbValue *value, JobString *result)
{
	JsonbValue	text;

	text.type = jbvString;
	switch (value->type)
	{
		case jbvNull:
			result->data = NULL;
			result->len = 0;
			return true;
		case jbvString:
			text = *value;
			break;
		case jbvNumeric:
			text.val.string.val =
				DatumGetCString(DirectFunctionCall1(numeric_out,
													NumericGetDatum(value->val.numeric)));
			text.val.string.len = strlen(text.val.string.val);
			break;
		case jbvBool:
			text.val.string.val = value->val.boolean ? "true" : "false";
			text.val.string.len = strlen(text.val.string.val);
			break;
		default:
			return invalid(job, "a label is not a scalar");
	}
	return read_string(job, "a label", &text, result);
}

static int
compare_labels(const void *a, const void *b)
{
	return compare_strings(&((const JobLabel *) a)->name, &((const JobLabel *) b)->name);
}

/* Sorts, and leaves each name once. */
static bool
unite_labels(Job *job)
{
	int			count = 0;
	bool		sorted = true;

	/* As jsonb has them, but for names that normalising has changed. */
	for (int i = 1; i < job->nlabels && sorted; i++)
		sorted = compare_labels(&job->labels[i - 1], &job->labels[i]) < 0;
	if (sorted)
		return true;
	qsort(job->labels, job->nlabels, sizeof(JobLabel), compare_labels);
	for (int i = 0; i < job->nlabels; i++)
	{
		JobLabel   *last = count > 0 ? &job->labels[count - 1] : NULL;

		if (last == NULL || !same_string(&last->name, &job->labels[i].name))
			job->labels[count++] = job->labels[i];
		else if (!same_string(&last->value, &job->labels[i].value))
			return invalid(job, "two spellings of one label contradict each other");
	}
	job->nlabels = count;
	return true;
}

/* Notes that a label is one of those that say more than their rule's conditions. */
static void
note_label(Job *job, const JobString *name)
{
	job->has_mcp_label = job->has_mcp_label ||
		(name->len > 3 && memcmp(name->data, "mcp", 3) == 0);
	job->has_secrets_label = job->has_secrets_label ||
		(name->len == (int) sizeof("secrets_present") - 1 && name->data[0] == 's');
}

static bool
read_labels(Job *job, const JsonbValue *value)
{
	JsonbContainer *labels;
	JsonbWalk	walk;
	JsonbValue	item;
	const char *name;
	int			len;

	if (!read_object(job, value, "labels", &labels))
		return false;
	if (labels == NULL)
		return true;
	if (JsonContainerSize(labels) > POLICY_MAX_LABELS)
		return invalid(job, "labels has more than %d items", POLICY_MAX_LABELS);

	job->labels = palloc(sizeof(JobLabel) * Max(JsonContainerSize(labels), 1));
	jsonb_walk_object(&walk, labels);
	while (jsonb_walk_pair(&walk, &name, &len, &item))
	{
		JobLabel   *label = &job->labels[job->nlabels];

		if (!policy_normalize(name, len, POLICY_TRIM, &label->name.data, &label->name.len))
			return invalid(job, "a label has too many combining characters in a row");
		if (!read_label_value(job, &item, &label->value))
			return false;
		if (label->value.data == NULL)
			continue;
		note_label(job, &label->name);
		job->nlabels++;
	}
	return unite_labels(job);
}

static bool
read_mcp_labels(Job *job)
{
	for (int i = 0; i < (int) lengthof(mcp_fields); i++)
	{
		for (int j = 0; j < (int) lengthof(mcp_fields[i].labels); j++)
		{
			const char *spelling = mcp_fields[i].labels[j];
			const JobString *label = policy_job_label(job, spelling, strlen(spelling));

			if (label != NULL && !add_fact(job, mcp_fields[i].field, spelling, label))
				return false;
		}
	}
	return true;
}

static bool
read_mcp(Job *job, const JsonbValue *value)
{
	JsonbContainer *mcp;
	JsonbValue	space;

	if (!read_object(job, value, "mcp", &mcp))
		return false;
	for (int i = 0; mcp != NULL && i < (int) lengthof(mcp_fields); i++)
	{
		if (!read_fact(job, get_value(mcp, mcp_fields[i].key, &space), mcp_fields[i].name,
					   mcp_fields[i].field))
			return false;
	}
	return !job->has_mcp_label || read_mcp_labels(job);
}

static bool
says(const JobString *value, const char *word)
{
	return value->len == (int) strlen(word) && memcmp(value->data, word, value->len) == 0;
}

static bool
read_secrets_present(Job *job, const JsonbValue *value)
{
	const JobString *label = NULL;
	JobString	tag = {"secrets", sizeof("secrets") - 1};

	if (value != NULL && value->type != jbvBool)
		return invalid(job, "secrets_present is not a boolean");
	if (job->has_secrets_label)
		label = policy_job_label(job, "secrets_present", strlen("secrets_present"));
	job->secrets_present = (value != NULL && value->val.boolean) ||
		(label != NULL && (says(label, "true") || says(label, "1") || says(label, "yes"))) ||
		set_contains(&job->sets[POLICY_FIELD_RISK_TAGS - POLICY_FIRST_SET], &tag);
	return true;
}

static bool
read_fields(Job *job, const JobEntries *entries)
{
	static const JobString default_tenant = {"default", sizeof("default") - 1};
	const JsonbValue *topic = entries->values[KEY_TOPIC];
	const JsonbValue *key = entries->values[KEY_IDEMPOTENCY_KEY];

	if (topic != NULL && topic->type == jbvString &&
		topic->val.string.len > POLICY_MAX_TOPIC_BYTES)
		return invalid(job, "topic is longer than %d bytes", POLICY_MAX_TOPIC_BYTES);
	for (int i = 0; i < (int) lengthof(top_fields); i++)
	{
		if (!read_fact(job, entries->values[top_fields[i].key], job_keys[top_fields[i].key],
					   top_fields[i].field))
			return false;
	}
	if (job->fields[POLICY_FIELD_TOPIC].data == NULL)
		return invalid(job, "topic is absent");
	if (job->fields[POLICY_FIELD_TENANT].data == NULL)
		job->fields[POLICY_FIELD_TENANT] = default_tenant;
	if (key != NULL && key->type != jbvString)
		return invalid(job, "idempotency_key is not a string");

	return read_actor(job, entries) &&
		read_set(job, entries->values[KEY_RISK_TAGS], "risk_tags", POLICY_FIELD_RISK_TAGS) &&
		read_set(job, entries->values[KEY_REQUIRES], "requires", POLICY_FIELD_REQUIRES) &&
		read_labels(job, entries->values[KEY_LABELS]) &&
		read_mcp(job, entries->values[KEY_MCP]) &&
		read_secrets_present(job, entries->values[KEY_SECRETS_PRESENT]);
}

/* The simulate request: `job`, at most `tenant_id` beside it, and nothing else. */
static bool
is_request(JsonbContainer *object)
{
	JsonbValue	space;
	uint32		size = JsonContainerSize(object);

	if (size < 1 || size > 2)
		return false;
	if (getKeyJsonValueFromContainer(object, "job", 3, &space) == NULL)
		return false;
	return size == 1 ||
		getKeyJsonValueFromContainer(object, "tenant_id", 9, &space) != NULL;
}

/* Whether a key gives no string: not there, null, or empty once normalised. */
static bool
is_blank(JsonbContainer *object, const char *key)
{
	JsonbValue	space;
	JsonbValue *value = get_value(object, key, &space);
	const char *normal;
	int			len;

	return value == NULL ||
		(value->type == jbvString &&
		 policy_normalize(value->val.string.val, value->val.string.len, POLICY_TRIM,
						  &normal, &len) && len == 0);
}

/* The request's job with its tenant in it, over a blank one. */
static Jsonb *
job_with_tenant(JsonbContainer *object, JsonbValue *tenant)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	name;
	JsonbValue *result = NULL;

	name.type = jbvString;
	name.val.string.val = "tenant_id";
	name.val.string.len = strlen("tenant_id");
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_END_OBJECT)
		{
			pushJsonbValue(&state, WJB_KEY, &name);
			pushJsonbValue(&state, WJB_VALUE, tenant);
		}
		result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}

/* Unwraps a request once; its tenant becomes the job's first spelling of it. */
static bool
unwrap(Job *job, JsonbContainer *request)
{
	JsonbValue	job_space;
	JsonbValue	tenant_space;
	JsonbValue *inner = get_value(request, "job", &job_space);
	JsonbValue *tenant = get_value(request, "tenant_id", &tenant_space);
	JobString	fact = {0};

	if (inner == NULL || inner->type != jbvBinary ||
		!JsonContainerIsObject(inner->val.binary.data))
		return invalid(job, "job is not an object");
	if (tenant != NULL && !read_string(job, "tenant_id", tenant, &fact))
		return false;

	if (fact.data != NULL &&
		is_blank(inner->val.binary.data, "tenant_id") &&
		is_blank(inner->val.binary.data, "tenant"))
		job->source = job_with_tenant(inner->val.binary.data, tenant);
	else
		job->source = JsonbValueToJsonb(inner);
	return add_fact(job, POLICY_FIELD_TENANT, "tenant_id", &fact);
}

void
policy_job_set_too_large(Job *job)
{
	memset(job, 0, sizeof(Job));
	invalid(job, "it is larger than %d bytes", POLICY_MAX_JOB_BYTES);
}

void
policy_job_read(Jsonb *source, Job *job)
{
	JobEntries	entries;

	memset(job, 0, sizeof(Job));
	job->source = source;
	if (source == NULL)
		invalid(job, "it is NULL");
	else if (VARSIZE_ANY_EXHDR(source) > POLICY_MAX_JOB_BYTES)
		policy_job_set_too_large(job);
	else if (!JB_ROOT_IS_OBJECT(source))
		invalid(job, "it is not an object");
	else if (!is_request(&source->root) || unwrap(job, &source->root))
	{
		read_entries(&job->source->root, &entries);
		read_fields(job, &entries);
	}
}

const JobString *
policy_job_label(const Job *job, const char *name, int len)
{
	JobString	wanted = {name, len};
	int			low = 0;
	int			high = job->nlabels - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_strings(&wanted, &job->labels[middle].name);

		if (order == 0)
			return &job->labels[middle].value;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

Jsonb *
policy_job_comparable(Job *job)
{
	static const PolicyPathList none = {NULL, 0};

	if (job->comparable == NULL)
		job->comparable = policy_without_nulls(job->source, &none);
	return job->comparable;
}
