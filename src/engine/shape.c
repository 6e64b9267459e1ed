/*
 * shape.c
 *	  Matches, ready for searches.  See shape.h.
 *
 * Thousands of rules are written with few conditions.  So conditions that are
 * written alike are one object, and what was found of two of them is kept: a
 * table of a fixed size, in which the newer takes the place of the older.
 */
#include "postgres.h"

#include "engine/shape.h"
#include "language/name_table.h"

/* A power of two. */
#define FINDINGS 65536

typedef struct Finding
{
	int			a;				/* a condition's id; 0: none */
	int			b;				/* 0: nothing is kept here */
	int16		field;
	int16		finding;
} Finding;

struct PolicyShapes
{
	MemoryContext context;
	PolicyNameTable known;		/* conditions and label names, as text */
	int			nconditions;
	Finding    *findings;
};

PolicyShapes *
policy_shapes_create(uint64 seed)
{
	PolicyShapes *shapes = palloc0(sizeof(PolicyShapes));

	shapes->context = CurrentMemoryContext;
	policy_name_table_init(&shapes->known, seed);
	shapes->findings = palloc0(sizeof(Finding) * FINDINGS);
	return shapes;
}

/* ---- findings ---- */

static Finding *
place_of(const PolicyShapes *shapes, int a, int b, int field)
{
	uint32		hash = (uint32) a * 0x9E3779B1U + (uint32) b * 0x85EBCA77U + (uint32) field;

	hash ^= hash >> 15;
	return &shapes->findings[hash & (FINDINGS - 1)];
}

int
policy_shapes_recall(const PolicyShapes *shapes, const ShapeLists *a, const ShapeLists *b,
					 int field)
{
	int			id = a != NULL ? a->id : 0;
	const Finding *finding = place_of(shapes, id, b->id, field);

	return finding->b == b->id && finding->a == id && finding->field == field ?
		finding->finding : -1;
}

void
policy_shapes_keep(PolicyShapes *shapes, const ShapeLists *a, const ShapeLists *b, int field,
				   PolicyFinding finding)
{
	int			id = a != NULL ? a->id : 0;
	Finding    *place = place_of(shapes, id, b->id, field);

	place->a = id;
	place->b = b->id;
	place->field = (int16) field;
	place->finding = (int16) finding;
}

/* ---- shapes ---- */

static SearchGlob *
prepare_globs(const PolicyPatternList *patterns, int *count)
{
	SearchGlob *globs = palloc(sizeof(SearchGlob) * Max(patterns->count, 1));

	*count = patterns->count;
	for (int i = 0; i < patterns->count; i++)
		glob_search_prepare(patterns->items[i], &globs[i]);
	return globs;
}

static void
append_patterns(StringInfo text, char list, const PolicyPatternList *patterns)
{
	for (int i = 0; i < patterns->count; i++)
	{
		const PolicyPattern *pattern = patterns->items[i];

		appendStringInfo(text, "%c%d:", list, pattern->sourcelen);
		appendBinaryStringInfo(text, pattern->source, pattern->sourcelen);
	}
}

static ShapeLists *
lists_of(PolicyShapes *shapes, const PolicyCondition *condition)
{
	StringInfoData text;
	PolicyNameEntry *entry;
	ShapeLists *lists;

	initStringInfo(&text);
	append_patterns(&text, 'a', &condition->any);
	append_patterns(&text, 'e', &condition->all);
	append_patterns(&text, 'n', &condition->none);
	entry = policy_name_table_find(&shapes->known, text.data, text.len);
	if (entry != NULL)
	{
		pfree(text.data);
		return entry->value;
	}
	lists = palloc0(sizeof(ShapeLists));
	lists->id = ++shapes->nconditions;
	lists->any = prepare_globs(&condition->any, &lists->nany);
	lists->all = prepare_globs(&condition->all, &lists->nall);
	lists->none = prepare_globs(&condition->none, &lists->nnone);
	policy_name_table_put(&shapes->known, text.data, text.len, lists);
	return lists;
}

static const char *
name_of(PolicyShapes *shapes, const PolicyLabelCondition *label)
{
	char	   *text = psprintf("l%s", pnstrdup(label->name, label->namelen));
	PolicyNameEntry *entry = policy_name_table_find(&shapes->known, text, label->namelen + 1);

	if (entry != NULL)
		return entry->value;
	policy_name_table_put(&shapes->known, text, label->namelen + 1, text);
	return text;
}

static bool
is_empty(const PolicyCondition *condition)
{
	return condition->any.count + condition->all.count + condition->none.count == 0;
}

int
policy_shape_mcp_field(const char *name, int len)
{
	static const struct
	{
		const char *word;
		PolicyField field;
	}			words[] = {
		{"server", POLICY_FIELD_MCP_SERVER},
		{"tool", POLICY_FIELD_MCP_TOOL},
		{"resource", POLICY_FIELD_MCP_RESOURCE},
		{"action", POLICY_FIELD_MCP_ACTION},
	};
	int			at = 3;

	if (len < 4 || memcmp(name, "mcp", 3) != 0)
		return -1;
	if (name[at] == '.' || name[at] == '_')
		at++;
	for (int i = 0; i < (int) lengthof(words); i++)
	{
		if (len - at == (int) strlen(words[i].word) &&
			memcmp(name + at, words[i].word, len - at) == 0)
			return words[i].field;
	}
	return -1;
}

PolicyShape *
policy_shape(PolicyShapes *shapes, const PolicyMatch *match)
{
	MemoryContext caller = MemoryContextSwitchTo(shapes->context);
	PolicyShape *shape = palloc0(sizeof(PolicyShape));

	shape->match = match;
	shape->shapes = shapes;
	shape->entangled = match->has_secrets_present;
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (!is_empty(&match->fields[field]))
			shape->fields[field] = lists_of(shapes, &match->fields[field]);
	}
	shape->labels = palloc0(sizeof(ShapeLabel) * Max(match->nlabels, 1));
	for (int i = 0; i < match->nlabels; i++)
	{
		ShapeLabel *label = &shape->labels[i];

		label->label = &match->labels[i];
		label->name = name_of(shapes, label->label);
		label->lists = lists_of(shapes, &label->label->condition);
		label->present = is_empty(&label->label->condition);
		if (policy_shape_mcp_field(label->label->name, label->label->namelen) >= 0)
			shape->entangled = true;
	}
	MemoryContextSwitchTo(caller);
	return shape;
}
