/*
 * constraints.c
 *	  Bounds, and which of two is the tighter.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "engine/constraints.h"
#include "language/policy.h"

static const PolicyConstraint empty_object = {
	.kind = CONSTRAINT_OBJECT,
	.hash = CONSTRAINT_OBJECT
};

/* Whether a number is written as int8 is: no sign, no leading zero, and few digits. */
static bool
is_plain_integer(const char *text)
{
	Size		len = strspn(text, "0123456789");

	return text[len] == '\0' && len >= 1 && len <= 18 && (text[0] != '0' || len == 1);
}

static Numeric
number_from_text(const char *text)
{
	if (is_plain_integer(text))
		return int64_to_numeric(strtoll(text, NULL, 10));
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

static uint32
hash_text(const char *bytes, int len)
{
	return hash_bytes((const unsigned char *) bytes, len);
}

static int
compare_names(const char *a, int alen, const char *b, int blen)
{
	int			order = memcmp(a, b, Min(alen, blen));

	return order != 0 ? order : alen - blen;
}

static int
compare_pairs(const void *a, const void *b)
{
	const PolicyConstraintPair *left = a;
	const PolicyConstraintPair *right = b;

	return compare_names(left->name, left->len, right->name, right->len);
}

/* The last thing done to a value: its hash, from those of its parts. */
static const PolicyConstraint *
sealed(PolicyConstraint *value)
{
	uint32		hash = (uint32) value->kind;

	switch (value->kind)
	{
		case CONSTRAINT_NULL:
			break;
		case CONSTRAINT_BOOLEAN:
			hash = hash_combine(hash, value->u.boolean);
			break;
		case CONSTRAINT_NUMBER:
			hash = DatumGetUInt32(DirectFunctionCall1(hash_numeric,
													  NumericGetDatum(value->u.number)));
			break;
		case CONSTRAINT_STRING:
			hash = hash_combine(hash, hash_text(value->u.string.bytes, value->u.string.len));
			break;
		case CONSTRAINT_ARRAY:
			for (int i = 0; i < value->u.array.count; i++)
				hash = hash_combine(hash, value->u.array.items[i]->hash);
			break;
		case CONSTRAINT_OBJECT:
			for (int i = 0; i < value->u.object.count; i++)
			{
				const PolicyConstraintPair *pair = &value->u.object.pairs[i];

				hash = hash_combine(hash, hash_text(pair->name, pair->len));
				hash = hash_combine(hash, pair->value->hash);
			}
			break;
	}
	value->hash = hash;
	return value;
}

static void
scalar_from_node(const PolicyNode *node, PolicyArena *arena, PolicyConstraint *value)
{
	switch (policy_scalar_type(node))
	{
		case POLICY_SCALAR_NULL:
			value->kind = CONSTRAINT_NULL;
			break;
		case POLICY_SCALAR_TRUE:
		case POLICY_SCALAR_FALSE:
			value->kind = CONSTRAINT_BOOLEAN;
			value->u.boolean = policy_scalar_type(node) == POLICY_SCALAR_TRUE;
			break;
		case POLICY_SCALAR_NUMBER:
			value->kind = CONSTRAINT_NUMBER;
			value->u.number = policy_arena_varlena(arena, number_from_text(node->u.scalar.text));
			break;
		case POLICY_SCALAR_STRING:
			value->kind = CONSTRAINT_STRING;
			value->u.string.len = node->u.scalar.len;
			value->u.string.bytes = policy_arena_string(arena, node->u.scalar.text,
														node->u.scalar.len);
			break;
	}
}

static void
object_from_node(const PolicyNode *node, PolicyArena *arena, PolicyConstraint *value)
{
	int			count = node->u.mapping.count;
	PolicyConstraintPair *pairs = policy_arena_alloc(arena, sizeof(PolicyConstraintPair) *
													 Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		const PolicyNode *key = node->u.mapping.pairs[i].key;

		pairs[i].len = key->u.scalar.len;
		pairs[i].name = policy_arena_string(arena, key->u.scalar.text, pairs[i].len);
		pairs[i].key = policy_constraint_key(pairs[i].name, pairs[i].len);
		pairs[i].value = constraint_from_node(node->u.mapping.pairs[i].value, arena);
	}
	qsort(pairs, count, sizeof(PolicyConstraintPair), compare_pairs);
	value->kind = CONSTRAINT_OBJECT;
	value->u.object.pairs = pairs;
	value->u.object.count = count;
}

const PolicyConstraint *
constraint_from_node(const PolicyNode *node, PolicyArena *arena)
{
	PolicyConstraint *value = policy_arena_alloc(arena, sizeof(PolicyConstraint));

	CHECK_FOR_INTERRUPTS();
	switch (node->kind)
	{
		case POLICY_NODE_SCALAR:
			scalar_from_node(node, arena, value);
			break;
		case POLICY_NODE_SEQUENCE:
			value->kind = CONSTRAINT_ARRAY;
			value->u.array.count = node->u.sequence.count;
			value->u.array.items = policy_arena_alloc(arena, sizeof(PolicyConstraint *) *
													  Max(node->u.sequence.count, 1));
			for (int i = 0; i < node->u.sequence.count; i++)
				value->u.array.items[i] = constraint_from_node(node->u.sequence.items[i], arena);
			break;
		case POLICY_NODE_MAPPING:
			object_from_node(node, arena, value);
			break;
	}
	return sealed(value);
}

static const PolicyConstraint *constraint_from_value(JsonbValue *item);

static void
pairs_from_container(JsonbContainer *container, PolicyConstraint *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	PolicyConstraintPair *pairs = palloc(sizeof(PolicyConstraintPair) *
										 Max(JsonContainerSize(container), 1));
	int			count = 0;
	JsonbIteratorToken token;
	JsonbValue	item;

	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			pairs[count].name = item.val.string.val;
			pairs[count].len = item.val.string.len;
			pairs[count].key = policy_constraint_key(pairs[count].name, pairs[count].len);
		}
		else if (token == WJB_VALUE)
			pairs[count++].value = constraint_from_value(&item);
	}
	qsort(pairs, count, sizeof(PolicyConstraintPair), compare_pairs);
	value->kind = CONSTRAINT_OBJECT;
	value->u.object.pairs = pairs;
	value->u.object.count = count;
}

