/*
 * place.c
 *	  Where a walk over a job is: a step for every container that it is in.
 */
#include "postgres.h"

#include "engine/place.h"

void
policy_place_init(Place *place)
{
	memset(place, 0, sizeof(Place));
	place->capacity = 16;
	place->steps = palloc(sizeof(PolicyStep) * place->capacity);
}

void
policy_place_enter(Place *place, JsonbIteratorToken token)
{
	if (place->nsteps == place->capacity)
	{
		place->capacity *= 2;
		place->steps = repalloc(place->steps, sizeof(PolicyStep) * place->capacity);
	}
	memset(&place->steps[place->nsteps], 0, sizeof(PolicyStep));
	place->steps[place->nsteps].kind = token == WJB_BEGIN_ARRAY ?
		POLICY_STEP_INDEX : POLICY_STEP_KEY;
	place->steps[place->nsteps].index = -1;
	place->nsteps++;
}

void
policy_place_next_element(Place *place)
{
	if (place->nsteps > 0 && place->steps[place->nsteps - 1].kind == POLICY_STEP_INDEX)
		place->steps[place->nsteps - 1].index++;
}

void
policy_place_follow(Place *place, JsonbIteratorToken token, const JsonbValue *value)
{
	switch (token)
	{
		case WJB_BEGIN_OBJECT:
		case WJB_BEGIN_ARRAY:
			policy_place_next_element(place);
			policy_place_enter(place, token);
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
			policy_place_next_element(place);
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

bool
policy_place_is_on(const Place *place, const PolicyPathList *paths)
{
	for (int i = 0; i < paths->count; i++)
	{
		if (path_covers(&paths->items[i], place))
			return true;
	}
	return false;
}
