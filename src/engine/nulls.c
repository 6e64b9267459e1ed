/*
 * nulls.c
 *	  A job without its nulls, for a `when` to be asked of a second time.
 *
 * The walk over the job knows at each value where it is: a step for every
 * container that it is in.
 */
#include "postgres.h"

#include "engine/nulls.h"

/* Where a walk is: in each container, the key or the element that it is at. */
typedef struct Place
{
	PolicyStep *steps;
	int			nsteps;
	int			capacity;
} Place;

PolicyPathList
policy_paths_copy(const PolicyPathList *paths)
{
	PolicyPathList copy = {0};

	copy.items = palloc0(sizeof(PolicyPath) * Max(paths->count, 1));
	copy.count = paths->count;
	for (int i = 0; i < paths->count; i++)
	{
		const PolicyPath *from = &paths->items[i];
		PolicyPath *to = &copy.items[i];

		to->lax = from->lax;
		to->nsteps = from->nsteps;
		to->steps = palloc0(sizeof(PolicyStep) * Max(from->nsteps, 1));
		for (int j = 0; j < from->nsteps; j++)
		{
			to->steps[j] = from->steps[j];
			if (from->steps[j].key != NULL)
				to->steps[j].key = pnstrdup(from->steps[j].key, from->steps[j].keylen);
		}
	}
	return copy;
}

static void
enter_container(Place *place, PolicyStepKind kind)
{
	if (place->nsteps == place->capacity)
	{
		place->capacity *= 2;
		place->steps = repalloc(place->steps, sizeof(PolicyStep) * place->capacity);
	}
	memset(&place->steps[place->nsteps], 0, sizeof(PolicyStep));
	place->steps[place->nsteps].kind = kind;
	place->steps[place->nsteps].index = -1;
	place->nsteps++;
}

/* What comes next in an array is its next element. */
static void
next_element(Place *place)
{
	if (place->nsteps > 0 && place->steps[place->nsteps - 1].kind == POLICY_STEP_INDEX)
		place->steps[place->nsteps - 1].index++;
}

/* Moves the place to where a token of the walk is. */
static void
follow(Place *place, JsonbIteratorToken token, const JsonbValue *value)
{
	switch (token)
	{
		case WJB_BEGIN_OBJECT:
		case WJB_BEGIN_ARRAY:
			next_element(place);
			enter_container(place, token == WJB_BEGIN_ARRAY ?
							POLICY_STEP_INDEX : POLICY_STEP_KEY);
			break;
		case WJB_END_OBJECT:
		case WJB_END_ARRAY:
			place->nsteps--;
			break;
		case WJB_KEY:
			place->steps[place->nsteps - 1].key = value->val.string.val;
			place->steps[place->nsteps - 1].keylen = value->val.string.len;
			break;
		case WJB_ELEM:
			next_element(place);
			break;
		default:
			break;
	}
}

static bool
step_covers(const PolicyStep *pattern, const PolicyStep *step)
{
	if (pattern->kind == POLICY_STEP_KEY)
		return step->kind == POLICY_STEP_KEY && step->keylen == pattern->keylen &&
			memcmp(step->key, pattern->key, step->keylen) == 0;
	if (step->kind != POLICY_STEP_INDEX)
		return false;
	return pattern->kind == POLICY_STEP_ANY_ELEMENT || pattern->index == step->index;
}

static bool
path_covers(const PolicyPath *path, const Place *place)
{
	for (int i = 0; i < path->nsteps; i++)
	{
		if (path->steps[i].kind == POLICY_STEP_ANY_BELOW)
			return true;
		if (i == place->nsteps || !step_covers(&path->steps[i], &place->steps[i]))
			return false;
	}
	return path->nsteps == place->nsteps;
}

static bool
is_kept(const PolicyPathList *kept, const Place *place)
{
	for (int i = 0; i < kept->count; i++)
	{
		if (path_covers(&kept->items[i], place))
			return true;
	}
	return false;
}

static bool
has_null(Jsonb *source)
{
	JsonbIterator *iterator = JsonbIteratorInit(&source->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNull)
			return true;
	}
	return false;
}

Jsonb *
policy_without_nulls(Jsonb *source, const PolicyPathList *kept)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue *result = NULL;
	Place		place = {.capacity = 16};

	if (!has_null(source))
		return source;
	place.steps = palloc(sizeof(PolicyStep) * place.capacity);
	iterator = JsonbIteratorInit(&source->root);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		follow(&place, token, &value);
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNull &&
			!is_kept(kept, &place))
		{
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
			result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		}
		else
			result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}