static void
items_from_container(JsonbContainer *container, PolicyConstraint *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	item;

	value->kind = CONSTRAINT_ARRAY;
	value->u.array.items = palloc(sizeof(PolicyConstraint *) *
								  Max(JsonContainerSize(container), 1));
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			value->u.array.items[value->u.array.count++] = constraint_from_value(&item);
	}
}

static const PolicyConstraint *
constraint_from_value(JsonbValue *item)
{
	PolicyConstraint *value = palloc0(sizeof(PolicyConstraint));

	check_stack_depth();
	switch (item->type)
	{
		case jbvBool:
			value->kind = CONSTRAINT_BOOLEAN;
			value->u.boolean = item->val.boolean;
			break;
		case jbvNumeric:
			value->kind = CONSTRAINT_NUMBER;
			value->u.number = item->val.numeric;
			break;
		case jbvString:
			value->kind = CONSTRAINT_STRING;
			value->u.string.bytes = item->val.string.val;
			value->u.string.len = item->val.string.len;
			break;
		case jbvBinary:
			if (JsonContainerIsObject(item->val.binary.data))
				pairs_from_container(item->val.binary.data, value);
			else
				items_from_container(item->val.binary.data, value);
			break;
		default:
			value->kind = CONSTRAINT_NULL;
			break;
	}
	return sealed(value);
}

const PolicyConstraint *
constraint_from_jsonb(Jsonb *object)
{
	PolicyConstraint *value = palloc0(sizeof(PolicyConstraint));

	if (!JB_ROOT_IS_OBJECT(object))
		return constraint_empty();
	pairs_from_container(&object->root, value);
	return sealed(value);
}

static void
set_builtin(PolicyConstraintPair *pair, const char *name, int number)
{
	PolicyConstraint *value = palloc0(sizeof(PolicyConstraint));

	value->kind = CONSTRAINT_NUMBER;
	value->u.number = number_from_text(psprintf("%d", number));
	pair->name = name;
	pair->len = strlen(name);
	pair->key = policy_constraint_key(name, pair->len);
	pair->value = sealed(value);
}

const PolicyConstraint *
constraint_builtin_defaults(void)
{
	PolicyConstraint *object = palloc0(sizeof(PolicyConstraint));

	object->kind = CONSTRAINT_OBJECT;
	object->u.object.count = 2;
	object->u.object.pairs = palloc(sizeof(PolicyConstraintPair) * 2);
	set_builtin(&object->u.object.pairs[0], "max_retries", POLICY_DEFAULT_MAX_RETRIES);
	set_builtin(&object->u.object.pairs[1], "max_runtime_sec", POLICY_DEFAULT_MAX_RUNTIME_SEC);
	return sealed(object);
}

