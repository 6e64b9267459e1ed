/*
 * edit.c
 *	  A job with something else at certain places, or nothing.
 */
#include "postgres.h"

#include "engine/edit.h"
#include "engine/place.h"

/* One walk from a source to its edited copy. */
typedef struct Edit
{
	const PolicyPathList *places;
	const char *mask;			/* NULL: leave out */
	JsonbParseState *state;
	JsonbValue *result;
	Place		place;
	JsonbValue	key;			/* of what comes next, not pushed yet */
	bool		has_key;
	int			inside;			/* containers of what is being replaced */
} Edit;

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

		if (from->source != NULL)
			to->source = pstrdup(from->source);
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
push(Edit *edit, JsonbIteratorToken token, JsonbValue *value)
{
	if (edit->has_key)
		pushJsonbValue(&edit->state, WJB_KEY, &edit->key);
	edit->has_key = false;
	edit->result = pushJsonbValue(&edit->state, token, value);
}

/* The place of what begins or stands here is one of those: the mask, or nothing. */
static void
replace(Edit *edit, JsonbIteratorToken token)
{
	bool		in_object = edit->has_key;
	JsonbValue	value;

	if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
		edit->inside = 1;
	if (edit->mask == NULL)
	{
		edit->has_key = false;
		return;
	}
	value.type = jbvString;
	value.val.string.val = unconstify(char *, edit->mask);
	value.val.string.len = strlen(edit->mask);
	push(edit, in_object ? WJB_VALUE : WJB_ELEM, &value);
}

static void
edit_token(Edit *edit, JsonbIteratorToken token, JsonbValue *value)
{
	bool		begins = token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY;
	bool		ends = token == WJB_END_OBJECT || token == WJB_END_ARRAY;

	if (edit->inside > 0)
	{
		edit->inside += begins - ends;
		return;
	}
	if (begins)
		policy_place_next_element(&edit->place);
	else
		policy_place_follow(&edit->place, token, value);
	if (token == WJB_KEY)
	{
		edit->key = *value;
		edit->has_key = true;
	}
	else if (!ends && edit->place.nsteps > 0 &&
			 policy_place_is_on(&edit->place, edit->places))
		replace(edit, token);
	else
	{
		if (begins)
			policy_place_enter(&edit->place, token);
		push(edit, token, begins || ends ? NULL : value);
	}
}

static Jsonb *
edited(Jsonb *source, const PolicyPathList *places, const char *mask)
{
	Edit		edit = {.places = places, .mask = mask};
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (places->count == 0 || !JB_ROOT_IS_OBJECT(source))
		return source;
	policy_place_init(&edit.place);
	iterator = JsonbIteratorInit(&source->root);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
		edit_token(&edit, token, &value);
	return JsonbValueToJsonb(edit.result);
}

Jsonb *
policy_masked(Jsonb *source, const PolicyPathList *places)
{
	return edited(source, places, "***");
}

Jsonb *
policy_without(Jsonb *source, const PolicyPathList *places)
{
	return edited(source, places, NULL);
}