const PolicyConstraint *
constraint_empty(void)
{
	return &empty_object;
}

static int
compare_numbers(const PolicyConstraint *a, const PolicyConstraint *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
											 NumericGetDatum(a->u.number),
											 NumericGetDatum(b->u.number)));
}

static bool
arrays_equal(const PolicyConstraint *a, const PolicyConstraint *b)
{
	if (a->u.array.count != b->u.array.count)
		return false;
	for (int i = 0; i < a->u.array.count; i++)
	{
		if (!constraint_equal(a->u.array.items[i], b->u.array.items[i]))
			return false;
	}
	return true;
}

static bool
objects_equal(const PolicyConstraint *a, const PolicyConstraint *b)
{
	if (a->u.object.count != b->u.object.count)
		return false;
	for (int i = 0; i < a->u.object.count; i++)
	{
		if (compare_pairs(&a->u.object.pairs[i], &b->u.object.pairs[i]) != 0 ||
			!constraint_equal(a->u.object.pairs[i].value, b->u.object.pairs[i].value))
			return false;
	}
	return true;
}

bool
constraint_equal(const PolicyConstraint *a, const PolicyConstraint *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind || a->hash != b->hash)
		return false;
	switch (a->kind)
	{
		case CONSTRAINT_NULL:
			return true;
		case CONSTRAINT_BOOLEAN:
			return a->u.boolean == b->u.boolean;
		case CONSTRAINT_NUMBER:
			return compare_numbers(a, b) == 0;
		case CONSTRAINT_STRING:
			return a->u.string.len == b->u.string.len &&
				memcmp(a->u.string.bytes, b->u.string.bytes, a->u.string.len) == 0;
		case CONSTRAINT_ARRAY:
			return arrays_equal(a, b);
		case CONSTRAINT_OBJECT:
			return objects_equal(a, b);
	}
	return false;
}

/*
 * A set of values, to build arrays without duplicates in time linear in their
 * length: open addressing over the values' hashes.
 */
typedef struct ValueSet
{
	const PolicyConstraint **slots;
	uint32		mask;
} ValueSet;

static void
value_set_init(ValueSet *set, int capacity)
{
	uint32		size = 8;

	while (size < (uint32) capacity * 2)
		size *= 2;
	set->slots = palloc0(sizeof(PolicyConstraint *) * size);
	set->mask = size - 1;
}

/* Returns whether it was there already; adds it where asked to. */
static bool
value_set_lookup(ValueSet *set, const PolicyConstraint *value, bool add)
{
	uint32		slot = value->hash & set->mask;

	for (; set->slots[slot] != NULL; slot = (slot + 1) & set->mask)
	{
		if (constraint_equal(set->slots[slot], value))
			return true;
	}
	if (add)
		set->slots[slot] = value;
	return false;
}

static const PolicyConstraint *
merge_arrays(const PolicyConstraint *high, const PolicyConstraint *low, PolicyKeySense sense)
{
	PolicyConstraint *result = palloc0(sizeof(PolicyConstraint));
	int			most = high->u.array.count + low->u.array.count;
	ValueSet	kept;
	ValueSet	allowed;

	result->kind = CONSTRAINT_ARRAY;
	result->u.array.items = palloc(sizeof(PolicyConstraint *) * Max(most, 1));
	value_set_init(&kept, most);
	value_set_init(&allowed, low->u.array.count);
	for (int i = 0; i < low->u.array.count; i++)
		value_set_lookup(&allowed, low->u.array.items[i], true);

	for (int i = 0; i < most; i++)
	{
		bool		from_high = i < high->u.array.count;
		const PolicyConstraint *item;

		if (from_high)
			item = high->u.array.items[i];
		else
			item = low->u.array.items[i - high->u.array.count];
		if (sense == POLICY_KEY_ALLOWS &&
			(!from_high || !value_set_lookup(&allowed, item, false)))
			continue;
		if (!value_set_lookup(&kept, item, true))
			result->u.array.items[result->u.array.count++] = item;
	}
	return sealed(result);
}

static const PolicyConstraint *
merge_values(PolicyConstraintKey key, const PolicyConstraint *high, const PolicyConstraint *low)
{
	if (high->kind != low->kind)
		return high;
	switch (high->kind)
	{
		case CONSTRAINT_OBJECT:
			return constraint_merge(high, low);
		case CONSTRAINT_ARRAY:
			if (key.sense == POLICY_KEY_OTHER)
				return high;
			return merge_arrays(high, low, key.sense);
		case CONSTRAINT_BOOLEAN:
			return high->u.boolean == (key.sense != POLICY_KEY_ALLOWS) ? high : low;
		case CONSTRAINT_NUMBER:
			if (key.bound == POLICY_BOUND_MAX)
				return compare_numbers(low, high) < 0 ? low : high;
			if (key.bound == POLICY_BOUND_MIN)
				return compare_numbers(low, high) > 0 ? low : high;
			return high;
		case CONSTRAINT_NULL:
		case CONSTRAINT_STRING:
			break;
	}
	return high;
}

/* One walk over both sorted lists; tighten: merge what both set, else keep a's. */
static const PolicyConstraint *
combine(const PolicyConstraint *a, const PolicyConstraint *b, bool tighten)
{
	PolicyConstraint *result = palloc0(sizeof(PolicyConstraint));
	const PolicyConstraintPair *left = a->u.object.pairs;
	const PolicyConstraintPair *right = b->u.object.pairs;
	const PolicyConstraintPair *left_end = left + a->u.object.count;
	const PolicyConstraintPair *right_end = right + b->u.object.count;
	PolicyConstraintPair *to;

	result->kind = CONSTRAINT_OBJECT;
	result->u.object.pairs = to =
		palloc(sizeof(PolicyConstraintPair) * Max(a->u.object.count + b->u.object.count, 1));
	while (left < left_end || right < right_end)
	{
		int			order;

		if (left == left_end)
			order = 1;
		else if (right == right_end)
			order = -1;
		else
			order = compare_pairs(left, right);
		*to = order <= 0 ? *left : *right;
		if (order == 0 && tighten)
			to->value = merge_values(to->key, left->value, right->value);
		else if (order == 0 && left->value->kind == CONSTRAINT_OBJECT &&
				 right->value->kind == CONSTRAINT_OBJECT)
			to->value = combine(left->value, right->value, false);
		left += order <= 0;
		right += order >= 0;
		to++;
	}
	result->u.object.count = to - result->u.object.pairs;
	return sealed(result);
}

const PolicyConstraint *
constraint_merge(const PolicyConstraint *high, const PolicyConstraint *low)
{
	CHECK_FOR_INTERRUPTS();
	if (low->u.object.count == 0)
		return high;
	if (high->u.object.count == 0)
		return low;
	return combine(high, low, true);
}

const PolicyConstraint *
constraint_fill(const PolicyConstraint *object, const PolicyConstraint *defaults)
{
	if (object->u.object.count == 0)
		return defaults;
	return combine(object, defaults, false);
}

/* Pushes a value of any kind; token is WJB_ELEM or WJB_VALUE for a scalar. */
static JsonbValue *
push(JsonbParseState **state, const PolicyConstraint *value, JsonbIteratorToken token)
{
	JsonbValue	item;

	switch (value->kind)
	{
		case CONSTRAINT_NULL:
			item.type = jbvNull;
			break;
		case CONSTRAINT_BOOLEAN:
			item.type = jbvBool;
			item.val.boolean = value->u.boolean;
			break;
		case CONSTRAINT_NUMBER:
			item.type = jbvNumeric;
			item.val.numeric = value->u.number;
			break;
		case CONSTRAINT_STRING:
			item.type = jbvString;
			item.val.string.val = unconstify(char *, value->u.string.bytes);
			item.val.string.len = value->u.string.len;
			break;
		case CONSTRAINT_ARRAY:
			pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < value->u.array.count; i++)
				push(state, value->u.array.items[i], WJB_ELEM);
			return pushJsonbValue(state, WJB_END_ARRAY, NULL);
		case CONSTRAINT_OBJECT:
			pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
			for (int i = 0; i < value->u.object.count; i++)
			{
				const PolicyConstraintPair *pair = &value->u.object.pairs[i];

				item.type = jbvString;
				item.val.string.val = unconstify(char *, pair->name);
				item.val.string.len = pair->len;
				pushJsonbValue(state, WJB_KEY, &item);
				push(state, pair->value, WJB_VALUE);
			}
			return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	return pushJsonbValue(state, token, &item);
}

/* value: an object. */
Jsonb *
constraint_to_jsonb(const PolicyConstraint *value)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push(&state, value, WJB_VALUE));
}
